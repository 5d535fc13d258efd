#!/usr/bin/env bash
# Runs PyTorch through gpucompat: builds everything, makes a virtual environment with the unmodified wheel,
# and runs an example (or your script) on the real GPU where there is one, on a simulated RTX 5090 where not.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

usage() {
    cat <<END
usage: scripts/demo.sh [your_script.py [its arguments]]

Without a script, runs examples/linear.py. Environment:
  GPU_COMPAT_TORCH    the torch version from PyPI (default $TORCH_DEFAULT)
  GPU_COMPAT_VENVS    where virtual environments are kept (default ~/.cache/gpucompat/venv)
  SIMGPU_MODEL        which GPU to simulate where there is none (see shim-tests/simgpu/README.md)
  and gpucompat's own variables (docs/environment.md)
END
}
case ${1:-} in -h | --help) usage; exit ;; esac

need_build_tools
build_shim
has_gpu || build_simgpu
python=$(venv "${GPU_COMPAT_TORCH:-$TORCH_DEFAULT}")
if has_gpu; then
    say "running on the real GPU: $(nvidia-smi -L | head -n 1)"
else
    say "no NVIDIA GPU here: running on the simulated ${SIMGPU_MODEL:-rtx5090} (no kernel works on it, as on a new card)"
fi
[ $# -gt 0 ] || set -- "$ROOT/examples/linear.py"
on_device "$python" "$@"
