# Shell functions that demo.sh, test.sh and bench.sh share. Source it; it defines names and does nothing else.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SHIM=$ROOT/target/release/libgpucompat.so
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
    (cd "$ROOT" && cargo build --release -p gpucompat)
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
