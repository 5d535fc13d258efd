#!/usr/bin/env python3
"""Writes src/surface/exports/: what each version of NVIDIA's libraries exports, read from the wheels on PyPI.

usage: gen-exports.py [--check] [PACKAGE==VERSION …]

Without packages: all of PACKAGES, about 7 GB to download, each removed once it is read. With --check nothing is
written, and a list that differs is an error.
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "src/surface/exports"
# One of each version of CUDA that a PyTorch wheel was built for, and the newest of each major version.
PACKAGES = [
    "nvidia-cublas-cu11==11.10.3.66",
    "nvidia-cublas-cu11==11.11.3.6",
    "nvidia-cublas-cu12==12.1.3.1",
    "nvidia-cublas-cu12==12.4.5.8",
    "nvidia-cublas-cu12==12.8.4.1",
    "nvidia-cublas-cu12==12.9.3.13",
    "nvidia-cublas==13.4.1.3",
    "nvidia-cublas==13.10.0.20",
    "nvidia-cudnn-cu11==8.5.0.96",
    "nvidia-cudnn-cu12==8.9.2.26",
    "nvidia-cudnn-cu12==9.1.0.70",
    "nvidia-cudnn-cu12==9.10.2.21",
    "nvidia-cudnn-cu12==9.28.0.42",
    "nvidia-cudnn-cu13==9.26.0.51",
    "nvidia-cudnn-cu13==9.28.1.4",
]
# The libraries that programs call; cuDNN's parts export nothing that libcudnn.so.N does not.
LIBRARY = re.compile(r"(?:^|/)(libcublas\.so\.\d+|libcublasLt\.so\.\d+|libcudnn\.so\.\d+)$")
NAME = re.compile(r"^(?:cublas|cudnn)\w*$")


def exported(library):
    """The C names of cuBLAS and cuDNN that a shared library defines, sorted."""
    command = ["nm", "-D", "--defined-only", "--format=posix", str(library)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    names = (line.split(" ")[0].split("@")[0] for line in lines)
    return sorted({name for name in names if NAME.match(name)})


def lists_of(package):
    """File name and text of each list that a package gives."""
    cuda = re.search(r"-(cu\d+)=", package)
    version = package.split("==")[1]
    with tempfile.TemporaryDirectory() as folder:
        platform = "manylinux2014_x86_64,manylinux1_x86_64,manylinux_2_27_x86_64".split(",")
        options = [f"--platform={name}" for name in platform] + ["--only-binary=:all:", "--no-deps", "-q"]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, "-d", folder, package], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if found := LIBRARY.search(member):
                    names = exported(archive.extract(member, folder))
                    of_cuda = f"-{cuda[1]}" if cuda and "cudnn" in package else ""
                    yield f"{found[1]}-{version}{of_cuda}.txt", "".join(f"{name}\n" for name in names)


def main(arguments):
    if "-h" in arguments or "--help" in arguments:
        print(__doc__)
        return 0
    check = "--check" in arguments
    packages = [argument for argument in arguments if not argument.startswith("-")] or PACKAGES
    differing = 0
    for package in packages:
        for name, text in lists_of(package):
            path = FOLDER / name
            known = path.read_text() if path.exists() else None
            same = known == text
            print(f"{package}: {name}: {len(text.splitlines())} names{'' if same else ', differs'}", flush=True)
            differing += not same
            if not check and not same:
                path.write_text(text)
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
