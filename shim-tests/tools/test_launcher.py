"""The command `gpucompat`: it runs programs as the preload does, and says whether that is needed."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import jsonschema
import pytest

from lab import SHIM, SIMGPU, environment_of

LAUNCHER = os.environ.get("GPU_COMPAT_LAUNCHER")
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "doctor.schema.json").read_text())
ADD = "import torch; print((torch.arange(3.0).cuda() + 1).tolist())"


def bare_environment(**environment):
    """The variables of a process without gpucompat and without the simulated GPU."""
    env = environment_of(shim=False)
    del env["LD_PRELOAD"], env["LD_LIBRARY_PATH"]
    return {**env, **environment}


def launch(*arguments, env=None, stdin="", **options):
    if LAUNCHER is None:
        pytest.fail("GPU_COMPAT_LAUNCHER is not set: run `scripts/test.sh tools`")
    env = bare_environment() if env is None else env
    return subprocess.run(
        [LAUNCHER, *arguments], env=env, input=stdin, capture_output=True, text=True, timeout=600, **options
    )


def on_sim(*options):
    simulated = ("--library", SHIM, "--sim", "rtx5090", "--simgpu", SIMGPU)
    return ("run", *simulated, *options, "--", sys.executable, "-W", "ignore")


def doctor(*arguments, env=None, python=sys.executable, **variables):
    """The doctor on the simulated GPU, unless the environment is another one."""
    env = environment_of(shim=False, **variables) if env is None else env
    return launch("doctor", "--library", SHIM, "--python", python, *arguments, env=env)


def document(result):
    known = json.loads(result.stdout)
    jsonschema.validate(known, SCHEMA)
    return known


def test_run_passes_arguments_input_and_exit_status_through():
    program = "import sys, torch; x = torch.ones(2).cuda() + 1; print(x.tolist(), sys.argv[1:], sys.stdin.read()); sys.exit(7)"
    words = ["two words", "", "it's $HOME", "--debug", "--"]
    result = launch(*on_sim("--quiet"), "-c", program, *words, stdin="from the user")
    assert (result.returncode, result.stdout) == (7, f"[2.0, 2.0] {words} from the user\n"), result
    assert result.stderr == "", result


def test_the_printed_line_does_the_same_in_a_shell():
    line = launch(*on_sim("--quiet", "--dry-run"), "-c", ADD, "two words")
    assert line.returncode == 0 and line.stdout.count("\n") == 1, line
    result = subprocess.run(["sh", "-c", line.stdout], env=bare_environment(), capture_output=True, text=True, timeout=600)
    assert (result.returncode, result.stdout, result.stderr) == (0, "[1.0, 2.0, 3.0]\n", ""), result


def test_off_fails_as_plain_torch_does():
    result = launch(*on_sim("--off"), "-c", ADD)
    assert result.returncode == 1 and "no kernel image is available" in result.stderr, result
    assert "gpucompat: active" not in result.stderr


def test_debug_and_log_say_every_verdict(tmp_path):
    log = tmp_path / "with space.log"
    result = launch(*on_sim("--debug", "--log", log.name), "-c", ADD, cwd=tmp_path)
    assert result.returncode == 0 and "gpucompat: verdict library=operators" in result.stderr, result
    assert "gpucompat: verdict library=operators" in log.read_text()


def test_the_users_preloads_stay_and_the_library_comes_once(tmp_path):
    names = f"/nowhere/libother.so:{tmp_path}/libgpucompat.so"
    result = launch(*on_sim("--dry-run"), "-c", ADD, env=bare_environment(LD_PRELOAD=names, LD_LIBRARY_PATH="/mine"))
    preloads = re.match("LD_PRELOAD='([^']*)' LD_LIBRARY_PATH=([^ ]*) ", result.stdout)
    listed = preloads[1].split(" ")
    assert listed[0] == SHIM and listed[-1] == "/nowhere/libother.so", result
    assert len([path for path in listed if path.endswith("libgpucompat.so")]) == 1, result
    assert preloads[2] == f"{SIMGPU}:/mine", result


def test_a_program_that_is_not_there_is_said():
    result = launch("run", "--library", SHIM, "--", "no-such-program")
    assert result.returncode == 127 and "cannot run no-such-program" in result.stderr, result
    result = launch("run", "--library", SHIM, "--", "/dev/null")
    assert result.returncode == 126 and "cannot run /dev/null" in result.stderr, result


def test_what_cannot_be_preloaded_is_refused(tmp_path):
    result = launch("run", "--library", str(tmp_path / "none.so"), "--", "true")
    assert result.returncode == 125 and "none.so" in result.stderr and "--library" in result.stderr, result
    folder = tmp_path / "a b"
    folder.mkdir()
    (folder / "libgpucompat.so").write_text("")
    result = launch("run", "--library", str(folder / "libgpucompat.so"), "--", "true")
    assert result.returncode == 125 and "cannot stand in LD_PRELOAD" in result.stderr, result
    result = launch("run", "--library", SHIM, "--sim", "--simgpu", str(tmp_path), "--", "true")
    assert result.returncode == 125 and "bash shim-tests/simgpu/build.sh" in result.stderr, result


def test_the_command_finds_the_library_beside_itself_and_in_lib(tmp_path):
    for place in ("bin", "lib", "lib/gpucompat"):
        root = tmp_path / place.replace("/", "-")
        (root / "bin").mkdir(parents=True)
        (root / place).mkdir(parents=True, exist_ok=True)
        command = root / "bin" / "gpucompat"
        shutil.copy(LAUNCHER, command)
        library = root / place / "libgpucompat.so"
        library.write_text("")
        result = subprocess.run([command, "run", "--dry-run", "--", "true"], capture_output=True, text=True, timeout=60)
        assert f"LD_PRELOAD={library} " in result.stdout, (place, result)


def test_a_closed_pipe_is_no_crash():
    for line in ("man", "--help", "doctor --json --no-probe --python /nowhere", f"run --dry-run --library {SHIM} -- true"):
        reader, writer = os.pipe()
        os.close(reader)
        result = subprocess.run(
            [LAUNCHER, *line.split()], env=bare_environment(), stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60
        )
        os.close(writer)
        assert result.returncode in (0, 1) and result.stderr == "", (line, result)


def test_doctor_on_a_new_device_advises_to_run_with_gpucompat():
    result = doctor("--json")
    known = document(result)
    assert result.returncode == 0 and result.stderr == "", result
    assert known["conclusion"]["outcome"] == "compat_works" and known["conclusion"]["works"] is True
    assert known["conclusion"]["commands"] == [f"gpucompat run --library {SHIM} -- python app.py"]
    assert [(gpu["name"], gpu["sm"]) for gpu in known["driver"]["gpus"]] == [("NVIDIA GeForce RTX 5090", 120)]
    assert known["native"]["works"] is False and "no kernel image" in known["native"]["error"]
    assert {operation["status"] for operation in known["compat"]["operations"]} == {"right"}
    modes = {verdict["library"]: verdict["mode"] for verdict in known["compat"]["verdicts"]}
    assert modes["operators"] == modes["cublas"] == modes["cudnn"] == "compat", modes
    assert known["compat"]["memory"] == "host" and "aten::add.Tensor" in known["compat"]["served"]


def test_doctor_reads_from_the_wheels_what_they_are_built_for():
    known = document(doctor("--json", "--no-probe"))
    assert known["conclusion"]["outcome"] == "not_probed" and known["native"] is None
    (torch,) = [binary for binary in known["binaries"] if binary["file"] == "libtorch_cuda.so"]
    most = max(carried["count"] for carried in torch["architectures"])
    # Some kernels are built for further architectures; what every piece is built for is what PyTorch says.
    everywhere = {carried["name"] for carried in torch["architectures"] if carried["count"] == most}
    assert everywhere == set(known["python"]["torch"]["arch_list"])
    installed = [item for item in metadata.distributions() if item.metadata["Name"].startswith("nvidia-cublas")]
    assert [item.version.rsplit(".", 1)[0] for item in installed] == [known["python"]["torch"]["cublas"]]
    files = {binary["file"].partition(".so")[0] for binary in known["binaries"] if binary["architectures"]}
    assert {"libtorch_cuda", "libcublas", "libcublasLt"} <= files, files
    assert any(file.startswith("libcudnn_") for file in files), files


def test_doctor_on_a_device_that_should_be_healthy_and_is_not():
    # The simulated GPU refuses kernels whatever its model: an RTX 4090 on it is one with a broken installation.
    result = doctor("--json", SIMGPU_MODEL="rtx4090")
    known = document(result)
    assert known["conclusion"]["outcome"] == "forced_works" and result.returncode == 0, known["conclusion"]
    assert "run --library" in known["conclusion"]["commands"][0] and "--force" in known["conclusion"]["commands"][0]
    assert known["compat"]["works"] is False and known["forced"]["works"] is True
    reasons = {verdict["library"]: verdict["reason"] for verdict in known["compat"]["verdicts"]}
    assert reasons["operators"] == "trusted_sm_89"


def test_doctor_tells_wrong_results_from_errors():
    known = document(doctor("--json", SIMGPU_KERNELS="accept"))
    assert known["native"]["works"] is False and "differs from the CPU's result" in known["native"]["error"]
    conclusion, verdicts = known["conclusion"], known["compat"]["verdicts"]
    if any(verdict["library"] == "operators" and verdict["mode"] == "native" for verdict in verdicts):
        # No kernel of PyTorch is run to decide, so a build that has kernels for the device is taken to work.
        assert conclusion["outcome"] == "forced_works" and known["forced"]["works"] is True, conclusion
    else:
        assert conclusion["outcome"] == "compat_works" and "computes wrongly" in conclusion["summary"], conclusion


def test_doctor_tries_every_device():
    known = document(doctor("--json", SIMGPU_DEVICES="2"))
    assert {operation["device"] for operation in known["compat"]["operations"]} == {0, 1}
    assert known["conclusion"]["outcome"] == "compat_works"


def test_doctor_is_not_misled_by_what_is_set_or_lies_about(tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('the wrong torch')")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    env = environment_of(FORCE_GPU_COMPAT_PATCHES="0", GPU_COMPAT_LOG=str(tmp_path / "log"))
    result = launch("doctor", "--library", SHIM, "--python", sys.executable, "--json", env=env, cwd=tmp_path)
    known = document(result)
    assert known["conclusion"]["outcome"] == "compat_works", known["conclusion"]
    assert "FORCE_GPU_COMPAT_PATCHES=0" in known["conclusion"]["notes"][0]
    assert not (tmp_path / "log").exists()


def test_doctor_without_torch(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True, timeout=120)
    result = doctor("--json", python=str(tmp_path / "bare" / "bin" / "python"))
    assert result.returncode == 1 and document(result)["conclusion"]["outcome"] == "no_torch", result
    assert document(result)["conclusion"]["commands"] == ["gpucompat doctor --python PATH"]


def test_doctor_takes_the_active_virtual_environment(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True, timeout=120)
    env = bare_environment(VIRTUAL_ENV=str(tmp_path / "bare"))
    known = document(launch("doctor", "--json", "--library", SHIM, env=env))
    assert known["python"]["command"] == str(tmp_path / "bare" / "bin" / "python")


def test_doctor_without_a_python():
    result = doctor("--json", python="/nowhere/python")
    assert result.returncode == 1 and document(result)["conclusion"]["outcome"] == "no_python", result


def test_doctor_with_a_torch_without_cuda_and_with_a_broken_one(tmp_path):
    package = tmp_path / "torch"
    package.mkdir()
    module = package / "__init__.py"
    stub = "import types\n__version__ = '2.5.1+cpu'\nversion = types.SimpleNamespace(cuda=None, hip=None)\n_C = types.ModuleType('_C')\n"
    for source, outcome in ((stub, "torch_without_cuda"), ("import no_such_module\n", "torch_broken")):
        module.write_text(source)
        result = doctor("--json", PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
        assert result.returncode == 1 and document(result)["conclusion"]["outcome"] == outcome, result


def test_doctor_without_a_driver_or_without_a_gpu(tmp_path):
    # Found first and not loadable: as good as none, on machines that have a driver too.
    (tmp_path / "libcuda.so.1").write_text("")
    result = doctor("--json", env=bare_environment(LD_LIBRARY_PATH=str(tmp_path)))
    assert result.returncode == 1 and document(result)["conclusion"]["outcome"] == "no_driver", result
    assert "libcuda.so.1" in document(result)["driver"]["error"]
    result = doctor("--json", SIMGPU_DEVICES="0")
    assert result.returncode == 1 and document(result)["conclusion"]["outcome"] == "no_gpu", result


def test_doctor_without_the_library(tmp_path):
    env = environment_of(shim=False)
    known = document(
        launch("doctor", "--json", "--python", sys.executable, "--library", str(tmp_path / "none.so"), env=env)
    )
    assert known["conclusion"]["outcome"] == "no_library" and known["compat"] is None


def test_the_doctors_page():
    result = doctor(GPU_COMPAT_THREADS="2")
    page = result.stdout
    for what, instead in (
        (SHIM, "LIBRARY"),
        (environment_of(shim=False)["LD_PRELOAD"], "RUNTIME"),
        (r"(?m)^(Python +).*$", r"\1VERSION, PATH"),
        (r"(?m)^(PyTorch +).*\n +built for .*$", r"\1BUILD"),
        (r"(?m)^(kernels +).*\n( +lib.*\n)+", r"\1LIBRARIES" + "\n"),
        (r"(?m)^ +or  install (PyTorch 2.7.0|a build of PyTorch) .*\n", ""),
        (r"(RuntimeError|AcceleratorError): CUDA error: .*", "ERROR"),
        (r"(operators  compat  ).*", r"\1MEANING"),
    ):
        page = re.sub(what if "(" in what else re.escape(what), instead, page)
    assert page == PAGE, page


PAGE = """\
Programs work with gpucompat: the host computes what the GPU cannot.

next step   run programs with gpucompat
                gpucompat run --library LIBRARY -- python app.py
            or  LD_PRELOAD=LIBRARY python app.py

driver      CUDA 12.8
GPU 0       NVIDIA GeForce RTX 5090, sm_120, 31.8 GiB
Python      VERSION, PATH
PyTorch     BUILD
kernels     LIBRARIES
native      fails: ERROR
            failed: add, matmul, linear, conv2d
gpucompat   works: add, matmul, linear, conv2d agree with the CPU
            operators  compat  MEANING
            cudnn      compat  cuDNN does not start on this device
            cublas     compat  cuBLAS does not start on this device
            PyTorch's device memory lies on the host
library     LIBRARY
settings    GPU_COMPAT_THREADS=2
            LD_PRELOAD=RUNTIME
"""


def test_a_report_of_an_unknown_kind_is_refused_before_the_program_runs():
    result = launch("run", "--library", SHIM, "--stats=r.txt", "--", "echo", "ran")
    assert result.returncode == 125 and ".json or .html" in result.stderr and result.stdout == "", result


def test_usage_errors_and_the_manual_page():
    assert launch("run", "--force", "--off", "--", "true").returncode == 2
    assert launch("run", "true").returncode == 2
    assert launch("doctor", "--nonsense").returncode == 2
    result = launch("man")
    assert result.returncode == 0 and result.stdout.count("\n.SH ") >= 7, result
    assert "man" not in re.findall(r"(?m)^  (\w+)", launch("--help").stdout)
