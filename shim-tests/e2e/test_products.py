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
        kernels = re.findall(r"served fn=cublas\w*[gG]emm\w* .*type=f32.* kernel=(\w+)", result.err)
        assert kernels and set(kernels) == {kernel}, result.err


# cuBLASLt as a program calls it, with the descriptors of the wheel's own library: attributes have its numbers and sizes.
CUBLASLT = """
import ctypes as C
import torch
import torch.nn.functional as F

torch.manual_seed(int.from_bytes(__import__("os").urandom(4), "little"))
torch.ones(1, device="cuda")
ours, native = C.CDLL(None), C.CDLL(f"libcublasLt.so.{torch.version.cuda.split('.')[0]}")
R16F, R32F, R16BF, R8I, R32I, E4M3, E5M2 = 2, 0, 14, 3, 10, 28, 29

def check(status, what):
    assert status == 0, (what, status)

class Descriptor:
    def __init__(self, kind, *arguments):
        self.kind, self.pointer = kind, C.c_void_p()
        check(getattr(native, f"cublasLt{kind}Create")(C.byref(self.pointer), *arguments), kind)

    def set(self, attribute, value, size):
        data = C.create_string_buffer(int(value).to_bytes(size, "little", signed=True), size)
        check(getattr(native, f"cublasLt{self.kind}SetAttribute")(self.pointer, attribute, data, C.c_size_t(size)),
              (self.kind, attribute))
        return self

def layout(kind, rows, cols, ld, order=0):
    return Descriptor("MatrixLayout", kind, C.c_uint64(rows), C.c_uint64(cols), C.c_int64(ld)).set(1, order, 4)

handle = C.c_void_p()
check(ours.cublasLtCreate(C.byref(handle)), "handle")

def at(tensor):
    return C.c_void_p(tensor.data_ptr() if tensor is not None else 0)

def matmul(desc, a, la, b, lb, c, lc, d, ld, alpha=1.0):
    algo, count = C.create_string_buffer(96), C.c_int()
    preference = Descriptor("MatmulPreference")
    layouts = [x.pointer for x in (la, lb, lc, ld)]
    check(ours.cublasLtMatmulAlgoGetHeuristic(handle, desc.pointer, *layouts, preference.pointer, 1, algo, C.byref(count)),
          "heuristic")
    assert count.value == 1
    one, zero = C.c_float(alpha), C.c_float(0.0)
    check(ours.cublasLtMatmul(handle, desc.pointer, C.byref(one), at(a), la.pointer, at(b), lb.pointer, C.byref(zero), at(c),
                              lc.pointer, at(d), ld.pointer, algo, None, C.c_size_t(0), None), "matmul")
"""


def test_cublaslt_with_the_wheels_own_descriptors(on_simgpu):
    result = on_simgpu(
        CUBLASLT
        + """
# What torch._scaled_mm sets: A transposed, scales of A, B and D, fast accumulation, a bias.
m, n, k = 48, 32, 64
for a_type, b_type, out, out_cuda in [
    (torch.float8_e4m3fn, torch.float8_e4m3fn, torch.bfloat16, R16BF),
    (torch.float8_e5m2, torch.float8_e4m3fn, torch.float16, R16F),
    (torch.float8_e4m3fn, torch.float8_e4m3fn, torch.float8_e4m3fn, E4M3),
]:
    number = {torch.float8_e4m3fn: E4M3, torch.float8_e5m2: E5M2}
    a, b = torch.randn(m, k).to(a_type), torch.randn(n, k).to(b_type)
    narrow = out == torch.float8_e4m3fn
    bias = torch.randn(m).to(torch.bfloat16 if narrow else out)
    sa, sb, sd, amax = (torch.tensor(x).cuda() for x in (0.5, 1.5, 2.0 if narrow else 1.0, -1.0))
    on = {name: x.cuda() for name, x in dict(a=a, b=b, bias=bias).items()}
    d = torch.zeros(n, m, dtype=out).cuda()
    desc = Descriptor("MatmulDesc", 68, R32F).set(3, 1, 4).set(17, sa.data_ptr(), 8).set(18, sb.data_ptr(), 8)
    desc.set(25, 1, 1).set(7, 4, 4).set(8, on["bias"].data_ptr(), 8).set(26, R16BF if narrow else out_cuda, 4)
    if narrow:
        desc.set(20, sd.data_ptr(), 8).set(21, amax.data_ptr(), 8)
    c_kind = R16BF if narrow else out_cuda
    matmul(desc, on["a"], layout(number[a_type], k, m, k), on["b"], layout(number[b_type], k, n, k), None,
           layout(c_kind, m, n, m), d, layout(out_cuda, m, n, m))
    exact = (a.double() @ b.double().T) * 0.75 + bias.double()[:, None]
    got, want = d.cpu().double().T, exact * (2.0 if narrow else 1.0)
    step = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11, torch.float8_e4m3fn: 2.0**-4}[out]
    error = (got - want).abs() - (step * want.abs() + 1e-4 + (2.0**-10 if narrow else 0.0))
    assert float(error.max()) <= 0, (a_type, out, float(error.max()))
    if narrow:
        assert abs(float(amax) - float(exact.abs().max())) < 1e-4 * float(exact.abs().max()), float(amax)

# A forward GELU that keeps its input, and the backward pass from it.
m, n, k = 40, 24, 16
a, b, bias = torch.randn(k, m), torch.randn(n, k), torch.randn(m)
x, d, gradient = torch.zeros(n, m).cuda(), torch.zeros(n, m).cuda(), torch.zeros(m).cuda()
on = [t.cuda() for t in (a, b, bias)]
desc = Descriptor("MatmulDesc", 68, R32F).set(7, 164, 4).set(8, on[2].data_ptr(), 8)
desc.set(11, x.data_ptr(), 8).set(12, m, 8)
layouts = layout(R32F, m, k, m), layout(R32F, k, n, k), layout(R32F, m, n, m)
matmul(desc, on[0], layouts[0], on[1], layouts[1], d, layouts[2], d, layouts[2])
exact = (b.double() @ a.double() + bias.double()).requires_grad_()
activated = F.gelu(exact, approximate="tanh")
assert torch.allclose(x.cpu().double(), exact.detach(), atol=1e-5), "the kept input"
assert torch.allclose(d.cpu().double(), activated.detach(), atol=1e-5), "gelu"
desc.set(7, 208, 4).set(8, gradient.data_ptr(), 8)
matmul(desc, on[0], layouts[0], on[1], layouts[1], d, layouts[2], d, layouts[2])
activated.backward(b.double() @ a.double())
assert torch.allclose(d.cpu().double(), exact.grad, atol=1e-4), "the gradient of gelu"
assert torch.allclose(gradient.cpu().double(), exact.grad.sum(0), atol=1e-3), "the gradient of the bias"

# 8-bit integers in the tiles of tensor cores, there and back by transforms.
m, n, k = 37, 41, 70
a, b = torch.randint(-50, 50, (k, m), dtype=torch.int8), torch.randint(-50, 50, (k, n), dtype=torch.int8)
up = lambda x, step: -(-x // step) * step
tiles = dict(a=(32 * m, 2), b=(32 * up(n, 8), 3), c=(32 * m, 2))
a_tiles = torch.zeros(up(k, 32) // 32 * tiles["a"][0], dtype=torch.int8).cuda()
b_tiles = torch.zeros(up(k, 32) // 32 * tiles["b"][0], dtype=torch.int8).cuda()
c_tiles = torch.zeros(up(n, 32) // 32 * tiles["c"][0], dtype=torch.int32).cuda()
one, zero = C.c_float(1.0), C.c_float(0.0)
tile_layouts = [layout(R8I, m, k, *tiles["a"]), layout(R8I, n, k, *tiles["b"]), layout(R32I, m, n, *tiles["c"])]
transform = Descriptor("MatrixTransformDesc", R32F)

def retile(source, source_layout, target, target_layout):
    check(ours.cublasLtMatrixTransform(handle, transform.pointer, C.byref(one), at(source), source_layout.pointer,
                                       C.byref(zero), None, None, at(target), target_layout.pointer, None), "transform")

plain = a.cuda(), b.cuda(), torch.zeros(n, m, dtype=torch.int32).cuda()
retile(plain[0], layout(R8I, m, k, m), a_tiles, tile_layouts[0])
retile(plain[1], layout(R8I, n, k, n), b_tiles, tile_layouts[1])
desc = Descriptor("MatmulDesc", 72, R32I).set(4, 1, 4)
ones, zeros = C.c_int(1), C.c_int(0)
check(ours.cublasLtMatmul(handle, desc.pointer, C.byref(ones), at(a_tiles), tile_layouts[0].pointer, at(b_tiles),
                          tile_layouts[1].pointer, C.byref(zeros), at(c_tiles), tile_layouts[2].pointer, at(c_tiles),
                          tile_layouts[2].pointer, None, None, C.c_size_t(0), None), "tiles")
retile(c_tiles, tile_layouts[2], plain[2], layout(R32I, m, n, m))
assert torch.equal(plain[2].cpu().long(), b.long().T @ a.long()), "integers in tiles"
print("ok")
""",
        GPU_COMPAT_DEBUG="1",
    )
    assert result.status == 0 and result.out.strip() == "ok", result
    assert result.err.count("served fn=cublasLtMatmul ") == 6 and "fn=cublasLtMatrixTransform" in result.err, result
