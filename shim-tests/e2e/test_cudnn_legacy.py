"""cuDNN's legacy API on a device on which no kernel runs: each function that gpucompat serves, called as a C program
calls it, against PyTorch on the CPU in double precision.

Inputs are fresh each time; the seed stands in a failure's message, and `SEED=…` in the environment repeats it.
"""

import inspect
import pathlib
import re
import sys
from collections import Counter

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]

ROWS = [line.split() for line in (ROOT / "src/surface/cudnn.table").read_text().splitlines()]
TREATMENT = {row[0]: row[1] for row in ROWS if row and not row[0].startswith("#")}
LEGACY = {name for name, how in TREATMENT.items() if how == "served" and not name.startswith("cudnnBackend")}

# Functions that keep or tell state: the debug log has no line for them.
STATE = {
    "cudnnCreate",
    "cudnnDestroy",
    "cudnnSetStream",
    "cudnnGetStream",
    "cudnnQueryRuntimeError",
    "cudnnDropoutGetStatesSize",
    "cudnnSetDropoutDescriptor",
    "cudnnRestoreDropoutDescriptor",
    "cudnnGetDropoutDescriptor",
    "cudnnDestroyDropoutDescriptor",
    "cudnnSetSpatialTransformerNdDescriptor",
    "cudnnDestroySpatialTransformerDescriptor",
    "cudnnGetRNNWeightSpaceSize",
    "cudnnGetRNNWeightParams",
    "cudnnBuildRNNDynamic",
}

COVERED = set()


def passes(on_simgpu, script, **environment):
    """Runs a script that ends with `done()`; each call of a function we serve must have been served by us."""
    source = "from cudnn import *\nimport torch.nn.functional as F\n\nh = create()\n" + inspect.cleandoc(script)
    result = on_simgpu(source + "\ndone()\n", PYTHONPATH=str(HERE), GPU_COMPAT_DEBUG="1", **environment)
    lines = result.out.splitlines()
    assert result.status == 0 and lines[-1:] == ["ok"], f"{result.out}\n{result.err[-3000:]}"
    called = dict(word.split("=") for line in lines if line.startswith("called ") for word in line.split()[1:])
    ours = {word for line in lines if line.startswith("ours ") for word in line.split()[1:]}
    served = Counter(re.findall(r"served fn=(cudnn\w+) reason=own_handle ", result.err))
    for name, count in called.items():
        assert (name in ours) == (TREATMENT[name] != "forwarded"), f"{name} is in the wrong library"
        if name in LEGACY - STATE:
            assert served[name] == int(count), f"{name}: {count} calls, {served[name]} served"
    COVERED.update(called)
    return result


def test_elementwise(on_simgpu):
    passes(
        on_simgpu,
        """
        def any_layout():
            return random.choice(LAYOUTS)

        for dtype in DTYPES:
            for layout in LAYOUTS:
                dims = random.choice(((2, 3, 4, 5), (3, 1, 2, 7), (2, 3, 2, 3, 4), (4, 6, 1, 1)))
                for one in range(1 << len(dims)):
                    if len(dims) == 5 and one % 3:
                        continue
                    small = [1 if one >> axis & 1 else size for axis, size in enumerate(dims)]
                    c = Output(dims, dtype, layout, *BLENDS[one % 2])
                    a = Tensor(noise(*small), dtype, any_layout())
                    call("cudnnAddTensor", h, c.alpha, *a, c.beta, *c)
                    c.check(f"add {small} {layout}", a.set.expand(dims))
                for c in outputs(dims, dtype, layout):
                    a = Tensor(noise(*dims), dtype, any_layout())
                    call("cudnnAddTensor", h, c.alpha, *a, c.beta, *c)
                    c.check(f"add {layout}", a.set)
                y = Tensor(noise(*dims), dtype, layout)
                call("cudnnScaleTensor", h, *y, scale(-2.5, dtype))
                near("scale", y.read(), -2.5 * y.set, dtype, slack=2)
                value = torch.tensor([3.3], dtype=F64).to(dtype)
                call("cudnnSetTensor", h, *y, pointer(value))
                assert (y.read() == float(value)).all(), ("set", dtype)
                for other in LAYOUTS:
                    for y in outputs(dims, dtype, other):
                        x = noise(*dims)
                        x.view(-1)[:4] = torch.tensor([float("inf"), -float("inf"), NAN, -0.0])
                        x = Tensor(x, dtype, layout)
                        call("cudnnTransformTensor", h, y.alpha, *x, y.beta, *y)
                        y.check(f"transform {layout} to {other}", x.set, slack=2)

        y = Tensor(noise(2, 3, 4, 5), torch.int32)
        call("cudnnSetTensor", h, *y, byref(c_int(2**30 + 1)))
        assert (y.read() == 2**30 + 1).all()

        OPS = {
            0: lambda a, b: a + b, 1: lambda a, b: a * b, 2: torch.minimum, 3: torch.maximum,
            4: lambda a, b: a.sqrt(), 5: lambda a, b: 1 - a,
        }
        for dtype in DTYPES:
            for op, exact in OPS.items():
                desc = Descriptor("OpTensor", "cudnnSetOpTensorDescriptor", op, CODES[dtype if dtype == F64 else F32], 1)
                for layout in LAYOUTS:
                    for c in outputs((2, 3, 4, 5), dtype, layout):
                        a = Tensor(noise(2, 3, 4, 5), dtype, any_layout())
                        if op == 4:
                            a = Tensor(noise(2, 3, 4, 5).abs(), dtype, any_layout())
                        b = Tensor(noise(*random.choice(((2, 3, 4, 5), (1, 3, 1, 1), (1, 1, 1, 1)))), dtype, any_layout())
                        call("cudnnOpTensor", h, desc, scale(0.75, dtype), *a, scale(-1.25, dtype), *b, c.beta, *c)
                        alpha, beta = c.factors
                        want = exact(0.75 * a.set, -1.25 * b.set) + (beta * c.set if beta else 0)
                        near(f"op {op} {layout}", c.read(), want, dtype)

        # Half tensors into a single one, and NaN in comparisons.
        a, b, c = Tensor(noise(2, 3, 2, 2), F16), Tensor(noise(1, 3, 1, 1), F16), Output((2, 3, 2, 2), F32, "nchw", 1.0, 0.0)
        desc = Descriptor("OpTensor", "cudnnSetOpTensorDescriptor", 1, CODES[F32], 1)
        call("cudnnOpTensor", h, desc, c.alpha, *a, c.alpha, *b, c.beta, *c)
        c.check("half into single", a.set * b.set)
        x = torch.tensor([1.0, NAN, 3.0, NAN], dtype=F64).view(1, 1, 1, 4)
        y = torch.tensor([2.0, 2.0, NAN, NAN], dtype=F64).view(1, 1, 1, 4)
        for op, kept, ignored in ((2, torch.minimum, torch.fmin), (3, torch.maximum, torch.fmax)):
            for nan, exact in ((1, kept), (0, ignored)):
                desc = Descriptor("OpTensor", "cudnnSetOpTensorDescriptor", op, CODES[F32], nan)
                a, b, c = Tensor(x), Tensor(y), Output((1, 1, 1, 4), F32, "nchw", 1.0, 0.0)
                call("cudnnOpTensor", h, desc, c.alpha, *a, c.alpha, *b, c.beta, *c)
                c.check(f"op {op}, NaN rule {nan}", exact(x, y))
        """,
    )


def test_reductions(on_simgpu):
    passes(
        on_simgpu,
        """
        ADD, MUL, MIN, MAX, AMAX, AVG, NORM1, NORM2, MUL_NO_ZEROS = range(9)

        def every(a, axes, function):
            for axis in axes:
                a = function(a, axis)
            return a

        def product(a, axis):
            return a.prod(axis, keepdim=True)

        EXACT = {
            ADD: lambda a, axes: a.sum(axes, keepdim=True),
            MUL: lambda a, axes: every(a, axes, product),
            MIN: lambda a, axes: a.amin(axes, keepdim=True),
            MAX: lambda a, axes: a.amax(axes, keepdim=True),
            AMAX: lambda a, axes: a.abs().amax(axes, keepdim=True),
            AVG: lambda a, axes: a.mean(axes, keepdim=True),
            NORM1: lambda a, axes: a.abs().sum(axes, keepdim=True),
            NORM2: lambda a, axes: a.square().sum(axes, keepdim=True).sqrt(),
            MUL_NO_ZEROS: lambda a, axes: every(torch.where(a == 0, 1.0, a), axes, product),
        }

        def describe(op, dtype, nan=1, indices=0):
            compute = CODES[F64 if dtype == F64 else F32]
            return Descriptor("ReduceTensor", "cudnnSetReduceTensorDescriptor", op, compute, nan, indices, 0)

        def reduce(desc, a, c, indices=None):
            work = answer("cudnnGetReductionWorkspaceSize", h, desc, a.descriptor, c.descriptor)
            same("workspace", work, 0)
            index_bytes = answer("cudnnGetReductionIndicesSize", h, desc, a.descriptor, c.descriptor)
            same("index bytes", index_bytes, 0 if indices is None else 4 * indices.numel())
            call("cudnnReduceTensor", h, desc, pointer(indices), c_size_t(index_bytes), None, c_size_t(0),
                 c.alpha, *a, c.beta, *c)

        def winner(a, axes, op):
            kept = [axis for axis in range(a.dim()) if axis not in axes]
            lines = a.permute(*kept, *axes).reshape(*[a.shape[axis] for axis in kept], -1)
            lines = lines.abs() if op == AMAX else lines
            return (lines.argmin(-1) if op == MIN else lines.argmax(-1)).flatten()

        dims = (2, 3, 4, 5)
        for dtype in DTYPES:
            for op in range(9):
                for axes in ((), (0,), (1,), (3,), (2, 3), (0, 2, 3), (1, 2), (0, 1, 2, 3)):
                    layout = random.choice(LAYOUTS)
                    a = noise(*dims)
                    if op in (MUL, MUL_NO_ZEROS):
                        a = a.sign() * (1 + a.abs() / 8)
                    if op == MUL_NO_ZEROS:
                        a[torch.rand(dims) < 0.3] = 0
                    a = Tensor(a, dtype, layout)
                    for c in outputs([1 if i in axes else n for i, n in enumerate(dims)], dtype, random.choice(LAYOUTS)):
                        reduce(describe(op, dtype), a, c)
                        # Sums of the magnitudes bound the error.
                        size = 1 + EXACT[ADD](a.set.abs(), axes) if axes else 1 + a.set.abs()
                        if op in (MUL, MUL_NO_ZEROS):
                            size = 1 + EXACT[op](a.set, axes).abs() if axes else size
                        exact = EXACT[op](a.set, axes) if axes else a.set.abs() if op in (AMAX, NORM1, NORM2) else a.set
                        if op == MUL_NO_ZEROS and not axes:
                            continue  # the empty product of a zero: not documented
                        c.check(f"reduction {op} over {axes} {layout}", exact, size)

        # Indices of distinct numbers, flattened over the axes that are reduced.
        for dtype in DTYPES:
            for op in (MIN, MAX, AMAX):
                for axes in ((1,), (2, 3), (1, 2, 3), (0, 2, 3), (0, 1, 2, 3)):
                    a = (torch.randperm(120).double() + 1).view(dims)
                    a = Tensor(a * (1 - 2 * torch.randint(2, dims).double()), dtype, random.choice(LAYOUTS))
                    for c in outputs([1 if i in axes else n for i, n in enumerate(dims)], dtype, "nchw"):
                        indices = torch.full((c.set.numel(),), -7, dtype=torch.int32).cuda()
                        reduce(describe(op, dtype, indices=1), a, c, indices)
                        c.check(f"reduction {op} over {axes} with indices", EXACT[op](a.set, axes))
                        assert torch.equal(indices.cpu().long(), winner(a.set, axes, op)), (op, axes, indices, SEED)

        # NaN: minimum and maximum ignore it if the descriptor says so, sums never do.
        a = noise(2, 3, 4, 5)
        a[0, 1, 2, 3] = NAN
        a[1, 2, 1] = NAN
        for op in (ADD, MIN, MAX, AVG, NORM2):
            for nan in (0, 1):
                x = Tensor(a)
                c = Output((2, 3, 4, 1), F32, "nchw", 1.0, 0.0)
                reduce(describe(op, F32, nan), x, c)
                want = EXACT[op](x.set, (3,))
                if op in (MIN, MAX) and nan == 0:
                    worst = float("inf") if op == MIN else -float("inf")
                    want = EXACT[op](torch.where(x.set.isnan(), worst, x.set), (3,))
                    all_nan = x.set.isnan().all(3, keepdim=True)
                    got = c.read()
                    near(f"NaN ignored {op}", got[~all_nan], want[~all_nan], F32)
                else:
                    c.check(f"NaN {op}", want)
        """,
    )


def test_activations(on_simgpu):
    passes(
        on_simgpu,
        """
        SIGMOID, RELU, TANH, CLIPPED, ELU, IDENTITY, SWISH = range(7)
        COEF, BETA = 1.25, 0.75
        FORWARD = {
            SIGMOID: torch.sigmoid, RELU: torch.relu, TANH: torch.tanh, CLIPPED: lambda x: x.clamp(0, COEF),
            ELU: lambda x: F.elu(x, COEF), IDENTITY: lambda x: x, SWISH: lambda x: x * torch.sigmoid(BETA * x),
        }
        # The factor of dy, from y and x.
        FACTOR = {
            SIGMOID: lambda y, x: y * (1 - y), RELU: lambda y, x: (y > 0).double(), TANH: lambda y, x: 1 - y * y,
            CLIPPED: lambda y, x: ((y > 0) & (y < COEF)).double(), ELU: lambda y, x: torch.where(y > 0, 1.0, y + COEF),
            IDENTITY: lambda y, x: torch.ones_like(y),
            SWISH: lambda y, x: (s := torch.sigmoid(BETA * x)) * (1 + BETA * x * (1 - s)),
        }
        dims = (2, 3, 5, 7)

        def activation(mode, nan=1):
            desc = Descriptor("Activation", "cudnnSetActivationDescriptor", mode, nan, COEF)
            if mode == SWISH:
                call("cudnnSetActivationDescriptorSwishBeta", desc, BETA)
            return desc

        for dtype in DTYPES:
            for mode in range(7):
                desc = activation(mode)
                for layout in LAYOUTS:
                    for y in outputs(dims, dtype, random.choice(LAYOUTS)):
                        x = Tensor(2 * noise(*dims), dtype, layout)
                        call("cudnnActivationForward", h, desc, y.alpha, *x, y.beta, *y)
                        y.check(f"activation {mode} {layout}", FORWARD[mode](x.set))
                    for dx in outputs(dims, dtype, random.choice(LAYOUTS)):
                        y, dy = Tensor(FORWARD[mode](x.set), dtype, layout), Tensor(noise(*dims), dtype, layout)
                        call("cudnnActivationBackward", h, desc, dx.alpha, *y, *dy, *x, dx.beta, *dx)
                        want = FACTOR[mode](y.set, x.set) * dy.set
                        dx.check(f"gradient of activation {mode} {layout}", want)
                    if dtype == F64:
                        leaf = x.set.clone().requires_grad_()
                        exact, = torch.autograd.grad(FORWARD[mode](leaf), leaf, dy.set)
                        dx.check(f"gradient by autograd {mode}", exact)
                    y = Tensor(noise(*dims), dtype, layout)
                    call("cudnnActivationForward", h, desc, scale(1.0, dtype), *y, scale(0.0, dtype), *y)
                    near(f"activation {mode} in place", y.read(), FORWARD[mode](y.set), dtype)
                    y, dy, x = (Tensor(2 * noise(*dims), dtype, layout) for _ in range(3))
                    call("cudnnActivationBackward", h, desc, scale(1.0, dtype), *y, *dy, *x, scale(0.0, dtype), *dy)
                    near(f"gradient {mode} in place", dy.read(), FACTOR[mode](y.set, x.set) * dy.set, dtype)

        inf = float("inf")
        special = torch.tensor([NAN, inf, -inf, -0.0, 0.0, 1e30, -1e30, 100.0, -100.0], dtype=F64).view(1, 9, 1, 1)
        for mode in (SIGMOID, RELU, TANH, CLIPPED, ELU, IDENTITY):
            x, y = Tensor(special), Output((1, 9, 1, 1), F32, "nchw", 1.0, 0.0)
            call("cudnnActivationForward", h, activation(mode), y.alpha, *x, y.beta, *y)
            y.check(f"special values {mode}", FORWARD[mode](x.set))
        for mode in (RELU, CLIPPED):
            x, y = Tensor(special), Output((1, 9, 1, 1), F32, "nchw", 1.0, 0.0)
            call("cudnnActivationForward", h, activation(mode, nan=0), y.alpha, *x, y.beta, *y)
            y.check(f"NaN not propagated {mode}", FORWARD[mode](x.set.nan_to_num(0.0, inf, -inf)))
        """,
    )


def test_softmax(on_simgpu):
    passes(
        on_simgpu,
        """
        FAST, ACCURATE, LOG = range(3)
        INSTANCE, CHANNEL = range(2)

        def over(mode, x, function):
            lines = x.flatten(1) if mode == INSTANCE else x
            return function(lines).view_as(x)

        def forward(algorithm, mode, x):
            return over(mode, x, lambda t: t.log_softmax(1) if algorithm == LOG else t.softmax(1))

        def backward(algorithm, mode, y, dy):
            if algorithm == LOG:
                return dy - y.exp() * over(mode, dy, lambda t: t.sum(1, keepdim=True).expand_as(t))
            return y * (dy - over(mode, y * dy, lambda t: t.sum(1, keepdim=True).expand_as(t)))

        for dtype in DTYPES:
            for algorithm in range(3):
                for mode in range(2):
                    for layout in LAYOUTS:
                        dims = random.choice(((2, 5, 3, 4), (3, 1, 2, 2), (1, 17, 1, 1), (2, 3, 2, 3, 2)))
                        for y in outputs(dims, dtype, random.choice(LAYOUTS)):
                            x = Tensor(2 * noise(*dims), dtype, layout)
                            call("cudnnSoftmaxForward", h, algorithm, mode, y.alpha, *x, y.beta, *y)
                            y.check(f"softmax {algorithm} {mode} {layout}", forward(algorithm, mode, x.set))
                        for dx in outputs(dims, dtype, random.choice(LAYOUTS)):
                            y = Tensor(forward(algorithm, mode, x.set), dtype, layout)
                            dy = Tensor(noise(*dims), dtype, random.choice(LAYOUTS))
                            call("cudnnSoftmaxBackward", h, algorithm, mode, dx.alpha, *y, *dy, dx.beta, *dx)
                            want = backward(algorithm, mode, y.set, dy.set)
                            dx.check(f"gradient of softmax {algorithm} {mode} {layout}", want, slack=512)
                        if dtype == F64:
                            leaf = x.set.clone().requires_grad_()
                            exact, = torch.autograd.grad(forward(algorithm, mode, leaf), leaf, dy.set)
                            dx.check("by autograd", exact, slack=512)
                        # In place.
                        y = Tensor(2 * noise(*dims), dtype, layout)
                        one, zero = scale(1.0, dtype), scale(0.0, dtype)
                        call("cudnnSoftmaxForward", h, algorithm, mode, one, *y, zero, *y)
                        near("softmax in place", y.read(), forward(algorithm, mode, y.set), dtype)
        # The accurate ones do not overflow.
        for algorithm in (ACCURATE, LOG):
            x = Tensor(1000 * noise(2, 5, 3, 4))
            y = Output((2, 5, 3, 4), F32, "nchw", 1.0, 0.0)
            call("cudnnSoftmaxForward", h, algorithm, CHANNEL, y.alpha, *x, y.beta, *y)
            y.check("large numbers", forward(algorithm, CHANNEL, x.set))
        """,
    )


def test_pooling_and_response_normalization(on_simgpu):
    passes(
        on_simgpu,
        """
        MAX, INCLUDING, EXCLUDING, DETERMINISTIC = range(4)

        def distinct(dims):
            count = 1
            for size in dims:
                count *= size
            return (torch.randperm(count).double() - count // 2).view(dims)

        def exact(mode, x, window, pad, stride):
            axes = len(window)
            if mode in (MAX, DETERMINISTIC):
                return (F.max_pool2d, F.max_pool3d)[axes - 2](x, window, stride, pad)
            return (F.avg_pool2d, F.avg_pool3d)[axes - 2](x, window, stride, pad, count_include_pad=mode == INCLUDING)

        CASES = [  # sizes, window, pad, stride
            ((2, 3, 1, 20), (1, 3), (0, 1), (1, 2)),
            ((2, 3, 6, 5), (2, 2), (0, 0), (2, 2)),
            ((1, 4, 7, 6), (3, 3), (1, 1), (2, 1)),
            ((2, 2, 6, 7), (4, 3), (2, 1), (3, 2)),
            ((1, 1, 5, 5), (5, 5), (0, 0), (1, 1)),
            ((1, 2, 4, 5, 4), (2, 3, 2), (1, 1, 0), (2, 2, 2)),
        ]
        for dtype in DTYPES:
            for mode in range(4):
                for dims, window, pad, stride in CASES:
                    desc = Descriptor("Pooling", "cudnnSetPoolingNdDescriptor", mode, 1, len(window),
                                      ints(window), ints(pad), ints(stride))
                    for layout in LAYOUTS:
                        x = Tensor(distinct(dims), dtype, layout)
                        leaf = x.set.clone().requires_grad_()
                        want = exact(mode, leaf, window, pad, stride)
                        dy = Tensor(noise(*want.shape), dtype, random.choice(LAYOUTS))
                        gradient, = torch.autograd.grad(want, leaf, dy.set)
                        want, blend = want.detach(), random.choice(BLENDS)
                        sizes = (c_int * len(dims))()
                        call("cudnnGetPoolingNdForwardOutputDim", desc, x.descriptor, len(dims), sizes)
                        same("output sizes", tuple(sizes), tuple(want.shape))
                        y = Output(want.shape, dtype, random.choice(LAYOUTS), *blend)
                        call("cudnnPoolingForward", h, desc, y.alpha, *x, y.beta, *y)
                        y.check(f"pooling {mode} {dims} {layout}", want)
                        y = Tensor(want, dtype, random.choice(LAYOUTS))
                        dx = Output(dims, dtype, random.choice(LAYOUTS), *blend)
                        call("cudnnPoolingBackward", h, desc, dx.alpha, *y, *dy, *x, dx.beta, *dx)
                        dx.check(f"gradient of pooling {mode} {dims} {layout}", gradient)
        x = noise(1, 2, 6, 6)
        x[0, 0, 1, 1] = x[0, 1, 4, 5] = NAN
        for nan, filled in ((1, x), (0, x.nan_to_num(-1e9))):
            desc = Descriptor("Pooling", "cudnnSetPoolingNdDescriptor", MAX, nan, 2, ints((2, 2)), ints((0, 0)), ints((2, 2)))
            a, y = Tensor(x), Output((1, 2, 3, 3), F32, "nchw", 1.0, 0.0)
            call("cudnnPoolingForward", h, desc, y.alpha, *a, y.beta, *y)
            y.check(f"NaN rule {nan}", F.max_pool2d(rounded(filled, F32), 2))

        def response(x, n, alpha, beta, k):
            behind = (n - 1) // 2
            padded = F.pad(x.square().movedim(1, -1), (behind, n - behind - 1))
            sums = padded.unfold(-1, n, 1).sum(-1).movedim(-1, 1)
            return x / (k + alpha / n * sums) ** beta

        assert torch.allclose(response(x.nan_to_num(), 3, 0.5, 0.75, 2.0), F.local_response_norm(x.nan_to_num(), 3, 0.5, 0.75, 2.0))
        for dtype in DTYPES:
            for layout in LAYOUTS:
                for n, alpha, beta, k in ((5, 1e-4, 0.75, 2.0), (4, 0.5, 0.5, 1.0), (1, 1.0, 0.9, 1e-5), (16, 2.0, 1.25, 0.5)):
                    dims = random.choice(((2, 7, 3, 4), (1, 3, 5, 2), (2, 20, 2, 2)))
                    desc = Descriptor("LRN", "cudnnSetLRNDescriptor", n, alpha, beta, k)
                    x = Tensor(0.1 + noise(*dims).abs(), dtype, layout)
                    leaf = x.set.clone().requires_grad_()
                    want = response(leaf, n, alpha, beta, k)
                    for y in outputs(dims, dtype, random.choice(LAYOUTS)):
                        call("cudnnLRNCrossChannelForward", h, desc, 0, y.alpha, *x, y.beta, *y)
                        y.check(f"response normalization {n} {layout}", want.detach(), slack=256)
                    y, dy = Tensor(want.detach(), dtype, layout), Tensor(noise(*dims), dtype, layout)
                    gradient, = torch.autograd.grad(want, leaf, dy.set)
                    for dx in outputs(dims, dtype, random.choice(LAYOUTS)):
                        call("cudnnLRNCrossChannelBackward", h, desc, 0, dx.alpha, *y, *dy, *x, dx.beta, *dx)
                        # y was rounded to the type before it was used, against which x·dy·y is to be seen.
                        size = 1 + gradient.abs().max() * (1 + 8 * UNIT[dtype] / SUMS[dtype] / 256)
                        dx.check(f"its gradient {n} {layout}", gradient, float(size), slack=256)
        """,
    )
