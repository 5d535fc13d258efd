"""How `pip wheel .` makes the wheel: setuptools' commands with three built files put into the package.

The files come from `cargo build --release`, or from the folder that GPUCOMPAT_PREBUILT names. The wheel belongs to no
version of Python (nothing links it), to x86-64, and to the oldest glibc that has every symbol the files ask for.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Tuple

from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel
from setuptools.command.egg_info import egg_info
from setuptools.command.sdist import sdist
from setuptools.errors import ExecError, SetupError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "packaging"))  # setuptools loads this file by its path

from elf import needs  # noqa: E402

FILES = ("libgpucompat.so", "libgpucompat_audit.so", "gpucompat")
CRATES = ("gpucompat", "gpucompat-audit", "gpucompat-launcher")

# What a manylinux wheel may take from the system, and our files do.
SYSTEM_LIBRARIES = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1",
                    "ld-linux-x86-64.so.2"}

# What the build leaves behind lies where cargo's does, which git ignores.
WORK = "target/wheel"


def _version() -> str:
    manifest = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    found = re.search(r'^\[workspace\.package\]\n(?:[^\[].*\n)*?version = "([^"]+)"', manifest, re.MULTILINE)
    if found is None:
        raise SetupError("Cargo.toml has no version in [workspace.package]")
    return found[1]


VERSION = _version()


def built_files() -> List[Path]:
    """The three files, built now unless GPUCOMPAT_PREBUILT names a folder that has them."""
    prebuilt = os.environ.get("GPUCOMPAT_PREBUILT")
    if prebuilt:
        folder = Path(prebuilt)
    else:
        target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
        folder = target / "release"
        command = ["cargo", "build", "--release", "--locked", "--target-dir", str(target)]
        for crate in CRATES:
            command += ["-p", crate]
        try:
            subprocess.run(command, cwd=ROOT, check=True)
        except FileNotFoundError:
            raise ExecError("cargo is missing: install a Rust toolchain, https://rustup.rs") from None
        except subprocess.CalledProcessError as error:
            raise ExecError(f"{' '.join(command)} failed with status {error.returncode}") from None
    files = [folder / name for name in FILES]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise SetupError(f"not there: {', '.join(missing)}")
    return files


def oldest_glibc(files: List[Path]) -> Tuple[int, int]:
    """The oldest glibc that runs `files`; an error if they need another library than those every Linux has."""
    found = {file.name: needs(file) for file in files}
    foreign = {name: set(need.libraries) - SYSTEM_LIBRARIES for name, need in found.items()}
    foreign = {name: sorted(libraries) for name, libraries in foreign.items() if libraries}
    if foreign:
        raise SetupError(f"libraries that a wheel cannot count on: {foreign}")
    return max(need.glibc() for need in found.values())


class Build(build):
    """Works in the target folder."""

    def initialize_options(self):
        super().initialize_options()
        self.build_base = WORK


class EggInfo(egg_info):
    """Works in the target folder."""

    def initialize_options(self):
        super().initialize_options()
        (ROOT / WORK).mkdir(parents=True, exist_ok=True)
        self.egg_base = WORK


class BuildPy(build_py):
    """The package's modules, and the built files in `_files`."""

    def run(self):
        super().run()
        folder = Path(self.build_lib) / "gpucompat" / "_files"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in built_files():
            target = folder / file.name
            shutil.copyfile(file, target)
            target.chmod(0o755)
            # Line tables are four fifths of the library; a warning that reports a panic does not need them.
            if shutil.which("strip"):
                subprocess.run(["strip", "--strip-debug", str(target)], check=True)


class EditableWheel(editable_wheel):
    """Refused: the sources, which an editable installation points to, hold no built files."""

    def run(self):
        raise SetupError("gpucompat cannot be installed as editable, its sources hold no built files: use `pip install .`")


class Sdist(sdist):
    """Refused: a source distribution would hold this folder, and not what cargo builds."""

    def run(self):
        raise SetupError("gpucompat has no source distribution: use `pip wheel .` in a clone of its sources")


class BdistWheel(bdist_wheel):
    """Tagged for any Python 3, x86-64, and the glibc that the files need."""

    def finalize_options(self):
        # The files belong to one kind of machine: they go where extension modules go.
        self.distribution.has_ext_modules = lambda: True
        super().finalize_options()

    def get_tag(self):
        # What is packed is asked, not what it was made of. `prepare_metadata` asks before anything is built.
        packed = [Path(self.bdist_dir) / "gpucompat" / "_files" / name for name in FILES]
        if not all(file.is_file() for file in packed):
            return "py3", "none", "linux_x86_64"
        major, minor = oldest_glibc(packed)
        return "py3", "none", f"manylinux_{major}_{minor}_x86_64"
