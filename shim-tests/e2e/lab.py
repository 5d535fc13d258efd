"""Runs scripts under the unmodified wheel, with libgpucompat.so and the simulated GPU preloaded."""

import glob
import os
import subprocess
import sys
import textwrap

import pytest

SHIM = os.environ.get("GPU_COMPAT_SHIM")
SIMGPU = os.environ.get("GPU_COMPAT_SIMGPU")
OURS = ("FORCE_GPU_COMPAT_PATCHES", "GPU_COMPAT_", "SIMGPU_")


class Result:
    """What a script printed and how it ended."""

    def __init__(self, completed):
        self.status = completed.returncode
        self.out = completed.stdout
        self.err = completed.stderr

    def __repr__(self):
        return f"exit status {self.status}\n--- out\n{self.out}\n--- err\n{self.err}"


def environment_of(shim=True, **environment):
    """The variables of a process on the simulated GPU; keyword arguments are further ones."""
    if SHIM is None or SIMGPU is None:
        pytest.fail("GPU_COMPAT_SHIM and GPU_COMPAT_SIMGPU are not set: run `scripts/test.sh e2e`")
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    preload = [SHIM] if shim else []
    env["LD_PRELOAD"] = " ".join([*preload, *glob.glob(f"{SIMGPU}/libcudart.so.*")])
    env["LD_LIBRARY_PATH"] = SIMGPU
    env.update(environment)
    return env


def run_python(*arguments, shim=True, **environment):
    """Runs the wheel's Python with these arguments; keyword arguments are variables."""
    env = environment_of(shim, **environment)
    command = [sys.executable, "-W", "ignore", *arguments]
    return Result(subprocess.run(command, env=env, capture_output=True, text=True, timeout=600))


def run(script, *arguments, shim=True, **environment):
    """Runs `script` (source text or a path) in a process of its own; keyword arguments are variables."""
    how = [script] if script.endswith(".py") else ["-c", textwrap.dedent(script)]
    return run_python(*how, *arguments, shim=shim, **environment)
