# Shell functions that demo.sh, test.sh and bench.sh share. Source it; it defines names and does nothing else.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SHIM=$ROOT/target/release/libgpucompat.so
AUDIT=$ROOT/target/release/libgpucompat_audit.so
LAUNCHER=$ROOT/target/release/gpucompat
SIMGPU=$ROOT/target/simgpu-12
STANDIN=$ROOT/target/standin
VENVS=${GPU_COMPAT_VENVS:-${XDG_CACHE_HOME:-$HOME/.cache}/gpucompat/venv}
TORCH_DEFAULT=2.5.1
TORCH_NEXT=2.10.0
TORCH_OLDEST=2.1.2
TORCH_NEWEST=2.15.0

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# need COMMAND PACKAGE: installs the Debian package if the command is missing and we may. A name that is no command
# asks for the package outright.
need() {
    command -v "$1" >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "$1 is missing: install it (Debian: apt-get install $2)"
    say "installing $2"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2"; } >&2 || die "could not install $2"
}

# need_build_tools: what building the shim and the simulated GPU takes beside cargo.
need_build_tools() {
    command -v cargo >/dev/null || die "cargo is missing: install a Rust toolchain, https://rustup.rs"
    need cc gcc
    need nm binutils
    need python3 python3
}

build_shim() {
    say "building libgpucompat.so"
    (cd "$ROOT" && cargo build --release -p gpucompat -p gpucompat-audit -p gpucompat-launcher)
}

# build_simgpu [MAJOR]: for programs of that CUDA version; what runs on the simulated GPU afterwards finds it.
build_simgpu() {
    local major=${1:-12}
    say "building the simulated GPU for CUDA $major"
    SIMGPU=$ROOT/target/simgpu-$major
    bash "$ROOT/shim-tests/simgpu/build.sh" "$SIMGPU" "$major"
}

# cuda_of VERSION: the CUDA version that torch==VERSION from PyPI is built for.
cuda_of() {
    case $1 in
    "$TORCH_NEWEST") echo 13 ;;
    *) echo 12 ;;
    esac
}

build_standin() {
    say "building the stand-in for the native libraries"
    bash "$ROOT/shim-tests/native/build.sh" "$STANDIN"
}

# venv VERSION: a virtual environment with torch==VERSION from PyPI; prints its python.
venv() {
    local dir=$VENVS/torch-$1
    local numpy=numpy
    case $1 in 2.1.*) numpy='numpy<2' ;; esac
    if [ ! -e "$dir/.complete-3" ]; then
        say "installing torch==$1 (2 to 3 GB from PyPI, once)"
        python3 -c 'import ensurepip, venv' 2>/dev/null || need ensurepip-of-python3 python3-venv
        python3 -m venv "$dir" >&2 || die "python3 -m venv failed (Debian: apt-get install python3-venv)"
        "$dir/bin/python" -m pip install --progress-bar off "torch==$1" "$numpy" pytest expecttest ipykernel jupyter_client >&2 ||
            die "pip install torch==$1 failed"
        touch "$dir/.complete-3"
    fi
    echo "$dir/bin/python"
}

# models_venv: the same for TORCH_DEFAULT with the libraries that models come from; prints its python.
models_venv() {
    local python
    python=$(venv "$TORCH_DEFAULT")
    "$python" -c 'import torchvision, torchaudio, transformers, diffusers' 2>/dev/null ||
        "$python" -m pip install --progress-bar off torchvision==0.20.1 torchaudio==2.5.1 "transformers==4.57.6" \
            "diffusers==0.39.0" >&2 || die "pip install failed"
    echo "$python"
}

# clients_venv CUDA: a virtual environment with programs from PyPI that are built for that version of CUDA; prints its
# python.
clients_venv() {
    local dir=$VENVS/clients-$1
    local packages
    case $1 in
    11) packages="numpy<2 cupy-cuda11x==12.3.0 onnxruntime-gpu==1.18.1 onnx==1.16.2 nvidia-cublas-cu11==11.11.3.6
        nvidia-cudnn-cu11==8.9.5.30 nvidia-cuda-runtime-cu11==11.8.89 nvidia-cuda-nvrtc-cu11==11.8.89
        nvidia-cufft-cu11==10.9.0.58 nvidia-curand-cu11==10.3.0.86 nvidia-cusolver-cu11==11.4.1.48
        nvidia-cusparse-cu11==11.7.5.86" ;;
    12) packages="numpy<2 cupy-cuda12x==12.3.0 onnxruntime-gpu==1.20.2 onnx==1.17.0 ctranslate2==4.8.5
        nvidia-cudnn-frontend==1.10.0" ;;
    13) packages="numpy onnxruntime-gpu==1.31.1 onnx==1.23.2 nvidia-curand==10.4.5.25" ;;
    *) die "no set of clients for CUDA $1" ;;
    esac
    if [ ! -e "$dir/.complete-1" ]; then
        say "installing programs for CUDA $1 from PyPI, once"
        python3 -c 'import ensurepip, venv' 2>/dev/null || need ensurepip-of-python3 python3-venv
        python3 -m venv "$dir" >&2 || die "python3 -m venv failed (Debian: apt-get install python3-venv)"
        # shellcheck disable=SC2086 # a list of words
        "$dir/bin/python" -m pip install --progress-bar off $packages pytest >&2 || die "pip install for CUDA $1 failed"
        touch "$dir/.complete-1"
    fi
    echo "$dir/bin/python"
}

# libraries_of PYTHON: the folders of NVIDIA's libraries in a virtual environment, each followed by a colon.
libraries_of() {
    local folder
    for folder in "${1%/bin/python}"/lib/python3*/site-packages/nvidia/*/lib; do
        if [ -d "$folder" ]; then printf '%s:' "$folder"; fi
    done
}

# has_gpu: whether a real NVIDIA GPU answers.
has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU '; }

# on_device COMMAND…: runs it with the shim, on the real GPU where there is one, else on the simulated one.
on_device() {
    if has_gpu; then
        LD_PRELOAD=$SHIM "$@"
    else
        on_simgpu "$@"
    fi
}

on_simgpu() {
    LD_PRELOAD="$SHIM $(echo "$SIMGPU"/libcudart.so.*)" LD_LIBRARY_PATH="$SIMGPU${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
}
