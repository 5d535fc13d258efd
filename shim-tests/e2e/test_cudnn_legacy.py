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
    "cudnnCreate", "cudnnDestroy", "cudnnSetStream", "cudnnGetStream", "cudnnQueryRuntimeError",
    "cudnnDropoutGetStatesSize", "cudnnSetDropoutDescriptor", "cudnnRestoreDropoutDescriptor",
    "cudnnGetDropoutDescriptor", "cudnnDestroyDropoutDescriptor", "cudnnSetSpatialTransformerNdDescriptor",
    "cudnnDestroySpatialTransformerDescriptor", "cudnnGetRNNWeightSpaceSize", "cudnnGetRNNWeightParams",
    "cudnnBuildRNNDynamic"
}

COVERED = set()


def passes(on_simgpu, script, **environment):
    """Runs a script that ends with `done()`; each call of a function we serve must have been served by us."""
    source = "from cudnn import *\nimport torch.nn.functional as F\n\nh = create()\n" + inspect.cleandoc(script)
    result = on_simgpu(source + "\ndone()\n", PYTHONPATH=str(HERE), GPU_COMPAT_DEBUG="1", **environment)
    lines = result.out.splitlines()
    if result.status != 0 or lines[-1:] != ["ok"]:
        said = [line for line in result.err.splitlines() if not line.startswith("gpucompat: served fn=")]
        pytest.fail("\n".join([result.out, f"exit status {result.status}", *said[-60:]]), pytrace=False)
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
            4: lambda a, b: a.sqrt(), 5: lambda a, b: 1 - a
        }
        for dtype in DTYPES:
            for op, exact in OPS.items():
                desc = Descriptor(
                    "OpTensor", "cudnnSetOpTensorDescriptor", op, CODES[dtype if dtype == F64 else F32], 1
                )
                for layout in LAYOUTS:
                    for c in outputs((2, 3, 4, 5), dtype, layout):
                        a = Tensor(noise(2, 3, 4, 5), dtype, any_layout())
                        if op == 4:
                            a = Tensor(noise(2, 3, 4, 5).abs(), dtype, any_layout())
                        b = Tensor(
                            noise(*random.choice(((2, 3, 4, 5), (1, 3, 1, 1), (1, 1, 1, 1)))), dtype, any_layout()
                        )
                        call("cudnnOpTensor", h, desc, scale(0.75, dtype), *a, scale(-1.25, dtype), *b, c.beta, *c)
                        alpha, beta = c.factors
                        want = exact(0.75 * a.set, -1.25 * b.set) + (beta * c.set if beta else 0)
                        near(f"op {op} {layout}", c.read(), want, dtype)

        # Half tensors into a single one, and NaN in comparisons.
        a, b, c = (
            Tensor(noise(2, 3, 2, 2), F16),
            Tensor(noise(1, 3, 1, 1), F16),
            Output((2, 3, 2, 2), F32, "nchw", 1.0, 0.0),
        )
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
            ADD: lambda a, axes: a.sum(axes, keepdim=True), MUL: lambda a, axes: every(a, axes, product),
            MIN: lambda a, axes: a.amin(axes, keepdim=True), MAX: lambda a, axes: a.amax(axes, keepdim=True),
            AMAX: lambda a, axes: a.abs().amax(axes, keepdim=True),
            AVG: lambda a, axes: a.mean(axes, keepdim=True),
            NORM1: lambda a, axes: a.abs().sum(axes, keepdim=True),
            NORM2: lambda a, axes: a.square().sum(axes, keepdim=True).sqrt(),
            MUL_NO_ZEROS: lambda a, axes: every(torch.where(a == 0, 1.0, a), axes, product)
        }

        def describe(op, dtype, nan=1, indices=0):
            compute = CODES[F64 if dtype == F64 else F32]
            return Descriptor("ReduceTensor", "cudnnSetReduceTensorDescriptor", op, compute, nan, indices, 0)

        def reduce(desc, a, c, indices=None):
            work = answer("cudnnGetReductionWorkspaceSize", h, desc, a.descriptor, c.descriptor)
            same("workspace", work, 0)
            index_bytes = answer("cudnnGetReductionIndicesSize", h, desc, a.descriptor, c.descriptor)
            same("index bytes", index_bytes, 0 if indices is None else 4 * indices.numel())
            call(
                "cudnnReduceTensor", h, desc, pointer(indices), c_size_t(index_bytes), None, c_size_t(0),
                c.alpha, *a, c.beta, *c
            )

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
                        a = a.sign() * (1 + a.abs() / 64)
                    if op == MUL_NO_ZEROS:
                        a[torch.rand(dims) < 0.3] = 0
                    a = Tensor(a, dtype, layout)
                    for c in outputs(
                        [1 if i in axes else n for i, n in enumerate(dims)], dtype, random.choice(LAYOUTS)
                    ):
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
            ELU: lambda x: F.elu(x, COEF), IDENTITY: lambda x: x, SWISH: lambda x: x * torch.sigmoid(BETA * x)
        }
        # The factor of dy, from y and x.
        FACTOR = {
            SIGMOID: lambda y, x: y * (1 - y), RELU: lambda y, x: (y > 0).double(),
            TANH: lambda y, x: 1 - y * y, CLIPPED: lambda y, x: ((y > 0) & (y < COEF)).double(),
            ELU: lambda y, x: torch.where(y > 0, 1.0, y + COEF), IDENTITY: lambda y, x: torch.ones_like(y),
            SWISH: lambda y, x: (s := torch.sigmoid(BETA * x)) * (1 + BETA * x * (1 - s))
        }
        sizes = ((2, 3, 5, 7), (1, 16, 9, 13), (3, 5, 1, 33), (2, 3, 4, 5, 3))

        def activation(mode, nan=1):
            desc = Descriptor("Activation", "cudnnSetActivationDescriptor", mode, nan, COEF)
            if mode == SWISH:
                call("cudnnSetActivationDescriptorSwishBeta", desc, BETA)
            return desc

        for dtype in DTYPES:
            for mode in range(7):
                desc = activation(mode)
                for layout in LAYOUTS:
                    dims = random.choice(sizes)
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
                        (exact,) = torch.autograd.grad(FORWARD[mode](leaf), leaf, dy.set)
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
                        dims = random.choice(
                            ((2, 5, 3, 4), (3, 1, 2, 2), (1, 170, 1, 1), (2, 3, 2, 3, 2), (2, 70, 5, 7))
                        )
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
                            (exact,) = torch.autograd.grad(forward(algorithm, mode, leaf), leaf, dy.set)
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
            ((2, 9, 20, 37), (3, 3), (1, 1), (2, 2)),
        ]
        for dtype in DTYPES:
            for mode in range(4):
                for dims, window, pad, stride in CASES:
                    if dtype in (F16, BF16) and dims == (2, 9, 20, 37):
                        continue  # there are not as many distinct numbers
                    desc = Descriptor(
                        "Pooling", "cudnnSetPoolingNdDescriptor", mode, 1, len(window), ints(window), ints(pad),
                        ints(stride)
                    )
                    for layout in LAYOUTS:
                        x = Tensor(distinct(dims), dtype, layout)
                        leaf = x.set.clone().requires_grad_()
                        want = exact(mode, leaf, window, pad, stride)
                        dy = Tensor(noise(*want.shape), dtype, random.choice(LAYOUTS))
                        (gradient,) = torch.autograd.grad(want, leaf, dy.set)
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
            desc = Descriptor(
                "Pooling", "cudnnSetPoolingNdDescriptor", MAX, nan, 2, ints((2, 2)), ints((0, 0)), ints((2, 2))
            )
            a, y = Tensor(x), Output((1, 2, 3, 3), F32, "nchw", 1.0, 0.0)
            call("cudnnPoolingForward", h, desc, y.alpha, *a, y.beta, *y)
            y.check(f"NaN rule {nan}", F.max_pool2d(rounded(filled, F32), 2))

        def response(x, n, alpha, beta, k):
            behind = (n - 1) // 2
            padded = F.pad(x.square().movedim(1, -1), (behind, n - behind - 1))
            sums = padded.unfold(-1, n, 1).sum(-1).movedim(-1, 1)
            return x / (k + alpha / n * sums) ** beta

        assert torch.allclose(
            response(x.nan_to_num(), 3, 0.5, 0.75, 2.0), F.local_response_norm(x.nan_to_num(), 3, 0.5, 0.75, 2.0)
        )
        for dtype in DTYPES:
            for layout in LAYOUTS:
                for n, alpha, beta, k in (
                    (5, 1e-4, 0.75, 2.0), (4, 0.5, 0.5, 1.0), (1, 1.0, 0.9, 1e-5), (16, 2.0, 1.25, 0.5)
                ):
                    dims = random.choice(((2, 7, 3, 4), (1, 3, 5, 2), (2, 20, 2, 2)))
                    desc = Descriptor("LRN", "cudnnSetLRNDescriptor", n, alpha, beta, k)
                    x = Tensor(0.1 + noise(*dims).abs(), dtype, layout)
                    leaf = x.set.clone().requires_grad_()
                    want = response(leaf, n, alpha, beta, k)
                    for y in outputs(dims, dtype, random.choice(LAYOUTS)):
                        call("cudnnLRNCrossChannelForward", h, desc, 0, y.alpha, *x, y.beta, *y)
                        y.check(f"response normalization {n} {layout}", want.detach(), slack=256)
                    y, dy = Tensor(want.detach(), dtype, layout), Tensor(noise(*dims), dtype, layout)
                    (gradient,) = torch.autograd.grad(want, leaf, dy.set)
                    for dx in outputs(dims, dtype, random.choice(LAYOUTS)):
                        call("cudnnLRNCrossChannelBackward", h, desc, 0, dx.alpha, *y, *dy, *x, dx.beta, *dx)
                        # y was rounded to the type before it was used, against which x·dy·y is to be seen.
                        size = 1 + gradient.abs().max() * (1 + 8 * UNIT[dtype] / SUMS[dtype] / 256)
                        dx.check(f"its gradient {n} {layout}", gradient, float(size), slack=256)
        """,
    )


def test_batch_normalization(on_simgpu):
    passes(
        on_simgpu,
        """
        PER_ACTIVATION, SPATIAL, PERSISTENT = range(3)
        PLAIN, ACTIVATED, ADDED = range(3)
        EPSILON = 1e-3

        def axes_of(mode, dims):
            return (0,) if mode == PER_ACTIVATION else (0, *range(2, len(dims)))

        def statistics(x, mode):
            axes = axes_of(mode, x.shape)
            return x.mean(axes, keepdim=True), x.var(axes, unbiased=False, keepdim=True)

        def normalize(x, scale_, bias, mode):
            mean, variance = statistics(x, mode)
            return (x - mean) / (variance + EPSILON).sqrt() * scale_ + bias

        relu = Descriptor("Activation", "cudnnSetActivationDescriptor", 1, 1, 0.0)

        class Case:
            # Sizes, parameters and what a call is compared with.
            def __init__(self, mode, dtype, layout):
                self.mode, self.dtype, self.layout = mode, dtype, layout
                self.dims = random.choice(((4, 3, 5, 2), (7, 2, 1, 1), (3, 5, 2, 3, 2), (2, 1, 3, 3), (2, 19, 9, 10)))
                axes = axes_of(mode, self.dims)
                self.small = [1 if axis in axes else size for axis, size in enumerate(self.dims)]
                self.kind = F64 if dtype == F64 else F32
                self.count = 1
                for axis in axes:
                    self.count *= self.dims[axis]
                self.x = Tensor(2 * noise(*self.dims) + 1, dtype, layout)
                self.scale, self.bias = self.parameter(1 + 0.3 * noise(*self.small)), self.parameter(noise(*self.small))
                self.mean, self.variance = statistics(self.x.set, mode)
                self.inverse = 1 / (self.variance + EPSILON).sqrt()
                derived = Descriptor("Tensor")
                call("cudnnDeriveBNTensorDescriptor", derived, self.x.descriptor, mode)
                kind, rank, sizes, strides = c_int(), c_int(), (c_int * 8)(), (c_int * 8)()
                call("cudnnGetTensorNdDescriptor", derived, 8, byref(kind), byref(rank), sizes, strides)
                same("derived sizes", list(sizes[: rank.value]), self.small)
                same("derived type", kind.value, CODES[self.kind])

            def parameter(self, values):
                return Tensor(values, self.kind)

            def poisoned(self):
                return self.parameter(torch.full(tuple(self.small), NAN, dtype=F64))

            def output(self, blend):
                return Output(self.dims, self.dtype, random.choice(LAYOUTS), *blend)

            def like(self):
                return Tensor(noise(*self.dims), self.dtype, random.choice(LAYOUTS))

        for dtype in DTYPES:
            for mode in range(3):
                for layout in LAYOUTS:
                    what = f"mode {mode} {layout}"
                    for blend in BLENDS:
                        case = Case(mode, dtype, layout)
                        x, kind = case.x, case.kind
                        want = normalize(x.set, case.scale.set, case.bias.set, mode)
                        estimated = case.parameter(noise(*case.small)), case.parameter(0.2 + noise(*case.small).abs())
                        y = case.output(blend)
                        call(
                            "cudnnBatchNormalizationForwardInference", h, mode, y.alpha, y.beta, *x, *y,
                            case.scale.descriptor, case.scale.data, case.bias.data, estimated[0].data,
                            estimated[1].data, EPSILON
                        )
                        inferred = (x.set - estimated[0].set) / (estimated[1].set + EPSILON).sqrt() * case.scale.set
                        y.check(f"inference {what}", inferred + case.bias.set, slack=256)

                        # Training: running statistics averaged, or replaced whatever they were; or not wanted.
                        for factor in (0.1, 1.0, None):
                            running = [
                                case.poisoned() if factor == 1.0 else case.parameter(noise(*case.small)) for _ in "mv"
                            ]
                            saved = [case.poisoned() for _ in "mi"]
                            y = case.output(blend)
                            pointers = [t.data if factor else None for t in (*running, *saved)]
                            call(
                                "cudnnBatchNormalizationForwardTraining", h, mode, y.alpha, y.beta, *x, *y,
                                case.scale.descriptor, case.scale.data, case.bias.data, factor or 0.5,
                                *pointers[:2], EPSILON, *pointers[2:]
                            )
                            y.check(f"training {what}", want, slack=512)
                            if factor is None:
                                assert all(t.unchanged() for t in (*running, *saved))
                                continue
                            unbiased = case.variance * (case.count / (case.count - 1))
                            for t, new in ((running[0], case.mean), (running[1], unbiased)):
                                exact = new if factor == 1.0 else 0.9 * t.set + 0.1 * new
                                near(f"running statistics {what}", t.read(), exact, kind)
                            near(f"saved mean {what}", saved[0].read(), case.mean, kind)
                            near(f"saved inverse {what}", saved[1].read(), case.inverse, kind)

                        # Backward, with the statistics that were kept and without.
                        leaves = [t.set.clone().requires_grad_() for t in (x, case.scale, case.bias)]
                        dy = case.like()
                        gradients = torch.autograd.grad(normalize(*leaves, mode), leaves, dy.set)
                        kept = case.parameter(case.mean), case.parameter(case.inverse)
                        for statistic in (True, False):
                            dx = case.output(blend)
                            dscale, dbias = (
                                Output(case.small, kind, "nchw", *random.choice(BLENDS[::-1])) for _ in "sb"
                            )
                            dbias = Output(case.small, kind, "nchw", *dscale.factors)
                            call(
                                "cudnnBatchNormalizationBackward", h, mode, dx.alpha, dx.beta, dscale.alpha,
                                dscale.beta, *x, *dy, *dx, case.scale.descriptor, case.scale.data, dscale.data,
                                dbias.data, EPSILON, *([t.data for t in kept] if statistic else [None, None])
                            )
                            near(f"dx {what}", dx.read(), dx.blend(gradients[0]), dtype, slack=2048)
                            dscale.check(f"dscale {what}", gradients[1], slack=2048)
                            dbias.check(f"dbias {what}", gradients[2], slack=512)

        for dtype in DTYPES:
            for mode in (SPATIAL, PERSISTENT):
                for ops in range(3):
                    for blend in BLENDS:
                        case = Case(mode, dtype, random.choice(LAYOUTS))
                        x, z, what = case.x, case.like(), f"ops {ops} mode {mode}"
                        normalized = normalize(x.set, case.scale.set, case.bias.set, mode)
                        want = {PLAIN: normalized, ACTIVATED: normalized.relu(), ADDED: (normalized + z.set).relu()}[
                            ops
                        ]
                        y, saved = case.output(blend), [case.poisoned() for _ in "mi"]
                        running = [case.poisoned() for _ in "mv"]
                        zs = tuple(z) if ops == ADDED else (None, None)
                        act = relu if ops != PLAIN else None
                        work = answer(
                            "cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize", h, mode, ops,
                            x.descriptor, zs[0], y.descriptor, case.scale.descriptor, act
                        )
                        reserve = answer(
                            "cudnnGetBatchNormalizationTrainingExReserveSpaceSize", h, mode, ops, act, x.descriptor
                        )
                        space = torch.zeros(max(1, work + reserve), dtype=torch.uint8).cuda()
                        call(
                            "cudnnBatchNormalizationForwardTrainingEx", h, mode, ops, y.alpha, y.beta, *x, *zs,
                            *y, case.scale.descriptor, case.scale.data, case.bias.data, 1.0,
                            *(t.data for t in running), EPSILON, *(t.data for t in saved), act, pointer(space),
                            c_size_t(work), pointer(space), c_size_t(reserve)
                        )
                        y.check(f"training {what}", want, slack=512)
                        near("saved mean", saved[0].read(), case.mean, case.kind)
                        near("saved inverse", saved[1].read(), case.inverse, case.kind)
                        near("running mean", running[0].read(), case.mean, case.kind)

                        y, dy, dx = Tensor(want, dtype, "nhwc"), case.like(), case.output(blend)
                        through = dy.set * (y.set > 0) if ops != PLAIN else dy.set
                        leaves = [t.set.clone().requires_grad_() for t in (x, case.scale, case.bias)]
                        gradients = torch.autograd.grad(normalize(*leaves, mode), leaves, through)
                        dz = Output(case.dims, dtype, random.choice(LAYOUTS), 1.0, 0.0)
                        dzs = tuple(dz) if ops == ADDED else (None, None)
                        dscale, dbias = (Output(case.small, case.kind, "nchw", *blend) for _ in "sb")
                        ys = tuple(y) if ops != PLAIN else (None, None)
                        work = answer(
                            "cudnnGetBatchNormalizationBackwardExWorkspaceSize", h, mode, ops, x.descriptor,
                            ys[0], dy.descriptor, dzs[0], dx.descriptor, case.scale.descriptor, act
                        )
                        call(
                            "cudnnBatchNormalizationBackwardEx", h, mode, ops, dx.alpha, dx.beta, dscale.alpha,
                            dscale.beta, *x, *ys, *dy, *dzs, *dx, case.scale.descriptor, case.scale.data,
                            case.bias.data, dscale.data, dbias.data, EPSILON, *(t.data for t in saved), act,
                            pointer(space), c_size_t(work), pointer(space), c_size_t(reserve)
                        )
                        dx.check(f"dx {what}", gradients[0], slack=2048)
                        dscale.check(f"dscale {what}", gradients[1], slack=2048)
                        dbias.check(f"dbias {what}", gradients[2], slack=512)
                        if ops == ADDED:
                            dz.check(f"dz {what}", through)
        """,
    )


def test_dropout(on_simgpu):
    passes(
        on_simgpu,
        """
        bytes_ = answer("cudnnDropoutGetStatesSize", h)

        def describe(probability, states, seed, how="Set"):
            desc = Descriptor("Dropout")
            call(
                f"cudnn{how}DropoutDescriptor", desc, h, c_float(probability), pointer(states),
                c_size_t(bytes_), c_uint64(seed)
            )
            desc.states = states  # alive as long as the descriptor
            return desc

        def fresh_states():
            return torch.zeros(bytes_, dtype=torch.uint8).cuda()

        def ones(dims, dtype=F32, layout="nchw"):
            return Tensor(torch.ones(dims, dtype=F64), dtype, layout)

        def reserve_of(x):
            size = answer("cudnnDropoutGetReserveSpaceSize", x.descriptor)
            assert size * 8 >= x.set.numel(), size
            return torch.zeros(size, dtype=torch.uint8).cuda(), c_size_t(size)

        def drop(desc, x, y, reserve):
            call("cudnnDropoutForward", h, desc, *x, *y, pointer(reserve[0]), reserve[1])
            return y.read()

        def mask_of(desc, count=4096):
            x, y = ones((1, count, 1, 1)), Output((1, count, 1, 1), F32, "nchw", 1.0, 0.0)
            return drop(desc, x, y, reserve_of(x)) != 0

        def bits(reserve, count):
            packed = reserve.cpu().long()
            return torch.stack([packed >> bit & 1 for bit in range(8)], 1).flatten()[:count].bool()

        for dtype in DTYPES:
            for layout in LAYOUTS:
                for probability in (0.0, 0.1, 0.5, 0.875):
                    dims = (3, 5, 17, 16)
                    count = 3 * 5 * 17 * 16
                    states = fresh_states()
                    desc = describe(probability, states, random.getrandbits(64))
                    x, y = Tensor(noise(*dims).sign() * 1.5, dtype, layout), Output(
                        dims, dtype, random.choice(LAYOUTS), 1.0, 0.0
                    )
                    reserve = reserve_of(x)
                    got = drop(desc, x, y, reserve)
                    kept = got != 0
                    y.check(
                        f"dropout {probability}",
                        torch.where(kept, x.set / (1 - rounded(torch.tensor(probability), F32)), 0.0),
                    )
                    dropped = count - int(kept.sum())
                    spread = (count * probability * (1 - probability)) ** 0.5
                    assert abs(dropped - count * probability) <= 6 * spread, (dropped, probability, SEED)
                    assert torch.equal(bits(reserve[0], count), kept.flatten()), ("reserve", SEED)
                    dy, dx = Tensor(noise(*dims), dtype, layout), Output(dims, dtype, random.choice(LAYOUTS), 1.0, 0.0)
                    call("cudnnDropoutBackward", h, desc, *dy, *dx, pointer(reserve[0]), reserve[1])
                    exact = torch.where(kept, dy.set / (1 - rounded(torch.tensor(probability), F32)), 0.0)
                    dx.check(f"gradient of dropout {probability}", exact)

        # Everything is dropped; in place.
        x = ones((2, 3, 4, 4))
        assert (drop(describe(1.0, fresh_states(), 1), x, x, reserve_of(x)) == 0).all()
        x = ones((2, 3, 4, 4))
        got = drop(describe(0.5, fresh_states(), 1), x, x, reserve_of(x))
        assert set(got.flatten().tolist()) == {0.0, 2.0}, got

        # The same seed draws the same, the next call and another seed something else.
        first = describe(0.5, fresh_states(), 42)
        masks = [mask_of(first) for _ in range(3)]
        again = describe(0.5, fresh_states(), 42)
        assert all(torch.equal(mask_of(again), mask) for mask in masks)
        other = mask_of(describe(0.5, fresh_states(), 43))
        for a, b in ((masks[0], masks[1]), (masks[1], masks[2]), (masks[0], other)):
            agreeing = int((a == b).sum())
            assert abs(agreeing - 2048) < 6 * 32, agreeing
            # Nor is one a piece of the other, further along.
            spectra = [torch.fft.rfft(2 * mask.flatten().double() - 1, 8192) for mask in (a, b)]
            assert torch.fft.irfft(spectra[0] * spectra[1].conj()).abs().max() < 8 * 64

        # States that were copied away continue where they were.
        states = fresh_states()
        desc = describe(0.5, states, 7)
        mask_of(desc)
        copy = states.cpu().cuda()
        following = [mask_of(desc) for _ in range(2)]
        restored = describe(0.5, copy, 7, "Restore")
        assert all(torch.equal(mask_of(restored), mask) for mask in following)

        probability, address, seed = c_float(), c_void_p(), c_uint64()
        call("cudnnGetDropoutDescriptor", restored, h, byref(probability), byref(address), byref(seed))
        same("contents", (probability.value, address.value, seed.value), (0.5, copy.data_ptr(), 7))
        restored.destroy()
        # A short reserve space or states are refused.
        x = ones((2, 3, 4, 4))
        same("short reserve", status("cudnnDropoutForward", h, desc, *x, *x, pointer(copy), c_size_t(11)), BAD_PARAM)
        same(
            "short states",
            status(
                "cudnnSetDropoutDescriptor", desc, h, c_float(0.5), pointer(copy), c_size_t(bytes_ - 1), c_uint64(1)
            ),
            BAD_PARAM,
        )
        assert x.unchanged()
        """,
    )


def test_spatial_transformer(on_simgpu):
    passes(
        on_simgpu,
        """
        def away_from_kinks(grid, sizes):
            # Where a coordinate falls on an element the derivative jumps.
            for axis, size in ((0, sizes[1]), (1, sizes[0])):
                place = (grid[..., axis] + 1) / 2 * (size - 1)
                close = (place - place.round()).abs() < 0.02
                grid[..., axis][close] += 0.1 / max(1, size - 1)
            return grid

        for dtype in (F32, F64, F16):
            for layout in LAYOUTS:
                for n, c, height, width, out in ((2, 3, 5, 6, (4, 7)), (1, 1, 3, 3, (5, 5)), (3, 2, 7, 4, (3, 2))):
                    dims = (n, c, *out)
                    desc = Descriptor(
                        "SpatialTransformer", "cudnnSetSpatialTransformerNdDescriptor", 0, CODES[dtype], 4, ints(dims)
                    )
                    theta = Tensor(0.5 * noise(n, 2, 3), dtype)
                    grid = Output((n, *out, 2), dtype, "nchw", 1.0, 0.0)
                    call("cudnnSpatialTfGridGeneratorForward", h, desc, theta.data, grid.data)
                    leaf = theta.set.clone().requires_grad_()
                    want = F.affine_grid(leaf, dims, align_corners=True)
                    grid.check("grid", want.detach())
                    dgrid, dtheta = Tensor(noise(n, *out, 2), dtype), Output((n, 2, 3), dtype, "nchw", 1.0, 0.0)
                    call("cudnnSpatialTfGridGeneratorBackward", h, desc, dgrid.data, dtheta.data)
                    dtheta.check("gradient of theta", torch.autograd.grad(want, leaf, dgrid.set)[0])

                    grid = away_from_kinks(0.8 * noise(n, *out, 2), (height, width))
                    grid, x = Tensor(grid, dtype), Tensor(noise(n, c, height, width), dtype, layout)
                    leaves = [t.set.clone().requires_grad_() for t in (x, grid)]
                    want = F.grid_sample(*leaves, mode="bilinear", padding_mode="zeros", align_corners=True)
                    for y in outputs(dims, dtype, random.choice(LAYOUTS)):
                        call("cudnnSpatialTfSamplerForward", h, desc, y.alpha, *x, grid.data, y.beta, *y)
                        y.check(f"samples {layout}", want.detach(), slack=512)
                    dy = Tensor(noise(*dims), dtype, layout)
                    exact = torch.autograd.grad(want, leaves, dy.set)
                    for dx in outputs((n, c, height, width), dtype, random.choice(LAYOUTS)):
                        dgrid = Output((n, *out, 2), dtype, "nchw", *random.choice(BLENDS))
                        call(
                            "cudnnSpatialTfSamplerBackward", h, desc, dx.alpha, *x, dx.beta, *dx, dgrid.alpha,
                            *dy, grid.data, dgrid.beta, dgrid.data
                        )
                        dx.check(f"gradient of x {layout}", exact[0], slack=512)
                        dgrid.check(f"gradient of the grid {layout}", exact[1], slack=512)
                    same(
                        "another batch",
                        status(
                            "cudnnSpatialTfSamplerForward", h, desc, y.alpha, *y, grid.data, y.beta,
                            *Tensor(noise(n + 1, c, *out))
                        ),
                        BAD_PARAM,
                    )
                    desc.destroy()
        """,
    )


def test_ctc_loss(on_simgpu):
    passes(
        on_simgpu,
        """
        PROBABILITIES, ACTIVATIONS = range(2)
        ZERO, KEEP = range(2)
        VERSIONS = ("Ex", "_v8", "_v9") if VERSION >= 9 else ("Ex", "_v8")

        def describe(normalization, gradients, version):
            more = () if version == "Ex" else (256,)
            return Descriptor(
                "CTCLoss", "cudnnSetCTCLossDescriptor" + version, CODES[F32], normalization, gradients, *more
            )

        def run(h, desc, probs, labels, label_lengths, input_lengths, costs, gradients, device, algo):
            probs_desc, grad_desc = probs.descriptor, gradients.descriptor if gradients else None
            grads = gradients.data if gradients else None
            if device:
                arrays = [device_ints(values) for values in (labels, label_lengths, input_lengths)]
                work = answer("cudnnGetCTCLossWorkspaceSize_v8", h, algo, desc, probs_desc, grad_desc)
                call(
                    "cudnnCTCLoss_v8",
                    h,
                    algo,
                    desc,
                    *probs,
                    *map(pointer, arrays),
                    costs.data,
                    grad_desc,
                    grads,
                    c_size_t(work),
                    None
                )
            else:
                arrays = [ints(values) for values in (labels, label_lengths, input_lengths)]
                work = answer("cudnnGetCTCLossWorkspaceSize", h, probs_desc, grad_desc, *arrays, algo, desc)
                call("cudnnCTCLoss", h, *probs, *arrays, costs.data, grad_desc, grads, algo, desc, None, c_size_t(work))

        def exact(x, labels, label_lengths, input_lengths):
            leaf = x.clone().requires_grad_()
            costs = F.ctc_loss(
                leaf.log_softmax(2), torch.tensor(labels), torch.tensor(input_lengths),
                torch.tensor(label_lengths), blank=0, reduction="none"
            )
            return costs.detach(), torch.autograd.grad(costs.sum(), leaf)[0]

        for trial in range(40):
            steps, batch, alphabet = random.randint(5, 20), random.randint(1, 4), random.randint(2, 9)
            input_lengths = [random.randint(5, steps) for _ in range(batch)]
            label_lengths = [random.randint(0 if n else 1, 2) for n in range(batch)]
            if trial % 2 and alphabet > 5:
                label_lengths = [random.randint(1, 3) for n in range(batch)]
            labels = [random.randint(1, alphabet - 1) for _ in range(sum(label_lengths))]
            normalization, device, algo = trial % 2, trial // 2 % 2, trial // 4 % 2
            x = rounded(2 * noise(steps, batch, alphabet), F32)
            want, gradient = exact(x, labels, label_lengths, input_lengths)
            assert want.isfinite().all()
            beyond = torch.arange(steps)[:, None, None] >= torch.tensor(input_lengths)[None, :, None]
            gradient = gradient.masked_fill(beyond, 0.0)
            probs = Tensor(x if normalization == ACTIVATIONS else x.softmax(2), F32)
            desc = describe(normalization, random.choice((ZERO, KEEP)), random.choice(VERSIONS))
            costs = Output((1, 1, batch), F32, "nchw", 1.0, 0.0)
            gradients = Output((steps, batch, alphabet), F32, random.choice(("nchw", "gaps")), 1.0, 0.0)
            run(h, desc, probs, labels, label_lengths, input_lengths, costs, gradients, device, algo)
            costs.check("costs", want, slack=256)
            gradients.check("gradients", gradient, slack=1024)
            costs = Output((1, 1, batch), F32, "nchw", 1.0, 0.0)
            run(h, desc, probs, labels, label_lengths, input_lengths, costs, None, device, algo)
            costs.check("costs alone", want, slack=256)

        # The second example has fewer steps than its labels and the blank between equal ones need.
        labels, label_lengths, input_lengths = [1, 2, 3, 3, 2], [2, 2, 1], [5, 2, 4]
        x = rounded(noise(6, 3, 5), F32)
        want, gradient = exact(x, labels, label_lengths, [5, 3, 4])
        possible = torch.tensor([True, False, True])
        want[1] = float("inf")
        beyond = torch.arange(6)[:, None, None] >= torch.tensor(input_lengths)[None, :, None]
        gradient = gradient.masked_fill(beyond, 0.0)
        for device in range(2):
            for mode in (ZERO, KEEP):
                for version in VERSIONS:
                    desc = describe(ACTIVATIONS, mode, version)
                    costs = Output((1, 1, 3), F32, "nchw", 1.0, 0.0)
                    gradients = Tensor(noise(6, 3, 5), F32, "gaps")
                    run(h, desc, Tensor(x), labels, label_lengths, input_lengths, costs, gradients, device, 0)
                    costs.check("costs with an impossible example", want, slack=256)
                    rest = torch.zeros(6, 5, dtype=F64)  # in either mode: PyTorch uses them
                    got = gradients.read()
                    near("gradients of the others", got[:, possible], gradient[:, possible], F32, slack=1024)
                    assert torch.equal(got[:, 1], rest), (mode, version, got[:, 1])

        # Labels and lengths that are none.
        desc, probs = describe(ACTIVATIONS, ZERO, "_v8"), Tensor(x)
        costs, gradients = Output((1, 1, 3), F32, "nchw", 1.0, 0.0), Output((6, 3, 5), F32, "nchw", 1.0, 0.0)
        for wrong in (
            ([5, 2, 3, 3, 2], [2, 2, 1], [5, 3, 4]), ([0, 2, 3, 3, 2], [2, 2, 1], [5, 3, 4]),
            ([1, 2, 3, 3, 2], [2, 2, 1], [5, 7, 4]), ([1, 2, 3, 3, 2], [2, -2, 1], [5, 3, 4])
        ):
            got = status(
                "cudnnCTCLoss", h, *probs, *map(ints, wrong), costs.data, *gradients, 0, desc, None, c_size_t(0)
            )
            same("wrong labels", got, BAD_PARAM)
            arrays = [device_ints(values) for values in wrong]
            got = status(
                "cudnnCTCLoss_v8", h, 0, desc, *probs, *map(pointer, arrays), costs.data, *gradients, c_size_t(0), None
            )
            same("wrong labels in device memory", got, BAD_PARAM)
        assert costs.unchanged() and gradients.unchanged()
        """,
    )


def test_recurrent_networks(on_simgpu):
    passes(
        on_simgpu,
        """
        from cudnn_recurrent import *

        for cell in range(4):
            for layers, both, dtype in (
                (1, False, F32), (2, True, F64), (2, False, F16), (1, True, F32), (2, True, F32)
            ):
                for order, lengths in (
                    (STEPS, [6, 6, 6]), (STEPS, [2, 7, 1, 4]), (PACKED, [5, 3, 3, 1]), (BATCHES, [1, 4, 3])
                ):
                    what = f"cell {cell} layers {layers} both {both} order {order} lengths {lengths}"
                    network = Network(
                        h, cell, layers, both, dtype=dtype, inputs=random.randint(1, 6), hidden=random.randint(2, 7)
                    )
                    check(what, network, lengths, order, states=random.random() < 0.7)
                    check(what, network, lengths, order, training=False)
            for bias in range(4):
                check(f"cell {cell} bias {bias}", Network(h, cell, 2, True, bias), [4, 5, 2], STEPS)
            check(
                f"cell {cell} without input matrix", Network(h, cell, 2, inputs=4, hidden=4, skip=True), [3, 2], STEPS
            )
        for layers, both, dtype in ((1, False, F32), (2, True, F64), (2, False, F32)):
            for order, lengths in ((STEPS, [5, 2, 4]), (PACKED, [4, 4, 1]), (BATCHES, [3, 5])):
                network = Network(h, LSTM, layers, both, inputs=3, hidden=6, projection=2, dtype=dtype)
                check(f"projection layers {layers} both {both} order {order}", network, lengths, order)
        check("a larger one", Network(h, LSTM, 2, True, inputs=70, hidden=65), [9, 20, 3, 17, 1], STEPS)
        """,
    )


def test_clipping_and_dropout_of_recurrent_networks(on_simgpu):
    passes(
        on_simgpu,
        """
        from cudnn_recurrent import *

        # The cell state is clipped to ±0.3 after each step.
        network = Network(h, LSTM, inputs=3, hidden=4)
        call("cudnnRNNSetClip_v8", network.desc, 1, 1, -0.3, 0.3)
        x = Sequences(noise(6, 2, 3), [6, 6], STEPS, F32)
        y = Sequences(noise(6, 2, 4) * NAN, [6, 6], STEPS, F32)
        state = Tensor(noise(1, 2, 4) * NAN)
        call(
            "cudnnRNNForward", h, network.desc, 0, pointer(device_ints([6, 6])), x.descriptor, x.data,
            y.descriptor, y.data, None, None, None, state.descriptor, None, state.data, c_size_t(network.bytes),
            pointer(network.space), c_size_t(0), None, c_size_t(0), None
        )
        w = {name: parameter.detach() for name, parameter in network.torch.named_parameters()}
        out, c = torch.zeros(2, 4, dtype=F64), torch.zeros(2, 4, dtype=F64)
        for step in range(6):
            gates = x.set[step] @ w["weight_ih_l0"].T + w["bias_ih_l0"] + out @ w["weight_hh_l0"].T + w["bias_hh_l0"]
            i, f, g, o = gates.chunk(4, 1)
            c = (f.sigmoid() * c + i.sigmoid() * g.tanh()).clamp(-0.3, 0.3)
            out = o.sigmoid() * c.tanh()
            near("clipped y", y.read()[step], out, F32, slack=1024)
        near("clipped cell", state.read()[0], c, F32, slack=1024)

        # Dropout between two layers that hand on what they get.
        size, steps, batch = 64, 5, 8
        bytes_ = answer("cudnnDropoutGetStatesSize", h)
        for probability in (0.25, 0.5):
            states = torch.zeros(bytes_, dtype=torch.uint8).cuda()
            dropout = Descriptor("Dropout")
            call(
                "cudnnSetDropoutDescriptor", dropout, h, c_float(probability), pointer(states),
                c_size_t(bytes_), c_uint64(SEED)
            )
            network = Network(h, RELU, 2, bias=NO_BIAS, inputs=size, hidden=size, dropout=dropout)
            for name, parameter in network.torch.named_parameters():
                parameter.data.copy_(torch.eye(size) if "ih" in name else torch.zeros(size, size))
            space = torch.zeros(network.space.numel())
            for at, name, rows in network.places():
                values = dict(network.torch.named_parameters())[name].data[rows].flatten().float()
                space[at : at + values.numel()] = values
            network.space = space.cuda()
            check("dropout is for training", network, [steps] * batch, STEPS, states=False, training=False)
            lengths, masks = [steps] * batch, []
            for repeat in range(2):
                x = Sequences(torch.ones(steps, batch, size, dtype=F64), lengths, STEPS, F32)
                y = Sequences(torch.full((steps, batch, size), NAN, dtype=F64), lengths, STEPS, F32)
                dy, dx = (Sequences(noise(steps, batch, size), lengths, STEPS, F32) for _ in range(2))
                work, reserve = c_size_t(), c_size_t()
                call("cudnnGetRNNTempSpaceSizes", h, network.desc, 1, x.descriptor, byref(work), byref(reserve))
                room = torch.zeros(reserve.value, dtype=torch.uint8).cuda()
                weights = (
                    c_size_t(network.bytes), pointer(network.space), c_size_t(0), None, c_size_t(reserve.value),
                    pointer(room)
                )
                lens = device_ints(lengths)
                call(
                    "cudnnRNNForward",
                    h,
                    network.desc,
                    1,
                    pointer(lens),
                    x.descriptor,
                    x.data,
                    y.descriptor,
                    y.data,
                    *[None] * 6,
                    *weights
                )
                got = y.read()
                kept = got != 0
                near("what is kept", got, kept / (1 - torch.tensor(probability).double()), F32)
                count = got.numel()
                spread = (count * probability * (1 - probability)) ** 0.5
                assert abs(count - int(kept.sum()) - count * probability) < 6 * spread, (int(kept.sum()), SEED)
                masks.append(kept)
                call(
                    "cudnnRNNBackwardData_v8",
                    h,
                    network.desc,
                    pointer(lens),
                    y.descriptor,
                    y.data,
                    dy.data,
                    dx.descriptor,
                    dx.data,
                    *[None] * 8,
                    *weights
                )
                near("gradient through dropout", dx.read(), dy.set * got, F32)
                gradients = torch.zeros_like(network.space.cpu()).cuda()
                call(
                    "cudnnRNNBackwardWeights_v8", h, network.desc, 0, pointer(lens), x.descriptor, x.data, None,
                    None, y.descriptor, y.data, c_size_t(network.bytes), pointer(gradients), c_size_t(0), None,
                    c_size_t(reserve.value), pointer(room)
                )
                dw = gradients.cpu().double()
                at = {name: at for at, name, rows in network.places()}
                want = (dy.set * (got > 0)).flatten(0, 1).T @ got.flatten(0, 1)
                near(
                    "dw behind dropout", dw[at["weight_ih_l1"] :][: size * size].view(size, size), want, F32, slack=1024
                )
                want = (dy.set * got).flatten(0, 1).T @ x.set.flatten(0, 1)
                near(
                    "dw before dropout", dw[at["weight_ih_l0"] :][: size * size].view(size, size), want, F32, slack=1024
                )
            assert not torch.equal(*masks)

        # A gradient call with a reserve space that no forward call has filled.
        room = torch.zeros(reserve.value, dtype=torch.uint8).cuda()
        before = dx.read()
        got = status(
            "cudnnRNNBackwardData_v8",
            h,
            network.desc,
            pointer(lens),
            y.descriptor,
            y.data,
            dy.data,
            dx.descriptor,
            dx.data,
            *[None] * 8,
            *weights[:-1],
            pointer(room)
        )
        same("an empty reserve space", got, NOT_SUPPORTED)
        got = status(
            "cudnnRNNBackwardData_v8",
            h,
            network.desc,
            pointer(lens),
            y.descriptor,
            y.data,
            dy.data,
            dx.descriptor,
            dx.data,
            *[None] * 8,
            *weights[:-2],
            c_size_t(reserve.value - 1),
            pointer(room)
        )
        same("a short reserve space", got, BAD_PARAM)
        assert torch.equal(dx.read(), before)
        """,
    )


def test_convolutions(on_simgpu):
    passes(
        on_simgpu,
        """
        class Performance(ctypes.Structure):
            _fields_ = [
                ("algo", c_int), ("status", c_int), ("time", c_float), ("memory", c_size_t),
                ("determinism", c_int), ("math", c_int), ("reserved", c_int * 3)
            ]

        relu, identity = (Descriptor("Activation", "cudnnSetActivationDescriptor", mode, 1, 0.0) for mode in (1, 5))

        def exact(x, w, geometry):
            pad, stride, dilation, groups, flipped = geometry
            w = w.flip(*range(2, w.dim())) if flipped else w
            return (F.conv2d, F.conv3d)[x.dim() - 4](x, w, None, stride, pad, dilation, groups)

        def draw():
            axes = random.choice((1, 2, 2, 2, 3))
            while True:
                groups = random.choice((1, 1, 1, 2, 3))
                n, c, k = random.randint(1, 3), groups * random.randint(1, 3), groups * random.randint(1, 4)
                size = [random.randint(1, 9 if axes < 3 else 5) for _ in range(axes)]
                window = [random.randint(1, 4) for _ in range(axes)]
                pad, stride = [random.randint(0, 2) for _ in range(axes)], [random.randint(1, 3) for _ in range(axes)]
                dilation = [random.randint(1, 2) for _ in range(axes)]
                if axes == 1:
                    size, window, pad, stride, dilation = (
                        [1, *size], [1, *window], [0, *pad], [1, *stride], [1, *dilation]
                    )
                if all(s + 2 * p >= (w - 1) * d + 1 for s, p, w, d in zip(size, pad, window, dilation)):
                    return (
                        (n, c, *size),
                        (k, c // groups, *window),
                        (pad, stride, dilation, groups, random.random() < 0.3),
                    )

        for trial in range(48):
            dtype = DTYPES[trial % 4]
            x_dims, w_dims, geometry = draw()
            pad, stride, dilation, groups, flipped = geometry
            desc = Descriptor(
                "Convolution", "cudnnSetConvolutionNdDescriptor", len(pad), ints(pad), ints(stride),
                ints(dilation), int(not flipped), CODES[F64 if dtype == F64 else F32]
            )
            call("cudnnSetConvolutionGroupCount", desc, groups)
            what = f"convolution {x_dims} {w_dims} {geometry}"
            any_layout = lambda: random.choice(LAYOUTS)
            x, w = Tensor(noise(*x_dims), dtype, any_layout()), Filter(
                noise(*w_dims), dtype, random.choice(LAYOUTS[:2])
            )
            leaves = [x.set.clone().requires_grad_(), w.set.clone().requires_grad_()]
            want = exact(*leaves, geometry)
            y_dims = tuple(want.shape)
            sizes = (c_int * len(y_dims))()
            call("cudnnGetConvolutionNdForwardOutputDim", desc, x.descriptor, w.descriptor, len(y_dims), sizes)
            same("output sizes", tuple(sizes), y_dims)
            dy = Tensor(noise(*y_dims), dtype, any_layout())
            gradients = torch.autograd.grad(want, leaves, dy.set)
            want = want.detach()
            size_y = 1 + exact(x.set.abs(), w.set.abs(), geometry)
            for y in outputs(y_dims, dtype, any_layout()):
                call("cudnnConvolutionForward", h, y.alpha, *x, *w, desc, 0, None, c_size_t(0), y.beta, *y)
                y.check(what, want, size_y)
            for dx in outputs(x_dims, dtype, any_layout()):
                call("cudnnConvolutionBackwardData", h, dx.alpha, *w, *dy, desc, 1, None, c_size_t(0), dx.beta, *dx)
                dx.check(f"dx of {what}", gradients[0], slack=512)
            for dw in outputs(w_dims, dtype, w.layout, FilterOutput):
                call("cudnnConvolutionBackwardFilter", h, dw.alpha, *x, *dy, desc, 1, None, c_size_t(0), dw.beta, *dw)
                dw.check(f"dw of {what}", gradients[1], slack=512)
            bias_dims = (1, y_dims[1], *[1] * len(pad))
            for db in outputs(bias_dims, dtype, "nchw"):
                call("cudnnConvolutionBackwardBias", h, db.alpha, *dy, db.beta, *db)
                db.check(f"db of {what}", dy.set.sum((0, *range(2, dy.set.dim())), keepdim=True), slack=512)
            bias = Tensor(noise(*bias_dims), dtype)
            for alpha1, alpha2 in ((1.0, 0.0), (1.5, 0.5)):
                for activation, function in ((relu, torch.relu), (identity, lambda t: t)):
                    y = Output(y_dims, dtype, any_layout(), 1.0, 0.0)
                    z = Tensor(noise(*y_dims), dtype, any_layout()) if alpha2 else y
                    call(
                        "cudnnConvolutionBiasActivationForward", h, scale(alpha1, dtype), *x, *w, desc, 1, None,
                        c_size_t(0), scale(alpha2, dtype), *z, *bias, activation, *y
                    )
                    added = alpha2 * z.set if alpha2 else 0
                    y.check(f"fused {what}", function(alpha1 * want + added + bias.set), size_y + 4)
            # z may be y.
            y = Tensor(noise(*y_dims), dtype, any_layout())
            call(
                "cudnnConvolutionBiasActivationForward", h, scale(1.0, dtype), *x, *w, desc, 1, None,
                c_size_t(0), scale(0.5, dtype), *y, *bias, relu, *y
            )
            near(f"fused in place {what}", y.read(), (want + 0.5 * y.set + bias.set).relu(), dtype, size_y + 4)

            if trial % 8 == 0:
                for direction, args in (
                    ("Forward", (x, w, y)),
                    ("BackwardData", (w, dy, dx)),
                    ("BackwardFilter", (x, dy, dw)),
                ):
                    first, second, third = (t.descriptor for t in args)
                    most = answer(f"cudnnGetConvolution{direction}AlgorithmMaxCount", h, kind=c_int)
                    assert most >= 1
                    descs = (first, second, desc, third)
                    found, count = (Performance * 8)(), c_int()
                    datas = []
                    for t in args:
                        datas += [t.descriptor, t.data]
                    datas.insert(4, desc)
                    for name, more, behind in (
                        (f"cudnnGetConvolution{direction}Algorithm_v7", descs, ()),
                        (f"cudnnFindConvolution{direction}Algorithm", descs, ()),
                        (f"cudnnFindConvolution{direction}AlgorithmEx", datas, (None, c_size_t(0))),
                    ):
                        count.value = 0
                        found[0].algo = found[0].status = -1
                        found[1].algo = -5
                        call(name, h, *more, 8, byref(count), found, *behind)
                        assert 1 <= count.value <= 8 and found[0].status == 0, name
                        assert 0 <= found[0].algo < {"Forward": 8, "BackwardData": 6, "BackwardFilter": 7}[direction]
                        same("untouched", found[count.value].algo, -5)
                        size = answer(f"cudnnGetConvolution{direction}WorkspaceSize", h, *descs, found[0].algo)
                        same("workspace", size, found[0].memory)
                        same("none requested", status(name, h, *more, 0, byref(count), found, *behind), BAD_PARAM)
        """,
    )


def test_misuse_has_cudnns_statuses_and_writes_nothing(on_simgpu):
    result = passes(
        on_simgpu,
        """
        dims = (2, 3, 4, 4)
        one, zero = scale(1.0, F32), scale(0.0, F32)
        x, y, flat = Tensor(noise(*dims)), Tensor(noise(*dims)), Tensor(noise(1, 1, 1, 1))
        wrong, deeper = Tensor(noise(2, 4, 4, 4)), Tensor(noise(2, 3, 4, 4, 1))
        small, stat = Tensor(noise(1, 3, 1, 1).abs()), Tensor(noise(1, 3, 1, 1))
        w = Filter(noise(5, 3, 3, 3))
        conv = Descriptor(
            "Convolution", "cudnnSetConvolutionNdDescriptor", 2, ints((1, 1)), ints((1, 1)), ints((1, 1)), 1, 0
        )
        pool = Descriptor("Pooling", "cudnnSetPoolingNdDescriptor", 0, 1, 2, ints((2, 2)), ints((0, 0)), ints((2, 2)))
        act = Descriptor("Activation", "cudnnSetActivationDescriptor", 1, 1, 0.0)
        op = Descriptor("OpTensor", "cudnnSetOpTensorDescriptor", 0, 0, 1)
        total = Descriptor("ReduceTensor", "cudnnSetReduceTensorDescriptor", 0, 0, 1, 0, 0)
        winner = Descriptor("ReduceTensor", "cudnnSetReduceTensorDescriptor", 3, 0, 1, 1, 0)
        lrn = Descriptor("LRN", "cudnnSetLRNDescriptor", 5, 1e-4, 0.75, 2.0)
        out = Tensor(noise(2, 5, 4, 4))
        pooled = Tensor(noise(2, 3, 2, 2))
        bytes_ = c_size_t(0)

        # Each call is right, and wrong with any one of these arguments null or of other sizes.
        CALLS = {
            "cudnnAddTensor": (one, *x, zero, *y),
            "cudnnTransformTensor": (one, *x, zero, *y),
            "cudnnScaleTensor": (*y, one),
            "cudnnSetTensor": (*y, one),
            "cudnnOpTensor": (op, one, *x, one, *x, zero, *y),
            "cudnnActivationForward": (act, one, *x, zero, *y),
            "cudnnActivationBackward": (act, one, *x, *x, *x, zero, *y),
            "cudnnSoftmaxForward": (1, 1, one, *x, zero, *y),
            "cudnnSoftmaxBackward": (1, 1, one, *x, *x, zero, *y),
            "cudnnPoolingForward": (pool, one, *x, zero, *pooled),
            "cudnnPoolingBackward": (pool, one, *pooled, *pooled, *x, zero, *y),
            "cudnnLRNCrossChannelForward": (lrn, 0, one, *x, zero, *y),
            "cudnnLRNCrossChannelBackward": (lrn, 0, one, *x, *x, *x, zero, *y),
            "cudnnBatchNormalizationForwardInference": (
                1, one, zero, *x, *y, small.descriptor, *[small.data] * 4, 1e-5
            ),
            "cudnnBatchNormalizationForwardTraining": (
                1, one, zero, *x, *y, *small, small.data, 0.1, stat.data, stat.data, 1e-5, stat.data, stat.data
            ),
            "cudnnBatchNormalizationBackward": (
                1, one, zero, one, zero, *x, *x, *y, *small, stat.data, stat.data, 1e-5, small.data, small.data
            ),
            "cudnnConvolutionForward": (one, *x, *w, conv, 0, None, bytes_, zero, *out),
            "cudnnConvolutionBackwardData": (one, *w, *out, conv, 0, None, bytes_, zero, *y),
            "cudnnConvolutionBackwardFilter": (one, *x, *out, conv, 0, None, bytes_, zero, *w),
            "cudnnConvolutionBackwardBias": (one, *x, zero, *small),
        }
        tensors = (x, y, wrong, flat, small, stat, out, pooled, w)

        def untouched(what):
            assert all(t.unchanged() for t in tensors), what

        for name, arguments in CALLS.items():
            for position, value in enumerate(arguments):
                if isinstance(value, (int, float, c_size_t)) or value is None:
                    continue
                replacements = [None]
                if isinstance(value, Descriptor) and value.kind == "Tensor":
                    replacements += [wrong.descriptor, deeper.descriptor, Descriptor("Tensor")]
                elif isinstance(value, Descriptor) and value.kind == "Filter":
                    replacements += [Filter(noise(5, 2, 3, 3)).descriptor, Descriptor("Filter")]
                for other in replacements:
                    if name in ("cudnnScaleTensor", "cudnnSetTensor") and other in (
                        wrong.descriptor,
                        deeper.descriptor,
                    ):
                        continue  # any sizes will do
                    changed = [*arguments[:position], other, *arguments[position + 1 :]]
                    got = status(name, h, *changed)
                    same(f"{name} with argument {position} as {other}", got, BAD_PARAM)
                    untouched(name)
            # No handle, one that nobody made, and one that was destroyed.
            gone = create()
            call("cudnnDestroy", gone)
            for handle in (None, c_void_p(0xDEAD0000), gone):
                got = status(name, handle, *arguments)
                same(f"{name} with handle {handle}", got, BAD_PARAM if handle is None else NOT_INITIALIZED)
                untouched(name)
            call(name, h, *arguments)
            for t in tensors:
                t.before = t.device.cpu()

        # What batch normalization is told must fit together.
        plane = Tensor(noise(1, 3, 4, 4).abs())
        for mode, params, epsilon, mean, inverse in (
            (0, small, 1e-5, small, small), (1, plane, 1e-5, small, small), (3, small, 1e-5, small, small),
            (1, small, -1e-5, small, small), (1, small, 1e-5, None, small), (1, small, 1e-5, small, None)
        ):
            lone = (mean and mean.data, inverse and inverse.data)
            got = status(
                "cudnnBatchNormalizationBackward", h, mode, one, zero, one, zero, *x, *x, *y, *params,
                stat.data, stat.data, epsilon, *lone
            )
            same("gradient of batch normalization", got, BAD_PARAM)
            for first, second in ((lone, (None, None)), ((None, None), lone)):
                got = status(
                    "cudnnBatchNormalizationForwardTraining", h, mode, one, zero, *x, *y, *params, small.data,
                    0.1, *first, epsilon, *second
                )
                same("batch normalization", got, BAD_PARAM)
        untouched("batch normalization")

        # Recurrent networks: a short or missing weight space, missing or other data, a state of other sizes.
        dropout = Descriptor("Dropout")
        call("cudnnSetDropoutDescriptor", dropout, h, c_float(0.0), None, c_size_t(0), c_uint64(0))
        net = Descriptor("RNN", "cudnnSetRNNDescriptor_v8", 0, 2, 2, 0, 0, 0, 0, 0, 4, 4, 4, 1, dropout, 1)
        room = answer("cudnnGetRNNWeightSpaceSize", h, net)
        sequence, longer, wider = (
            Descriptor("RNNData", "cudnnSetRNNDataDescriptor", 0, 0, steps, 3, width, ints([steps, 2, 1]), None)
            for steps, width in ((2, 4), (3, 4), (2, 5))
        )
        weights, state, other = Tensor(noise(1, 1, 1, 400)), Tensor(noise(1, 3, 4)), Tensor(noise(1, 2, 4))
        right = [
            net, 0, None, sequence, x.data, sequence, y.data, *state, None, state.descriptor, None, None,
            c_size_t(room), weights.data, c_size_t(0), None, c_size_t(0), None
        ]
        for position, value in (
            (0, None), (0, Descriptor("RNN")), (3, None), (3, longer), (3, wider), (4, None), (5, longer),
            (5, wider), (5, Descriptor("RNNData")), (6, None), (7, None), (7, other.descriptor),
            (13, c_size_t(room - 4)), (14, None)
        ):
            changed = [*right[:position], value, *right[position + 1 :]]
            same(f"recurrent network, argument {position}", status("cudnnRNNForward", h, *changed), BAD_PARAM)
        changed = [right[0], 1, *right[2:]]
        same("training without a reserve space", status("cudnnRNNForward", h, *changed), BAD_PARAM)
        untouched("recurrent networks")
        work, reserve = c_size_t(7), c_size_t(7)
        call("cudnnGetRNNTempSpaceSizes", h, net, 0, sequence, byref(work), byref(reserve))
        same("inference needs no reserve space", reserve.value, 0)
        call("cudnnRNNForward", h, *right)
        y.before = y.device.cpu()

        # Indices without room for them.
        for pointer_, room in ((None, 100), (x.data, 3)):
            got = status("cudnnReduceTensor", h, winner, pointer_, c_size_t(room), None, bytes_, one, *x, zero, *flat)
            same("indices", got, BAD_PARAM)
        got = status("cudnnReduceTensor", h, total, None, bytes_, None, bytes_, one, *x, zero, *wrong)
        same("reduction to other sizes", got, BAD_PARAM)
        same(
            "size without an answer",
            status("cudnnGetReductionWorkspaceSize", h, total, x.descriptor, flat.descriptor, None),
            BAD_PARAM,
        )
        same(
            "wide indices",
            status(
                "cudnnReduceTensor", h,
                Descriptor("ReduceTensor", "cudnnSetReduceTensorDescriptor", 3, 0, 1, 1, 1), x.data,
                c_size_t(1000), None, bytes_, one, *x, zero, *flat
            ),
            NOT_SUPPORTED,
        )
        same("softmax of an unknown mode", status("cudnnSoftmaxForward", h, 1, 2, one, *x, zero, *y), BAD_PARAM)
        same("softmax of an unknown algorithm", status("cudnnSoftmaxForward", h, 3, 1, one, *x, zero, *y), BAD_PARAM)
        same(
            "dropout that was never set",
            status("cudnnDropoutForward", h, Descriptor("Dropout"), *x, *y, x.data, c_size_t(99)),
            NOT_SUPPORTED,
        )
        same(
            "spatial transformer that was never set",
            status("cudnnSpatialTfSamplerForward", h, Descriptor("SpatialTransformer"), one, *x, x.data, zero, *y),
            BAD_PARAM,
        )
        overlapping = Descriptor("Tensor", "cudnnSetTensorNdDescriptor", 0, 4, ints(dims), ints((16, 16, 4, 1)))
        got = status("cudnnTransformTensor", h, one, *x, zero, overlapping, y.data)
        assert got in (BAD_PARAM, NOT_SUPPORTED), got
        untouched("misuse")

        # What is refused.
        for _ in range(2):
            same("attention", status("cudnnMultiHeadAttnForward", h, *[None] * 21), NOT_SUPPORTED)
            same("columns", status("cudnnIm2Col", h, *x, w.descriptor, conv, y.data), NOT_SUPPORTED)
        assert {"cudnnMultiHeadAttnForward", "cudnnIm2Col"} <= OURS
        untouched("refused functions")
        same("a handle without room", status("cudnnCreate", None), BAD_PARAM)
        """,
    )
    for name in ("cudnnMultiHeadAttnForward", "cudnnIm2Col"):
        said = re.findall(rf"^gpucompat: warning: fn={name} is not served .*$", result.err, re.MULTILINE)
        assert len(said) == 1, said


def test_handles_streams_and_order(on_simgpu):
    passes(
        on_simgpu,
        """
        one, zero = scale(1.0, F32), scale(0.0, F32)
        stream, out, state = torch.cuda.Stream(), c_void_p(), c_int(-1)
        call("cudnnGetStream", h, byref(out))
        assert not out.value
        call("cudnnSetStream", h, c_void_p(stream.cuda_stream))
        call("cudnnGetStream", h, byref(out))
        same("stream", out.value, stream.cuda_stream)
        call("cudnnQueryRuntimeError", h, byref(state), 0, None)
        same("runtime error", state.value, 0)
        same("nowhere to answer", status("cudnnQueryRuntimeError", h, None, 0, None), BAD_PARAM)

        # Copies to the device, calls and copies back follow each other on the handle's stream.
        for _ in range(5):
            values = torch.randn(2, 3, 64, 64)
            x, y = Tensor(values.double() * 0), Output((2, 3, 64, 64), F32, "nchw", 1.0, 0.0)
            pinned, back = values.pin_memory(), torch.empty(2, 3, 64, 64).pin_memory()
            torch.cuda.synchronize()
            with torch.cuda.stream(stream):
                x.device.copy_(pinned.view(-1), non_blocking=True)
                call("cudnnScaleTensor", h, *x, scale(3.0, F32))
                call("cudnnTransformTensor", h, one, *x, zero, *y)
                back.view(-1).copy_(y.device, non_blocking=True)
            stream.synchronize()
            assert torch.equal(back, 3 * values), SEED
        second = create()
        assert second.value != h.value
        call("cudnnDestroy", second)
        call("cudnnDestroy", h)
        same("destroyed", status("cudnnScaleTensor", h, *x, one), NOT_INITIALIZED)
        """,
        SIMGPU_DELAY_US="300",
    )


def test_every_served_function_was_called(request):
    chosen = {item.name for item in request.session.items if item.path == pathlib.Path(__file__)}
    written = {name for name in vars(sys.modules[__name__]) if name.startswith("test_")}
    if chosen != written:
        pytest.skip("says something only where the whole file runs")
    assert LEGACY <= COVERED, sorted(LEGACY - COVERED)
    assert STATE <= LEGACY
