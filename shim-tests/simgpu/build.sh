#!/usr/bin/env bash
# Builds the simulated GPU: OUTDIR/libcudart.so.12 and, the same file, OUTDIR/libcuda.so.1.
# PyTorch's wheels ask for symbol versions (cudaMalloc@libcudart.so.12), so the version node is the soname.
set -euo pipefail
out=${1:?usage: build.sh OUTDIR [MAJOR]}
major=${2:-12}
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
case $major in
12) features=() ;;
13) features=(--features cuda13) ;;
*) echo "build.sh: MAJOR is 12 or 13" >&2; exit 2 ;;
esac
cargo build --release --manifest-path "$here/Cargo.toml" "${features[@]}"
mkdir -p "$out"
archive=$target/release/libsimgpu.a
library=$out/libcudart.so.$major
if [ "$library" -nt "$archive" ] && [ "$library" -nt "$here/build.sh" ]; then exit; fi
script=$(mktemp)
trap 'rm -f "$script"' EXIT
echo "libcudart.so.$major { global: cuda*; __cuda*; cu[A-Z]*; simgpu_*; local: *; };" >"$script"
cc -shared -o "$library.new" -Wl,--whole-archive "$archive" -Wl,--no-whole-archive \
    -Wl,--version-script="$script" -Wl,-soname,"libcudart.so.$major" -Wl,--gc-sections -lpthread -ldl -lm
mv "$library.new" "$library"
ln -sf "libcudart.so.$major" "$out/libcuda.so.1"
