# What PyTorch is there, as one line of JSON behind a mark. Needs no device, and imports nothing from the working
# directory.
import sys

if sys.path and sys.path[0] == "":
    del sys.path[0]

import glob
import json
import os
import platform


def folders_of(libraries):
    """The folders of NVIDIA's wheels, of PyTorch, and of the libraries that it has loaded from elsewhere."""
    found = [libraries]
    for entry in sys.path:
        found += sorted(glob.glob(os.path.join(glob.escape(entry), "nvidia", "*", "lib")))
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                path = line.rstrip("\n").partition("/")[2]
                if os.path.basename(path).startswith(("libcublas", "libcudnn", "libtorch_cuda")):
                    found.append("/" + os.path.dirname(path))
    except OSError:
        pass
    return list(dict.fromkeys(found))


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
        "cudnn": cudnn,
        "arch_list": flags.split() if flags else [],
        "folders": folders_of(libraries),
    }
sys.stdout.write("\ngpucompat-doctor: " + json.dumps(facts) + "\n")
