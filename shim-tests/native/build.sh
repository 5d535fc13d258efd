#!/usr/bin/env bash
# Builds the stand-ins: OUTDIR/libcublas.so.12, OUTDIR/libcublasLt.so.12 and OUTDIR/libcudnn.so.9.
set -euo pipefail
out=${1:?usage: build.sh OUTDIR}
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
cargo build --release --manifest-path "$here/cublas/Cargo.toml"
cargo build --release --manifest-path "$here/cublaslt/Cargo.toml"
cargo build --release --manifest-path "$here/cudnn/Cargo.toml"
mkdir -p "$out"
cp -f "$target/release/libnative_cublas.so" "$out/libcublas.so.12"
cp -f "$target/release/libnative_cublaslt.so" "$out/libcublasLt.so.12"
cp -f "$target/release/libnative_cudnn.so" "$out/libcudnn.so.9"
