#!/usr/bin/env bash
# Benchmarks, each a comparison in one run: scripts/bench.sh [overhead|engine|gemm|conv|operators|models|vocoder]…
set -euo pipefail
. "$(dirname "$0")/lib.sh"

usage() {
    cat <<END
usage: scripts/bench.sh [benchmark …]

  overhead   an intercepted call of a healthy library beside the direct call, nanoseconds; a small served product
  engine     the engine alone, by criterion: products and convolutions, and what changed since the last run here;
             BENCH_ENGINE=gemm_f32 picks by name
  gemm       the engine's products beside PyTorch's CPU products, same threads: GFLOP/s and the ratio
  conv       the engine's convolutions beside PyTorch's (oneDNN) on the CPU, same threads, layer by layer;
             BENCH_THREADS sets how many, BENCH_CONV=resnet picks networks by name
  operators  PyTorch's operators and whole models on the simulated GPU beside device="cpu", in one process
  models     ten linear layers, GPT-2, ResNet-50, a vocoder and a UNet: device="cpu", gpucompat, and the Python patch that
             moves each layer's weights to the CPU, in processes of their own, in turns; BENCH_BEFORE=COMMIT adds that
             commit's libgpucompat.so, BENCH_PLOT=FILE.svg draws the ratios
  vocoder    5 s of audio by a HiFi-GAN generator: by cuDNN's entry points, by CPU kernels behind the operator layer, each
             beside device="cpu" in one process; results compared

With SIMGPU_PCIE_GBPS=16 (or 32, …) the simulated copies of operators, models and vocoder cost what such a bus costs.
END
}

bench_overhead() {
    build_shim
    build_simgpu
    build_standin
    (cd "$ROOT" && cargo build -q --release -p gpucompat-abi-tests)
    say "a healthy device (SIMGPU_MODEL=rtx4090), stand-in library, best of five"
    STANDIN_DIR=$STANDIN SIMGPU_MODEL=rtx4090 on_simgpu "$ROOT/target/release/scenario" overhead
    say "a served product, device simulated (bus ${SIMGPU_PCIE_GBPS:-as memory} GB/s), best of five"
    GPU_COMPAT_QUIET=1 on_simgpu "$ROOT/target/release/scenario" served_overhead
}

bench_engine() {
    cd "$ROOT"
    cargo bench -q -p gpucompat-engine --bench engine -- ${BENCH_ENGINE:+"$BENCH_ENGINE"}
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

bench_conv() {
    local python threads
    threads=${BENCH_THREADS:-$(nproc)}
    (cd "$ROOT" && cargo build -q --release -p gpucompat-engine --example conv_gflops)
    python=$(venv "$TORCH_DEFAULT")
    say "engine and PyTorch $TORCH_DEFAULT on the CPU, $threads threads, float32, best of both in turns"
    ENGINE=${CARGO_TARGET_DIR:-$ROOT/target}/release/examples/conv_gflops "$python" - "$threads" <<'PY'
import math, os, subprocess, sys, time
import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]))
torch.set_grad_enabled(False)
only = os.environ.get("BENCH_CONV", "")
engine = subprocess.Popen([os.environ["ENGINE"], sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
layers = [line.split() for line in iter(engine.stdout.readline, "\n")]

def ours(number):
    engine.stdin.write(f"{number}\n")
    engine.stdin.flush()
    return float(engine.stdout.readline())

def best(function):
    function()
    least, started = math.inf, time.perf_counter()
    while time.perf_counter() - started < 0.25:
        begin = time.perf_counter()
        function()
        least = min(least, time.perf_counter() - begin)
    return least

def theirs(direction, layout, n, c, k, groups, x, w, stride, pad, dilation):
    axes = len(x)
    conv, transposed = ((F.conv1d, F.conv_transpose1d) if axes == 1 else (F.conv2d, F.conv_transpose2d))
    order = torch.channels_last if layout == "Nhwc" else torch.contiguous_format
    x_, w_ = torch.randn(n, c, *x).to(memory_format=order), torch.randn(k, c // groups, *w).to(memory_format=order)
    y_ = conv(x_, w_, None, stride, pad, dilation, groups)
    flops = 2 * y_.numel() * c // groups * math.prod(w)
    back = lambda mask: torch.ops.aten.convolution_backward(
        y_, x_, w_, None, [stride] * axes, [pad] * axes, [dilation] * axes, False, [0] * axes, groups, mask)
    rest = [x[a] - ((y_.shape[2 + a] - 1) * stride - 2 * pad + dilation * (w[a] - 1) + 1) for a in range(axes)]
    return flops, {
        "Forward": lambda: conv(x_, w_, None, stride, pad, dilation, groups),
        "Data": lambda: transposed(y_, w_, None, stride, pad, rest, groups, dilation),
        "Filter": lambda: back([False, True, False]),
    }[direction]

ratios = {}
print(f"{'network':>21} {'':7} {'n':>2} {'c':>4} → {'k':<4} {'x':>7} {'w':>5} {'s':>2} {'d':>2} {'g':>3} {'engine':>8} {'PyTorch':>8} {'ratio':>6}   (GFLOP/s)")
for number, (network, direction, layout, *numbers) in enumerate(layers):
    if only not in network:
        continue
    n, c, k, groups, x, w, stride, pad, dilation = numbers
    sides = lambda text: [int(side) for side in text.split("x")]
    flops, run = theirs(direction, layout, int(n), int(c), int(k), int(groups), sides(x), sides(w), int(stride), int(pad), int(dilation))
    seconds = [min(pair) for pair in zip(*((ours(number), best(run)) for _ in range(2)))]
    mine, other = (flops / second / 1e9 for second in seconds)
    ratios.setdefault(network, []).append(mine / other)
    print(f"{network:>21} {direction:7} {n:>2} {c:>4} → {k:<4} {x:>7} {w:>5} {stride:>2} {dilation:>2} {groups:>3} {mine:8.1f} {other:8.1f} {mine / other:6.2f}", flush=True)
mean = lambda values: math.exp(sum(map(math.log, values)) / len(values))
for network, values in ratios.items():
    print(f"geometric mean {network}: {mean(values):.2f}")
print(f"geometric mean of all layers: {mean([value for values in ratios.values() for value in values]):.2f}")
PY
}

bench_operators() {
    local python
    build_shim
    build_simgpu
    python=$(venv "$TORCH_DEFAULT")
    say "PyTorch $TORCH_DEFAULT, device (simulated, bus ${SIMGPU_PCIE_GBPS:-as memory} GB/s) and CPU, $(nproc) threads"
    GPU_COMPAT_QUIET=1 on_simgpu "$python" -W ignore "$ROOT/scripts/bench-operators.py" --threads "$(nproc)"
}

bench_models() {
    local python extra=()
    build_shim
    build_simgpu
    python=$(models_venv)
    if [ -n "${BENCH_BEFORE:-}" ]; then
        say "building libgpucompat.so of $BENCH_BEFORE"
        git -C "$ROOT" worktree add --force --detach "$ROOT/target/before" "$BENCH_BEFORE" >&2
        (cd "$ROOT/target/before" && CARGO_TARGET_DIR=$ROOT/target/before-target cargo build -q --release -p gpucompat)
        git -C "$ROOT" worktree remove --force "$ROOT/target/before"
        extra+=(--before "$ROOT/target/before-target/release/libgpucompat.so")
    fi
    if [ -n "${BENCH_PLOT:-}" ]; then
        "$python" -c 'import matplotlib' 2>/dev/null || "$python" -m pip install --progress-bar off matplotlib >&2
        extra+=(--plot "$BENCH_PLOT")
    fi
    say "PyTorch $TORCH_DEFAULT, device simulated (bus ${SIMGPU_PCIE_GBPS:-as memory} GB/s), $(nproc) threads"
    "$python" "$ROOT/scripts/bench-models.py" --shim "$SHIM" --simgpu "$SIMGPU" --threads "$(nproc)" "${extra[@]}"
}

bench_vocoder() {
    local python provider
    build_shim
    build_simgpu
    python=$(venv "$TORCH_DEFAULT")
    for provider in library cpu; do
        say "HiFi-GAN V1, GPU_COMPAT_CUDNN=$provider, device simulated, $(nproc) threads"
        GPU_COMPAT_QUIET=1 GPU_COMPAT_CUDNN=$provider on_simgpu "$python" -W ignore "$ROOT/scripts/bench-vocoder.py" \
            --threads "$(nproc)"
    done
}

benchmarks=("$@")
case ${1:-} in
-h | --help) usage; exit ;;
'') benchmarks=(overhead engine gemm conv operators models vocoder) ;;
esac
need_build_tools
for benchmark in "${benchmarks[@]}"; do
    case $benchmark in
    overhead | engine | gemm | conv | operators | models | vocoder) "bench_$benchmark" ;;
    *) usage >&2; die "unknown benchmark: $benchmark" ;;
    esac
done
