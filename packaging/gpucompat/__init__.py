"""gpucompat for Python programs.

The usual way needs no line in the program: ``gpucompat run -- python app.py``. Where a line can be added and the command
line cannot be changed, two lines before the first ``import torch`` do the same::

    import gpucompat
    gpucompat.enable()
    import torch
"""

import ctypes
import os
import sys
import warnings
from pathlib import Path
from typing import List, Optional

__all__ = ["TooLate", "enable", "is_active", "launcher_path", "library_path"]

_FILES = Path(__file__).resolve().parent / "_files"
_LIBRARY = "libgpucompat.so"

# Once one of these is in the process its calls of NVIDIA's libraries may be bound, past anything that is loaded later.
_BOUND = ("libtorch", "libc10_cuda", "libcudart", "libcublas", "libcudnn")


class TooLate(RuntimeError):
    """`enable` was called when the program's calls were bound to NVIDIA's libraries already."""


def library_path() -> Path:
    """The file ``libgpucompat.so`` of this package, for ``LD_PRELOAD``."""
    return _FILES / _LIBRARY


def launcher_path() -> Path:
    """The program behind the command ``gpucompat``."""
    return _FILES / "gpucompat"


def is_active() -> bool:
    """Whether ``libgpucompat.so`` is in this process, preloaded or enabled.

    It then decides by the device whether it computes anything; ``gpucompat doctor`` says what it decides.
    """
    return any(os.path.basename(path) == _LIBRARY for path in _loaded())


def enable(*, children: bool = True) -> None:
    """Loads ``libgpucompat.so`` in front of the CUDA libraries that are loaded after it.

    Does nothing where it is in the process already. Call it before the first ``import torch`` (or CuPy, onnxruntime, …).
    Environment variables of gpucompat are read at this moment. With `children`, programs that this one starts from now
    on (spawned DataLoader workers, for one) have the library preloaded.

    Raises `TooLate` where a CUDA library or PyTorch is loaded already.
    """
    if is_active():
        return
    present = _what_is_bound()
    if present is not None:
        raise TooLate(
            f"gpucompat: {present} in this process already, so calls of NVIDIA's libraries may be bound past gpucompat. "
            "Call gpucompat.enable() before the first import of torch or another CUDA package; or start the program with "
            f"`gpucompat run -- python app.py`, or with LD_PRELOAD={library_path()}"
        )
    # Names are looked up in the order of loading among what is loaded for all: ours come before those of any library
    # loaded later.
    ctypes.CDLL(str(library_path()), mode=ctypes.RTLD_GLOBAL)
    if children:
        _preload_in_children()


def _preload_in_children() -> None:
    path = str(library_path())
    if any(character == ":" or character.isspace() for character in path):
        warnings.warn(
            f"gpucompat: the dynamic linker cannot preload a path with blanks or colons, {path!r}: programs that this one "
            "starts run without gpucompat unless they call gpucompat.enable() themselves",
            stacklevel=3,
        )
        return
    os.environ["LD_PRELOAD"] = " ".join(filter(None, [path, os.environ.get("LD_PRELOAD")]))


def _what_is_bound() -> Optional[str]:
    """What makes it too late, as the beginning of a sentence."""
    if "torch" in sys.modules:
        return "torch is imported"
    for path in _loaded():
        if os.path.basename(path).startswith(_BOUND):
            return f"{path} is loaded"
    return None


def _loaded() -> List[str]:
    """The files that are mapped into this process."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        rows = (line.rstrip("\n").split(maxsplit=5) for line in maps)
        paths = {row[5] for row in rows if len(row) == 6}
    return sorted(path[: -len(" (deleted)")] if path.endswith(" (deleted)") else path for path in paths)
