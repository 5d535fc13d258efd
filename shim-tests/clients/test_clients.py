"""Unmodified programs from PyPI, which nobody here wrote, against their own results on the CPU; docs/clients.md, which
tells users how far each gets on a device without kernels, is held against what happened.

`GPU_COMPAT_CLIENTS` names the set of packages that is installed: by the version of CUDA they are built for."""

import os

import pytest
from conftest import compare

CUDA = os.environ.get("GPU_COMPAT_CLIENTS", "12")


def only(*versions):
    return pytest.mark.skipif(CUDA not in versions, reason=f"no such package for CUDA {CUDA} in this set")


@only("11", "12")
def test_cupy(client, table):
    cases, errors = client.run("cupy_program.py")
    said = table("CuPy")
    if CUDA != "11":
        said = {name: row for name, row in said.items() if not name.startswith("cudnn.")}
    compare(cases, said)
    assert "library=cublas reason=no_native_handle" in errors


@only("11", "12")
def test_onnxruntime(client, table):
    compare(client.run("onnxruntime_program.py")[0], table("onnxruntime"))


@only("13")
def test_onnxruntime_which_opens_cudnn_itself(client, table):
    compare(client.run("onnxruntime_program.py", audited=True)[0], table("onnxruntime"))
    # Without the audit library its own look-ups reach the native cuDNN, and the provider does not even start.
    cases, _ = client.run("onnxruntime_program.py")
    assert not any(ended == "right" for ended in cases.values()), cases


@only("12")
def test_cudnn_frontend_which_opens_cudnn_itself(client, table):
    compare(client.run("frontend_program.py", audited=True)[0], table("cudnn-frontend"))
    cases, _ = client.run("frontend_program.py")
    assert not any(ended == "right" for ended in cases.values()), cases


@only("12")
def test_ctranslate2(client, table):
    compare(client.run("ctranslate2_program.py", audited=True)[0], table("CTranslate2"))


def test_nothing_works_without_us(client):
    """On the same device, without gpucompat: or these tests would show nothing."""
    cases, _ = client.run("onnxruntime_program.py", shim=False)
    assert not any(ended == "right" for ended in cases.values()), cases
