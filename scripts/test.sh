#!/usr/bin/env bash
# All tests, or the named stages. `scripts/test.sh --help` lists them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

usage() {
    cat <<END
usage: scripts/test.sh [stage …]

  rust       formatting, lints, unit and property tests of every crate
  abi        the built library through its C interface, against a simulated GPU, stand-ins for the native libraries
             and the real libcudnn of torch==$TORCH_DEFAULT
  e2e        the unmodified wheel torch==$TORCH_DEFAULT on the simulated GPU
  e2e-next   the same with torch==$TORCH_NEXT
  e2e-oldest the same with torch==$TORCH_OLDEST (only when named)
  e2e-newest the same with torch==$TORCH_NEWEST, which is built for CUDA 13 (only when named)
  ops        PyTorch's operator database on the device against the CPU: $TORCH_DEFAULT with memory on the host,
             $TORCH_NEXT with memory on the device
  clients    CuPy, onnxruntime, cudnn-frontend from PyPI, built for CUDA 12
  clients-oldest, clients-newest
             the same for CUDA 11 and 13 (only when named)
  models     real models of torchvision, transformers and diffusers, torch==$TORCH_DEFAULT
  tools      the command gpucompat, reports and traces (one page in a headless Chromium), wheel and installation,
             torch==$TORCH_DEFAULT
  docs       generated documentation is what the code prints; links, messages and commands in it exist

Without a stage: all of them in this order, but those that say otherwise.
END
}

stage_rust() {
    need_build_tools
    cd "$ROOT"
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace --exclude gpucompat-abi-tests
}

stage_abi() {
    need_build_tools
    build_shim
    build_simgpu
    build_standin
    local python cudnn
    python=$(venv "$TORCH_DEFAULT")
    cudnn=$(echo "${python%/bin/python}"/lib/python3*/site-packages/nvidia/cudnn/lib)
    [ -e "$cudnn/libcudnn.so.9" ] || die "torch==$TORCH_DEFAULT came without libcudnn.so.9: $cudnn"
    # Every version of NVIDIA's libraries that is installed.
    local installed other
    installed=$(libraries_of "$python")
    for other in "$VENVS"/*/bin/python; do installed+=$(libraries_of "$other"); done
    cd "$ROOT"
    GPU_COMPAT_SHIM=$SHIM GPU_COMPAT_AUDIT=$AUDIT GPU_COMPAT_SIMGPU=$SIMGPU GPU_COMPAT_STANDIN=$STANDIN \
        GPU_COMPAT_NATIVE_LIBRARIES=$installed GPU_COMPAT_CUDNN_DIR=$cudnn cargo test --release --no-fail-fast -p gpucompat-abi-tests
}

# e2e VERSION: the Python tests, on the simulated GPU whatever the machine has.
e2e() {
    need_build_tools
    build_shim
    build_simgpu "$(cuda_of "$1")"
    local python
    python=$(venv "$1")
    cd "$ROOT"
    GPU_COMPAT_SHIM=$SHIM GPU_COMPAT_SIMGPU=$SIMGPU "$python" -m pytest -q -p no:cacheprovider shim-tests/e2e
}

# ops VERSION MEMORY: every operator's sample inputs, memory on the host or on the device; prints findings and counts, fails
# on a wrong result.
ops() {
    need_build_tools
    build_shim
    build_simgpu
    local python
    python=$(venv "$1")
    say "operator database of torch $1, memory on the $2"
    GPU_COMPAT_QUIET=1 GPU_COMPAT_MEMORY=$2 on_simgpu "$python" -W ignore "$ROOT/shim-tests/e2e/opdb.py" --samples 8 \
        --dtypes float32,int64,bool,bfloat16,float16,complex64
}

stage_models() {
    need_build_tools
    build_shim
    build_simgpu
    local python
    python=$(models_venv)
    cd "$ROOT"
    GPU_COMPAT_SHIM=$SHIM GPU_COMPAT_SIMGPU=$SIMGPU "$python" -m pytest -q -p no:cacheprovider shim-tests/models
}

# clients CUDA: programs of others, with NVIDIA's libraries of PyTorch's wheel where they bring none.
clients() {
    need_build_tools
    build_shim
    build_simgpu "$1"
    local python libraries
    python=$(clients_venv "$1")
    libraries=$(libraries_of "$python")
    case $1 in
    12) libraries+=$(libraries_of "$(venv "$TORCH_DEFAULT")") ;;
    13) libraries+=$(libraries_of "$(venv "$TORCH_NEWEST")") ;;
    esac
    # cudnn-frontend opens a name that no wheel has.
    mkdir -p "$ROOT/target/names-$1"
    local cudnn
    for cudnn in ${libraries//:/ }; do
        if [ -e "$cudnn/libcudnn.so.9" ]; then ln -sf "$cudnn/libcudnn.so.9" "$ROOT/target/names-$1/libcudnn.so"; fi
    done
    cd "$ROOT"
    GPU_COMPAT_SHIM=$SHIM GPU_COMPAT_AUDIT=$AUDIT GPU_COMPAT_SIMGPU=$SIMGPU GPU_COMPAT_CLIENTS=$1 \
        GPU_COMPAT_NATIVE_LIBRARIES=$libraries$ROOT/target/names-$1 \
        "$python" -m pytest -q -p no:cacheprovider shim-tests/clients
}

stage_tools() {
    need_build_tools
    need chromedriver chromium-driver
    need chromium chromium
    build_shim
    build_simgpu
    local python
    python=$(venv "$TORCH_DEFAULT")
    "$python" -c 'import selenium, jsonschema' 2>/dev/null ||
        "$python" -m pip install --progress-bar off selenium==4.27.1 jsonschema==4.23.0 >&2 || die "pip install failed"
    cd "$ROOT"
    GPU_COMPAT_SHIM=$SHIM GPU_COMPAT_AUDIT=$AUDIT GPU_COMPAT_LAUNCHER=$LAUNCHER GPU_COMPAT_SIMGPU=$SIMGPU \
        GPU_COMPAT_TORCH_SITE=${GPU_COMPAT_TORCH_SITE:-$(echo "${python%/bin/python}"/lib/python3*/site-packages)} \
        "$python" -m pytest -q -p no:cacheprovider shim-tests/tools packaging
    python3 scripts/check-docs.py --run --python "$python"
}

stage_docs() {
    need_build_tools
    build_shim
    cd "$ROOT"
    bash scripts/gen-docs.sh --check
    python3 scripts/check-docs.py
}

stages=("$@")
case ${1:-} in
-h | --help) usage; exit ;;
'') stages=(rust abi e2e e2e-next ops clients models tools docs) ;;
esac
for stage in "${stages[@]}"; do
    say "stage $stage"
    case $stage in
    rust) (stage_rust) ;;
    abi) (stage_abi) ;;
    e2e) (e2e "$TORCH_DEFAULT") ;;
    e2e-next) (e2e "$TORCH_NEXT") ;;
    e2e-oldest) (e2e "$TORCH_OLDEST") ;;
    e2e-newest) (e2e "$TORCH_NEWEST") ;;
    ops) (ops "$TORCH_DEFAULT" host && ops "$TORCH_NEXT" device) ;;
    clients) (clients 12) ;;
    clients-oldest) (clients 11) ;;
    clients-newest) (clients 13) ;;
    models) (stage_models) ;;
    tools) (stage_tools) ;;
    docs) (stage_docs) ;;
    *) usage >&2; die "unknown stage: $stage" ;;
    esac
done
say "all stages passed: ${stages[*]}"
