"""Matrix products of the unmodified wheel on a device on which no kernel runs."""

import pathlib
import re

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"

# What every script below starts with: results are compared with a double-precision product on the CPU, by
# the bound (k + 8)·u(accumulator)·Σ|a||b| + 2·u(result)·|result|.
COMPARE = """
import sys
import torch
import torch.nn.functional as F

torch.manual_seed(int.from_bytes(__import__("os").urandom(4), "little"))
WIDE = {torch.complex64: torch.complex128}
UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8,
        torch.complex64: 2.0**-24, torch.complex128: 2.0**-53}

def wide(x):
    return x.to(WIDE.get(x.dtype, torch.complex128 if x.is_complex() else torch.float64))

def check(what, got, function, *operands):
    assert got.is_cuda, what
    got = got.cpu()
    exact = function(*map(wide, operands))
    size = function(*[wide(x).abs() for x in operands])
    sums = UNIT[torch.float64] if got.dtype in (torch.float64, torch.complex128) else UNIT[torch.float32]
    depth = operands[0].shape[-1] + 8
    allowed = (4 if got.is_complex() else 1) * depth * sums * size + 2 * UNIT[got.dtype] * exact.abs() + 1e-38
    assert got.shape == exact.shape, (what, got.shape, exact.shape)
    error = (wide(got) - exact).abs()
    assert bool((error <= allowed).all()), (what, float((error - allowed).max()))

def noise(*shape, dtype):
    return torch.randn(*shape, dtype=dtype)
"""

DTYPES = ["float32", "float64", "float16", "bfloat16", "complex64"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_and_bmm_agree_with_double_precision(on_simgpu, dtype):
    result = on_simgpu(
        COMPARE
        + f"""
dtype = torch.{dtype}
for m, k, n in [(3, 5, 7), (1, 64, 33), (40, 1, 2), (17, 129, 65), (64, 300, 1), (128, 128, 128)]:
    a, b = noise(m, k, dtype=dtype), noise(k, n, dtype=dtype)
    check(f"a @ b {{m}}x{{k}}x{{n}}", a.cuda() @ b.cuda(), torch.matmul, a, b)
    bt = noise(n, k, dtype=dtype)
    check("a @ b.T", a.cuda() @ bt.cuda().T, lambda x, y: x @ y.T, a, bt)
    at = noise(k, m, dtype=dtype)
    check("a.T @ b", at.cuda().T @ b.cuda(), lambda x, y: (x.T @ y), at, b) if k > 1 else None
    check("a @ v", (a.cuda() @ b.cuda()[:, :1]), lambda x, y: x @ y[:, :1], a, b)
for batch in (1, 4):
    a, b = noise(batch, 6, 10, dtype=dtype), noise(batch, 10, 8, dtype=dtype)
    check("bmm", torch.bmm(a.cuda(), b.cuda()), torch.bmm, a, b)
    bt = noise(batch, 8, 10, dtype=dtype)
    check("bmm transposed", torch.bmm(a.cuda(), bt.cuda().transpose(1, 2)), lambda x, y: x @ y.transpose(1, 2), a, bt)
    big = noise(batch, 6, 20, dtype=dtype)
    check("bmm of a slice", torch.bmm(big.cuda()[:, :, :10], b.cuda()), lambda x, y: x[:, :, :10] @ y, big, b)
print("ok")
""",
        GPU_COMPAT_PRODUCTS="library",
    )
    assert result.status == 0 and result.out.strip() == "ok", result


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_agrees_with_double_precision(on_simgpu, dtype):
    result = on_simgpu(
        COMPARE
        + f"""
dtype = torch.{dtype}
for shape, out in [((10, 100), 50), ((2, 9, 33), 17), ((1, 128), 64), ((3, 1, 8), 5)]:
    x, w, bias = noise(*shape, dtype=dtype), noise(out, shape[-1], dtype=dtype), noise(out, dtype=dtype)
    check(f"linear {{shape}}", F.linear(x.cuda(), w.cuda()), F.linear, x, w)
    check(f"linear with bias {{shape}}", F.linear(x.cuda(), w.cuda(), bias.cuda()), F.linear, x, w, bias)
print("ok")
""",
        GPU_COMPAT_PRODUCTS="library",
    )
    assert result.status == 0 and result.out.strip() == "ok", result


def test_the_seeds_linear_layer_gives_the_cpus_result(on_simgpu):
    for forced in ({}, {"FORCE_GPU_COMPAT_PATCHES": "1"}):
        result = on_simgpu(str(EXAMPLES / "linear.py"), **forced)
        assert result.status == 0 and "the linear layer works" in result.out, result
        assert result.err.count("\n") == 1 and result.err.startswith("gpucompat: active device=0"), result


def test_forced_off_gives_pytorchs_own_error(on_simgpu):
    script = """
    import torch
    x = torch.randn(10, 100).cuda()
    try:
        x @ x.T
    except RuntimeError as error:
        print(str(error).splitlines()[0])
    """
    without = on_simgpu(script, shim=False)
    off = on_simgpu(script, FORCE_GPU_COMPAT_PATCHES="0")
    assert without.status == 0 and "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED" in without.out, without
    assert (off.status, off.out, off.err) == (without.status, without.out, without.err)
    on = on_simgpu(script)
    assert on.status == 0 and on.out == "", on


def test_debug_explains_every_call_and_quiet_says_nothing(on_simgpu):
    script = "import torch; x = torch.randn(4, 5).cuda(); print((x @ x.T).shape)"
    debug = on_simgpu(script, GPU_COMPAT_DEBUG="1", GPU_COMPAT_PRODUCTS="library")
    # PyTorch 2.15 takes cublasGemmEx for this product, its predecessors cublasSgemm_v2.
    assert "verdict library=cublas" in debug.err and re.search(r"served fn=cublas\w+ reason=own_handle", debug.err), debug
    quiet = on_simgpu(script, GPU_COMPAT_QUIET="1")
    assert quiet.status == 0 and quiet.err == "", quiet


def test_the_faster_of_library_and_cpu_multiplies_and_the_log_says_which(on_simgpu):
    script = (
        COMPARE
        + """
for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.complex64):
    a, b, c = noise(128, 64, dtype=dtype), noise(64, 96, dtype=dtype), noise(128, 96, dtype=dtype)
    there = [t.cuda() for t in (a, b, c)]
    check("mm", there[0] @ there[1], torch.matmul, a, b)
    check("bmm", torch.bmm(there[0].expand(2, -1, -1), there[1].expand(2, -1, -1))[1], torch.matmul, a, b)
    got = torch.addmm(there[2], there[0], there[1], beta=2, alpha=0.5).cpu()
    exact = 2 * wide(c) + 0.5 * (wide(a) @ wide(b))
    assert ((wide(got) - exact).abs() <= 4e-2 * (1 + exact.abs()) if dtype.itemsize == 2 else
            (wide(got) - exact).abs() <= 1e-4 * (1 + exact.abs())).all(), dtype
    nan = torch.full_like(there[2], float("nan"))
    assert not torch.addmm(nan, there[0], there[1], beta=0).isnan().any()
print("ok")
"""
    )
    for products in ("auto", "library", "cpu"):
        result = on_simgpu(script, GPU_COMPAT_DEBUG="1", GPU_COMPAT_PRODUCTS=products)
        assert result.status == 0 and result.out.strip() == "ok", result
        chosen = [line for line in result.err.splitlines() if "choice=" in line]
        assert len(chosen) == (4 if products == "auto" else 0), chosen
        assert all("library=" in line and "cpu=" in line for line in chosen), chosen
        assert ("served fn=cublas" in result.err) == (products != "cpu"), result.err


def test_work_on_side_streams_and_threads_is_ordered(on_simgpu):
    result = on_simgpu(
        COMPARE
        + """
import threading
a = torch.randn(64, 64)
b = torch.randn(64, 64)
want = a @ b
def work():
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        x = a.pin_memory().cuda(non_blocking=True)
        y = b.pin_memory().cuda(non_blocking=True)
        z = x @ y
        w = z.to("cpu", non_blocking=True)
    stream.synchronize()
    assert torch.allclose(w, want, atol=1e-4)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("ok")
""",
        SIMGPU_DELAY_US="500",
    )
    assert result.status == 0 and result.out.strip() == "ok", result


def test_a_product_per_device_on_two_devices(on_simgpu):
    result = on_simgpu(
        COMPARE
        + """
for device in ("cuda:0", "cuda:1", "cuda:0"):
    a, b = noise(9, 20, dtype=torch.float32), noise(20, 4, dtype=torch.float32)
    got = a.to(device) @ b.to(device)
    assert str(got.device) == device
    check(device, got, torch.matmul, a, b)
print("ok")
""",
        SIMGPU_DEVICES="2",
    )
    assert result.status == 0 and result.out.strip() == "ok", result


def test_a_process_without_cuda_is_left_alone(on_simgpu):
    result = on_simgpu("print('hello')")
    assert (result.status, result.out, result.err) == (0, "hello\n", ""), result


def test_a_forked_child_fails_as_cuda_does_and_does_not_hang(on_simgpu):
    result = on_simgpu(
        """
        import os, torch
        x = torch.randn(4, 4).cuda()
        x @ x
        pid = os.fork()
        if pid == 0:
            try:
                x @ x
                os._exit(7)
            except RuntimeError:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        print((x @ x).shape)
        """
    )
    assert result.status == 0 and "torch.Size([4, 4])" in result.out, result


def test_who_multiplies_can_be_chosen(on_simgpu):
    script = (
        COMPARE
        + """
for dtype in (torch.float32, torch.float64, torch.complex64):
    a, b = noise(70, 90, dtype=dtype), noise(90, 50, dtype=dtype)
    check("a @ b", a.cuda() @ b.cuda(), torch.matmul, a, b)
    check("a.T", a.cuda().T @ a.cuda(), lambda x, y: x.T @ y, a, a)
print("ok")
"""
    )
    # PyTorch's wheel carries MKL, which is in the process and need not be loaded.
    for choice, kernel in (("auto", "packed"), ("matrixmultiply", "matrixmultiply"), ("host", "host_blas")):
        chosen = {"GPU_COMPAT_GEMM": choice, "GPU_COMPAT_PRODUCTS": "library", "GPU_COMPAT_DEBUG": "1"}
        result = on_simgpu(script, **chosen)
        assert result.status == 0 and result.out.splitlines()[-1] == "ok", result
        kernels = re.findall(r"served fn=cublas\w*gemm\w* .*type=f32.* kernel=(\w+)", result.err)
        assert kernels and set(kernels) == {kernel}, result.err
