"""cuDNN's legacy API through ctypes, on tensors in device memory, for scripts that run on the simulated GPU.

Functions are looked up in the process first, where libgpucompat.so stands before everything else, then in the
libcudnn that PyTorch has loaded: the functions that gpucompat forwards (descriptors) are not its own.
Everything is compared with double precision on the CPU. `done()` ends a script and tells which functions it called.
"""

import ctypes
import os
import random
from collections import Counter
from ctypes import byref, c_double, c_float, c_int, c_size_t, c_uint64, c_void_p  # noqa: F401 (scripts use them)

import torch

SEED = int(os.environ.get("SEED") or int.from_bytes(os.urandom(4), "little"))
random.seed(SEED)
torch.set_num_threads(1)  # the tensors are small and the machine may be busy
torch.manual_seed(SEED)

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
DTYPES = (F32, F64, F16, BF16)
CODES = {F32: 0, F64: 1, F16: 2, torch.int8: 3, torch.int32: 4, torch.uint8: 6, BF16: 9, torch.int64: 10}
# Unit roundoff of a type, and of what cuDNN accumulates in for tensors of it.
UNIT = {F32: 2.0**-24, F64: 2.0**-53, F16: 2.0**-11, BF16: 2.0**-8}
SUMS = {F32: 2.0**-24, F64: 2.0**-53, F16: 2.0**-24, BF16: 2.0**-24}
LAYOUTS = ("nchw", "nhwc", "gaps", "nhwc gaps")
NAN = float("nan")


class Info(ctypes.Structure):
    """`Dl_info`."""

    _fields_ = [("file", ctypes.c_char_p), ("base", c_void_p), ("name", ctypes.c_char_p), ("address", c_void_p)]


PROCESS = ctypes.CDLL(None)


def mapped(*names):
    """The path of the library in this process that has one of these names."""
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "/" in line}
    return next(path for path in paths if os.path.basename(path) in names)


LIBRARY = ctypes.CDLL(mapped("libcudnn.so.9", "libcudnn.so.8"))
LIBRARY.cudnnGetVersion.restype = c_size_t
VERSION = LIBRARY.cudnnGetVersion() // (10000 if LIBRARY.cudnnGetVersion() >= 90000 else 1000)
SUCCESS, NOT_INITIALIZED, BAD_PARAM, NOT_SUPPORTED = (0, 1001, 2000, 3000) if VERSION >= 9 else (0, 1, 3, 9)


def home(function):
    """The file that a function is in."""
    info = Info()
    assert PROCESS.dladdr(ctypes.cast(function, c_void_p), byref(info))
    return os.path.basename(info.file.decode())


FUNCTIONS, CALLED, OURS = {}, Counter(), set()


def function(name):
    """A function of cuDNN: gpucompat's where it has one, else the library's."""
    if name not in FUNCTIONS:
        found = getattr(PROCESS, name, None)
        if found is not None and home(found) == "libgpucompat.so":
            OURS.add(name)
        else:
            found = getattr(LIBRARY, name)
        found.restype = c_int
        FUNCTIONS[name] = found
    return FUNCTIONS[name]


def argument(value):
    """A C argument: an address (None, a handle, a descriptor), an int or a double; sizes are c_size_t already."""
    if value is None:
        return c_void_p()
    if isinstance(value, Descriptor):
        return value.handle
    if isinstance(value, bool) or isinstance(value, int):
        return c_int(value)
    if isinstance(value, float):
        return c_double(value)
    return value


def status(name, *arguments):
    """Calls a function and returns its status."""
    got = function(name)(*map(argument, arguments))
    if got == SUCCESS:
        CALLED[name] += 1
    return got


def call(name, *arguments):
    """Calls a function, which must succeed."""
    got = status(name, *arguments)
    assert got == SUCCESS, f"{name}: status {got}, seed {SEED}"


def ints(values):
    """An array of C integers."""
    values = [int(value) for value in values]
    return (c_int * max(1, len(values)))(*values)


def answer(name, *arguments, kind=c_size_t):
    """Calls a function whose last argument is written; returns what was written."""
    out = kind()
    call(name, *arguments, byref(out))
    return out.value


class Descriptor:
    """An object of the library's, from its Create function; `set` is the rest of a Set function's name."""

    def __init__(self, kind, set=None, *arguments):
        self.kind, self.handle = kind, c_void_p()
        call(f"cudnnCreate{kind}Descriptor", byref(self.handle))
        if set is not None:
            call(set, self, *arguments)

    def destroy(self):
        call(f"cudnnDestroy{self.kind}Descriptor", self)


def create():
    """A handle."""
    handle = c_void_p()
    call("cudnnCreate", byref(handle))
    return handle


def scale(value, dtype):
    """A scaling parameter in host memory: a double for double tensors, else a float."""
    return byref(c_double(value) if dtype == F64 else c_float(value))


def noise(*dims):
    return torch.randn(*dims, dtype=F64)


def rounded(values, dtype):
    """What a tensor of this type holds of these numbers."""
    return values.to(dtype).double()


def strides_of(dims, layout):
    """Strides, offset and number of elements of the memory that a tensor lies in."""
    order = list(range(len(dims)))
    if layout.startswith("nhwc") and len(dims) > 2:
        order = [0, *range(2, len(dims)), 1]
    strides, step = [0] * len(dims), 1
    gaps = layout.endswith("gaps")
    if gaps:
        step = 2
    for axis in reversed(order):
        strides[axis] = step
        step *= max(1, dims[axis]) + (1 if gaps else 0)
    return strides, 3 if gaps else 0, step + (8 if gaps else 0)


class Tensor:
    """Numbers in device memory under a tensor descriptor; as arguments (`*tensor`) descriptor and address.

    What lies between the elements is NaN where a tensor is read, and must stay as it is where one is written.
    """

    def __init__(self, values, dtype=F32, layout="nchw"):
        self.dims, self.dtype, self.layout = tuple(values.shape), dtype, layout
        self.strides, self.offset, room = strides_of(self.dims, layout)
        self.before = torch.full((room,), NAN if dtype.is_floating_point else 77).to(dtype)
        self.view(self.before).copy_(values.to(dtype))
        self.device = self.before.cuda()
        self.set = rounded(values, dtype)
        self.descriptor = self.describe()

    def describe(self):
        kind, sizes = CODES[self.dtype], (len(self.dims), ints(self.dims))
        return Descriptor("Tensor", "cudnnSetTensorNdDescriptor", kind, *sizes, ints(self.strides))

    def view(self, memory):
        return memory.as_strided(self.dims, self.strides, self.offset)

    @property
    def data(self):
        return c_void_p(self.device.data_ptr() + self.offset * self.device.element_size())

    def __iter__(self):
        return iter((self.descriptor, self.data))

    def read(self):
        """The numbers now, in double precision; memory between them must be as it was."""
        now, then = self.device.cpu(), self.before.clone()
        values = self.view(now).double().clone()
        self.view(now).zero_(), self.view(then).zero_()
        bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[now.element_size()]
        assert torch.equal(now.view(bits), then.view(bits)), f"memory between elements was written, seed {SEED}"
        return values

    def unchanged(self):
        return torch.equal(self.device.cpu().view(torch.uint8), self.before.view(torch.uint8))


def describe_filter(tensor):
    sizes = (len(tensor.dims), ints(tensor.dims))
    order = 0 if tensor.layout == "nchw" else 1
    return Descriptor("Filter", "cudnnSetFilterNdDescriptor", CODES[tensor.dtype], order, *sizes)


class Filter(Tensor):
    """Numbers under a filter descriptor."""

    describe = describe_filter


class Output(Tensor):
    """An output with the scaling parameters to compute it with: poisoned and replaced, or scaled and added to."""

    def __init__(self, dims, dtype, layout, alpha, beta):
        super().__init__(noise(*dims) if beta else torch.full(tuple(dims), NAN, dtype=F64), dtype, layout)
        self.factors = (alpha, beta)
        self.alpha, self.beta = scale(alpha, dtype), scale(beta, dtype)

    def blend(self, result):
        """What it should hold after `result` was computed."""
        alpha, beta = self.factors
        return alpha * result + (beta * self.set if beta else 0)

    def check(self, what, result, size=None, slack=64):
        near(what, self.read(), self.blend(result), self.dtype, size, slack)


BLENDS = ((1.0, 0.0), (1.5, 0.5))


def outputs(dims, dtype, layout, kind=Output):
    """The two ways to write an output."""
    for alpha, beta in BLENDS:
        yield kind(dims, dtype, layout, alpha, beta)


class FilterOutput(Output):
    """As `Output`, a filter."""

    describe = describe_filter


def near(what, got, want, dtype, size=None, slack=64):
    """|got − want| ≤ slack·u(sums)·size + 2·u(type)·|want|; NaN and ∞ where and as wanted.

    `size` is a magnitude of what was summed up; without one the largest number wanted, at least 1."""
    want = want.expand(got.shape) if want.dim() == got.dim() else want.reshape(got.shape)
    where = f"{what} {str(dtype)[6:]} seed {SEED}"
    assert torch.equal(got.isnan(), want.isnan()), f"{where}: NaN {got} instead of {want}"
    infinite = want.isinf()
    assert torch.equal(got[infinite], want[infinite]), f"{where}: ∞ {got} instead of {want}"
    finite = want.isfinite()
    got, want = got[finite], want[finite]
    if want.numel() == 0:
        return
    if size is None:
        size = max(1.0, float(want.abs().max()))
    elif torch.is_tensor(size):
        size = size.expand(finite.shape)[finite]
    smallest = {F16: 2.0**-24, BF16: 2.0**-133}.get(dtype, 2.0**-149)
    allowed = slack * SUMS[dtype] * size + 2 * UNIT[dtype] * want.abs() + smallest
    error = (got - want).abs() - allowed
    assert bool((error <= 0).all()), f"{where}: off by {float((got - want).abs().max())}, {float(error.max())} too much"


def same(what, got, want):
    assert got == want, f"{what}: {got} instead of {want}, seed {SEED}"


def device_ints(values):
    """Integers in device memory; keep the tensor alive."""
    return torch.tensor([int(value) for value in values] or [0], dtype=torch.int32).cuda()


def pointer(tensor):
    return c_void_p(tensor.data_ptr()) if tensor is not None else c_void_p()


def done():
    """Ends a script: what it called."""
    print("seed", SEED)
    print("called", *(f"{name}={count}" for name, count in sorted(CALLED.items())))
    print("ours", *sorted(OURS))
    print("ok")
