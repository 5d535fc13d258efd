"""Products of matrices: one call of cuBLAS, native or served by the library layer, or PyTorch's CPU kernel, whichever is
faster on this machine. Measured once a type, copies included, at the first product that is large enough to matter; the
log says what was chosen (`GPU_COMPAT_PRODUCTS` chooses by hand).
"""

# Multiplications below which the cost of a call decides, and that is least on PyTorch's CPU kernel.
_WORTH_MEASURING = 1 << 18

# The element types that are measured, each with PyTorch's number for it (`c10::ScalarType`).
_MEASURED_TYPES = {
    torch.float16: 5, torch.float32: 6, torch.float64: 7, torch.complex64: 9, torch.complex128: 10, torch.bfloat16: 15,
}

_wishes = {"products": "auto"}
_choices = {}
_choosing = threading.RLock()


def _tell_fast_path():
    """Which products the fast path takes: all that would go to the CPU kernel without a question."""
    wish = _wishes["products"]
    asked = [number for dtype, number in _MEASURED_TYPES.items() if wish != "cpu" and _choices.get(dtype, True)]
    _leave_products(0 if wish == "library" else _WORTH_MEASURING, (1 << 63) - 1 - sum(1 << number for number in asked))


def _seconds(function, device):
    """The least of five runs after a first one."""
    least = float("inf")
    for attempt in range(6):
        torch.cuda.current_stream(device).synchronize()
        started = time.perf_counter()
        function()
        torch.cuda.current_stream(device).synchronize()
        if attempt:
            least = min(least, time.perf_counter() - started)
    return least


def _measure(dtype, device, by_cpu):
    """Whether cuBLAS multiplies matrices of a type clearly faster than the CPU kernel: a native cuBLAS and the engine's
    half types do, by multiples; where both are about equal the CPU kernel's calls cost less."""
    m, n, k = 128, 256, 256
    a, b = (torch.full(sides, 0.5, dtype=dtype, device=device) for sides in ((m, k), (k, n)))
    out = torch.empty(m, n, dtype=dtype, device=device)
    try:
        library = _seconds(lambda: aten.mm.out(a, b, out=out), device)
    except RuntimeError:
        library = float("inf")
    cpu = _seconds(lambda: by_cpu(a, b), device)
    chosen = "library" if library < 0.75 * cpu else "cpu"
    name = str(dtype).removeprefix("torch.")
    _note(f"aten::mm choice={chosen} type={name} library={library * 1e3:.3f}ms cpu={cpu * 1e3:.3f}ms m={m} n={n} k={k}")
    return chosen == "library"


def _by_library(dtype, device, multiplications, by_cpu):
    if _wishes["products"] != "auto":
        return _wishes["products"] == "library"
    if multiplications < _WORTH_MEASURING:
        return False
    choice = _choices.get(dtype)
    if choice is None:
        if torch.cuda.is_current_stream_capturing():
            return True  # nothing can be measured now, and a native call can be captured
        with _choosing:
            if dtype not in _choices:
                _uncounted(1)  # the program has not asked for these products
                try:
                    _choices[dtype] = _measure(dtype, device, by_cpu)
                finally:
                    _uncounted(0)
                _tell_fast_path()
            choice = _choices[dtype]
    return choice


def _alike(a, b, dim):
    return (
        a.dim() == dim and b.dim() == dim and a.dtype == b.dtype and a.dtype in _MEASURED_TYPES
        and a.device == b.device and a.device.type == "cuda" and a.size(-1) == b.size(-2)
        and a.layout is torch.strided and b.layout is torch.strided and (dim == 2 or a.size(0) == b.size(0))
    )


def chosen_product(op, host):
    """`mm` or `bmm`: by the library's `out` form, which is a library call and nothing else, or by `host`."""
    dim = 2 if op is aten.mm.default else 3
    into = aten.mm.out if dim == 2 else aten.bmm.out
    by_cpu = host if dim == 2 else lambda a, b: host(a.unsqueeze(0), b.unsqueeze(0))

    def product(self, mat2):
        if _alike(self, mat2, dim) and _by_library(self.dtype, self.device, self.numel() * mat2.size(-1), by_cpu):
            out = torch.empty((*self.shape[:-1], mat2.size(-1)), dtype=self.dtype, device=self.device)
            return into(self, mat2, out=out)
        return host(self, mat2)

    return product


def chosen_added_product(op, host):
    """`addmm` or `baddbmm`: beta·self + alpha·(mat1·mat2), by the library's in-place form on a copy of self, which is one
    library call and rounds once, or by `host`."""
    dim = 2 if op is aten.addmm.default else 3
    onto = aten.addmm_.default if dim == 2 else aten.baddbmm_.default

    def by_cpu(a, b):
        zero = torch.zeros(1, dtype=a.dtype, device=a.device)
        return host(zero, a, b) if dim == 2 else host(zero, a.unsqueeze(0), b.unsqueeze(0))

    def product(self, mat1, mat2, *, beta=1, alpha=1):
        if _alike(mat1, mat2, dim) and self.dtype == mat1.dtype and self.device == mat1.device and _by_library(
            mat1.dtype, mat1.device, mat1.numel() * mat2.size(-1), by_cpu
        ):
            sides = (*mat1.shape[:-1], mat2.size(-1))
            out = torch.empty(sides, dtype=self.dtype, device=self.device)
            if beta != 0:
                out.copy_(self.expand(sides))
            return onto(out, mat1, mat2, beta=beta, alpha=alpha)
        return host(self, mat1, mat2, beta=beta, alpha=alpha)

    return product


def product(op, chosen):
    """A product of matrices: at once on the fast path where that is left to it, else by what `chosen` chooses."""
    arguments = [_Argument(argument, ()) for argument in op._schema.arguments]
    slow = recordable(op, chosen(op, replacement(op)))
    return accelerated(op, op._op, arguments, (-1,), slow, product=True)
