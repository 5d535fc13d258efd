#!/usr/bin/env bash
# Benchmarks, each a comparison in one run: scripts/bench.sh [overhead|gemm|operators]…
set -euo pipefail
. "$(dirname "$0")/lib.sh"

usage() {
    cat <<END
usage: scripts/bench.sh [benchmark …]

  overhead   an intercepted call of a healthy library beside the direct call, nanoseconds
  gemm       the engine's products beside PyTorch's CPU products, same threads: GFLOP/s and the ratio
  operators  PyTorch's operators and whole models on the simulated GPU beside device="cpu", in one process
END
}

bench_overhead() {
    build_shim
    build_simgpu
    build_standin
    (cd "$ROOT" && cargo build -q --release -p gpucompat-abi-tests)
    say "a healthy device (SIMGPU_MODEL=rtx4090), stand-in library, best of five"
    STANDIN_DIR=$STANDIN SIMGPU_MODEL=rtx4090 on_simgpu "$ROOT/target/release/scenario" overhead
}

bench_gemm() {
    local python threads
    threads=$(nproc)
    (cd "$ROOT" && cargo build -q --release -p gpucompat-engine --example gemm_gflops)
    python=$(venv "$TORCH_DEFAULT")
    say "engine and PyTorch $TORCH_DEFAULT on the CPU, $threads threads, row-major A, transposed B"
    ENGINE=$ROOT/target/release/examples/gemm_gflops "$python" - "$threads" <<'PY'
import math, os, subprocess, sys, time
import torch

torch.set_num_threads(int(sys.argv[1]))
ours = {}
for line in subprocess.run([os.environ["ENGINE"]], capture_output=True, text=True, check=True).stdout.splitlines():
    m, n, k, dtype, gflops = line.split()
    ours[int(m), int(n), int(k), dtype] = float(gflops)

def best(function):
    function()
    least, started = math.inf, time.perf_counter()
    while time.perf_counter() - started < 0.5:
        begin = time.perf_counter()
        function()
        least = min(least, time.perf_counter() - begin)
    return least

ratios = {}
print(f"{'m × n × k':>20} {'type':>9} {'engine':>8} {'PyTorch':>8} {'ratio':>6}   (GFLOP/s)")
for (m, n, k, dtype), engine in ours.items():
    x, w = torch.full((m, k), 0.5, dtype=getattr(torch, dtype)), torch.full((n, k), 0.5, dtype=getattr(torch, dtype))
    theirs = 2 * m * n * k / best(lambda: torch.nn.functional.linear(x, w)) / 1e9
    ratios.setdefault(dtype, []).append(engine / theirs)
    print(f"{f'{m} × {n} × {k}':>20} {dtype:>9} {engine:8.1f} {theirs:8.1f} {engine / theirs:6.2f}")
for dtype, values in ratios.items():
    print(f"geometric mean {dtype}: {math.exp(sum(map(math.log, values)) / len(values)):.2f}")
PY
}

bench_operators() {
    local python
    build_shim
    build_simgpu
    python=$(venv "$TORCH_DEFAULT")
    say "PyTorch $TORCH_DEFAULT, device (simulated, no bus) and CPU, $(nproc) threads"
    GPU_COMPAT_QUIET=1 on_simgpu "$python" -W ignore "$ROOT/scripts/bench-operators.py" --threads "$(nproc)"
}

benchmarks=("$@")
case ${1:-} in
-h | --help) usage; exit ;;
'') benchmarks=(overhead gemm operators) ;;
esac
need_build_tools
for benchmark in "${benchmarks[@]}"; do
    case $benchmark in
    overhead | gemm | operators) "bench_$benchmark" ;;
    *) usage >&2; die "unknown benchmark: $benchmark" ;;
    esac
done
