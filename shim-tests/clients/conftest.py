"""Programs of others on the simulated GPU: each runs in a process of its own and says what became of each case."""

import glob
import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
OURS = ("FORCE_GPU_COMPAT_PATCHES", "GPU_COMPAT_", "SIMGPU_")


def built(name):
    if name not in os.environ:
        pytest.fail(f"{name} is not set: run `scripts/test.sh clients`")
    return os.environ[name]


class Client:
    """How a program is started: as its user would, with what the README tells to set."""

    def run(self, program, audited=False, shim=True, **environment):
        """What the program printed: the name of a case to how it ended."""
        simgpu = built("GPU_COMPAT_SIMGPU")
        env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        ours = [built("GPU_COMPAT_SHIM")] if shim else []
        env["LD_PRELOAD"] = " ".join([*ours, *glob.glob(f"{simgpu}/libcudart.so.*")])
        env["LD_LIBRARY_PATH"] = f"{simgpu}:{built('GPU_COMPAT_NATIVE_LIBRARIES')}"
        if audited:
            env["LD_AUDIT"] = built("GPU_COMPAT_AUDIT")
        env.update(environment)
        command = [sys.executable, "-W", "ignore", str(HERE / program)]
        ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, f"{program}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        cases = dict(json.loads(line) for line in ended.stdout.splitlines() if line.startswith('["'))
        assert cases, f"{ended.stdout}\n{ended.stderr}"
        return cases, ended.stderr


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def table():
    """The rows of docs/clients.md for a client: the name of a case to what is said of it."""

    def rows(heading):
        text = (HERE / "../../docs/clients.md").read_text()
        section = text.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
        cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
        named = {case.strip().strip("`"): said.strip() for row in cells for case in row[0].split(",") for said in row[1:2]}
        named.pop("case", None)
        assert named, f"docs/clients.md has a table under {heading}"
        return named

    return rows


def compare(cases, said):
    """Holds the documentation against what happened: every case has a row, every row a case, and they agree."""
    assert sorted(cases) == sorted(said), "docs/clients.md and the program have the same cases"
    for name, ended in cases.items():
        works = said[name].startswith("works")
        assert works == (ended == "right"), f"{name}: docs/clients.md says {said[name]!r}, it ended as {ended!r}"
        if not works:
            # Refused by the program itself for want of its own kernels; a wrong number is never in order.
            assert "wrong" not in ended, f"{name}: {ended}"
