#!/usr/bin/env bash
# Builds the simulated GPU: OUTDIR/libcudart.so.12 (for CUDA 11 libcudart.so.11.0, for 13 libcudart.so.13) and, the same
# file, OUTDIR/libcuda.so.1.
# PyTorch's wheels ask for symbol versions (cudaMalloc@libcudart.so.12), so the version node is the soname.
set -euo pipefail
out=${1:?usage: build.sh OUTDIR [MAJOR]}
major=${2:-12}
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
soname=libcudart.so.$major
case $major in
11) features=(--features cuda11) soname=libcudart.so.11.0 ;;
12) features=() ;;
13) features=(--features cuda13) ;;
*) echo "build.sh: MAJOR is 11, 12 or 13" >&2; exit 2 ;;
esac
cargo build --release --manifest-path "$here/Cargo.toml" "${features[@]}"
mkdir -p "$out"
archive=$target/release/libsimgpu.a
library=$out/$soname
if [ "$library" -nt "$archive" ] && [ "$library" -nt "$here/build.sh" ]; then exit; fi
script=$(mktemp)
trap 'rm -f "$script"' EXIT
echo "$soname { global: cuda*; __cuda*; cu[A-Z]*; simgpu_*; local: *; };" >"$script"
cc -shared -o "$library.new" -Wl,--whole-archive "$archive" -Wl,--no-whole-archive \
    -Wl,--version-script="$script" -Wl,-soname,"$soname" -Wl,--gc-sections -lpthread -ldl -lm
mv "$library.new" "$library"
ln -sf "$soname" "$out/libcuda.so.1"
