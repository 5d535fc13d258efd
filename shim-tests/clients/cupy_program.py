"""CuPy: products, its cuBLAS and cuDNN modules, linear algebra, and what needs its own kernels, which it compiles."""

import time

import cupy
import numpy as np
from cases import case
from cupy import cublas

rng = np.random.default_rng(time.time_ns())
TOLERANCES = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-12, "complex64": 1e-5, "complex128": 1e-12}


def some(*shape, dtype="float32"):
    values = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def wide(values):
    return values.astype("complex128" if np.iscomplexobj(values) else "float64")


def products():
    for dtype, tolerance in TOLERANCES.items():
        a, b, v = some(5, 7, dtype=dtype), some(7, 3, dtype=dtype), some(7, dtype=dtype)
        on_a, on_b, on_v = cupy.asarray(a), cupy.asarray(b), cupy.asarray(v)
        case(f"a @ b {dtype}", lambda: (on_a @ on_b).get(), wide(a) @ wide(b), tolerance)
        case(f"a.T @ a {dtype}", lambda: (on_a.T @ on_a).get(), wide(a).T @ wide(a), tolerance)
        case(f"a @ v {dtype}", lambda: (on_a @ on_v).get(), wide(a) @ wide(v), tolerance)
        many_a, many_b = some(4, 5, 7, dtype=dtype), some(4, 7, 3, dtype=dtype)
        on_many = cupy.asarray(many_a), cupy.asarray(many_b)
        case(f"batched a @ b {dtype}", lambda: cupy.matmul(*on_many).get(), wide(many_a) @ wide(many_b), tolerance)
    square = some(5, 5, dtype="float64")
    on_square = cupy.asarray(square)
    case("matrix_power", lambda: cupy.linalg.matrix_power(on_square, 3).get(), square @ square @ square, 1e-12)


def blas():
    a, x, y = some(5, 5), some(5), some(5)
    on_a, on_x, on_y = cupy.asarray(a), cupy.asarray(x), cupy.asarray(y)
    empty = lambda: cupy.empty(5, np.float32)
    case("cublas.asum", lambda: cublas.asum(on_x).get(), np.abs(wide(x)).sum(), 1e-6)
    case("cublas.nrm2", lambda: cublas.nrm2(on_x).get(), np.linalg.norm(wide(x)), 1e-6)
    case("cublas.dot", lambda: cublas.dot(on_x, on_y).get(), wide(x) @ wide(y), 1e-6)
    case("cublas.iamax", lambda: cublas.iamax(on_x).get(), np.abs(x).argmax() + 1, 0)

    def scaled():
        z = cupy.asarray(x)
        cublas.scal(2.0, z)
        return z.get()

    def added():
        z = cupy.asarray(y)
        cublas.axpy(2.0, on_x, z)
        return z.get()

    def multiplied():
        z = empty()
        cublas.gemv("N", 1.0, on_a, on_x, 0.0, z)
        return z.get()

    def updated():
        z = cupy.asarray(a)
        cublas.ger(1.0, on_x, on_y, z)
        return z.get()

    case("cublas.scal", scaled, 2 * wide(x), 1e-6)
    case("cublas.axpy", added, wide(y) + 2 * wide(x), 1e-6)
    case("cublas.gemv", multiplied, wide(a) @ wide(x), 1e-5)
    case("cublas.ger", updated, wide(a) + np.outer(wide(x), wide(y)), 1e-5)
    case("cublas.dgmm", lambda: cublas.dgmm("L", on_a, on_x).get(), wide(x)[:, None] * wide(a), 1e-5)


def own_kernels():
    a, x = some(5, 5, dtype="float64"), some(5, dtype="float64")
    on_a, on_x = cupy.asarray(a), cupy.asarray(x)
    case("zeros", lambda: cupy.zeros(3).get(), np.zeros(3), 0)
    case("x + 1", lambda: (on_x + 1).get(), x + 1, 1e-12)
    case("copy", lambda: on_x.copy().get(), x, 0)
    case("x @ x", lambda: (on_x @ on_x).get(), x @ x, 1e-12)
    case("linalg.inv", lambda: cupy.linalg.inv(on_a).get(), np.linalg.inv(a), 1e-9)
    case("linalg.solve", lambda: cupy.linalg.solve(on_a, on_x).get(), np.linalg.solve(a, x), 1e-9)
    case("linalg.norm", lambda: cupy.linalg.norm(on_x).get(), np.linalg.norm(x), 1e-12)
    case("fft", lambda: cupy.fft.fft(on_x).get(), np.fft.fft(x), 1e-12)
    case("random", lambda: cupy.random.rand(3).get() * 0, np.zeros(3), 0)


def networks():
    """CuPy's cuDNN module, which wants cuDNN 8."""
    from cupy import cudnn
    from cupy_backends.cuda.libs import cudnn as library

    x, w = some(2, 3, 8, 8), some(4, 3, 3, 3)
    on_x, on_w = cupy.asarray(x), cupy.asarray(w)
    relu = library.CUDNN_ACTIVATION_RELU
    case("cudnn.activation_forward", lambda: cudnn.activation_forward(on_x, relu).get(), np.maximum(x, 0), 0)
    exponents = np.exp(wide(x))
    accurate = library.CUDNN_SOFTMAX_ACCURATE
    soft = exponents / exponents.sum(1, keepdims=True)
    case("cudnn.softmax_forward", lambda: cudnn.softmax_forward(on_x, 1, accurate).get(), soft, 1e-6)

    def pooled():
        y = cupy.empty((2, 3, 4, 4), np.float32)
        cudnn.pooling_forward(on_x, y, (2, 2), (2, 2), (0, 0), library.CUDNN_POOLING_MAX)
        return y.get()

    case("cudnn.pooling_forward", pooled, x.reshape(2, 3, 4, 2, 4, 2).max((3, 5)), 0)

    def convolved():
        y = cupy.empty((2, 4, 6, 6), np.float32)
        options = {"auto_tune": False, "tensor_core": "auto"}
        cudnn.convolution_forward(on_x, on_w, None, y, (0, 0), (1, 1), (1, 1), 1, **options)
        return y.get()

    windows = np.lib.stride_tricks.sliding_window_view(wide(x), (3, 3), axis=(2, 3))
    case("cudnn.convolution_forward", convolved, np.einsum("nchwij,kcij->nkhw", windows, wide(w)), 1e-5)


products()
blas()
own_kernels()
if cupy.cuda.runtime.runtimeGetVersion() < 12000:
    networks()
