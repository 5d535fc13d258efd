# What PyTorch is there, as one line of JSON behind a mark. Needs no device, and imports nothing from the working
# directory.
import sys

if sys.path and sys.path[0] == "":
    del sys.path[0]

import ctypes
import glob
import json
import os
import platform


def loaded(*names):
    """The files of this process whose names begin so."""
    try:
        with open("/proc/self/maps") as maps:
            paths = ["/" + line.rstrip("\n").partition("/")[2] for line in maps if "/" in line]
    except OSError:
        return []
    return [path for path in dict.fromkeys(paths) if os.path.basename(path).startswith(names)]


def folders_of(libraries):
    """The folders of NVIDIA's wheels, of PyTorch, and of the libraries that it has loaded from elsewhere."""
    found = [libraries]
    for entry in sys.path:
        found += sorted(glob.glob(os.path.join(glob.escape(entry), "nvidia", "*", "lib")))
    found += [os.path.dirname(path) for path in loaded("libcublas", "libcudnn", "libtorch_cuda")]
    return list(dict.fromkeys(found))


def cublas_version():
    """The version of the cuBLAS that PyTorch has loaded, as it says itself: that takes no device."""
    for path in loaded("libcublas.so"):
        try:
            ask = ctypes.CDLL(path).cublasGetProperty
        except (OSError, AttributeError):
            continue
        numbers = [ctypes.c_int(-1) for _ in range(3)]
        # MAJOR_VERSION, MINOR_VERSION and PATCH_LEVEL of libraryPropertyType are 0, 1 and 2.
        if not any(ask(which, ctypes.byref(number)) for which, number in enumerate(numbers)):
            return ".".join(str(number.value) for number in numbers)
    return None


facts = {"version": platform.python_version(), "executable": sys.executable}
try:
    import torch
except ModuleNotFoundError as error:
    if error.name == "torch":
        facts["torch"] = {"state": "missing"}
    else:
        facts["torch"] = {"state": "broken", "error": "%s: %s" % (type(error).__name__, error)}
except BaseException as error:
    facts["torch"] = {"state": "broken", "error": "%s: %s" % (type(error).__name__, error)}
else:
    # Asked of the module below torch.cuda, which answers without a device.
    flags = getattr(torch._C, "_cuda_getArchFlags", lambda: None)()
    try:
        cudnn = torch.backends.cudnn.version()
    except Exception:
        cudnn = None
    libraries = os.path.join(os.path.dirname(torch.__file__), "lib")
    facts["torch"] = {
        "state": "found",
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "rocm": getattr(torch.version, "hip", None),
        "cublas": cublas_version(),
        "cudnn": cudnn,
        "arch_list": flags.split() if flags else [],
        "folders": folders_of(libraries),
    }
sys.stdout.write("\ngpucompat-doctor: " + json.dumps(facts) + "\n")
