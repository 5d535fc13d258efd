"""Recurrent networks of cuDNN's v8 interface beside PyTorch's on the CPU, for scripts."""

import torch

from cudnn import *

RELU, TANH, LSTM, GRU = range(4)
NO_BIAS, INPUT_BIAS, DOUBLE_BIAS, RECURRENT_BIAS = range(4)
STEPS, PACKED, BATCHES = range(3)
FILL = -7.5


class Sequences:
    """[steps, batch, vector] in one of cuDNN's three layouts, NaN where a sequence has ended."""

    def __init__(self, values, lengths, order, dtype):
        self.lengths, self.order, self.dtype = lengths, order, dtype
        steps, batch, vector = self.shape = tuple(values.shape)
        self.valid = torch.arange(steps)[:, None] < torch.tensor(lengths)[None, :]
        self.set = rounded(values, dtype)
        there = values.masked_fill(~self.valid[:, :, None], NAN).to(dtype)
        memory = {STEPS: lambda: there, PACKED: lambda: there[self.valid], BATCHES: lambda: there.transpose(0, 1)}[
            order
        ]()
        self.device = memory.contiguous().cuda()
        fill = torch.tensor([FILL]).to(dtype)
        self.descriptor = Descriptor(
            "RNNData", "cudnnSetRNNDataDescriptor", CODES[dtype], order, steps, batch, vector, ints(lengths),
            pointer(fill)
        )
        self.data = pointer(self.device)

    def read(self):
        now = self.device.cpu().double()
        if self.order == PACKED:
            values = torch.full(self.shape, FILL, dtype=F64)
            values[self.valid] = now
            return values
        return now.transpose(0, 1) if self.order == BATCHES else now


class Network:
    """A network of PyTorch's, and the same under cuDNN's descriptor with its weights in a weight space."""

    def __init__(
        self, handle, cell, layers=1, both=False, bias=DOUBLE_BIAS, inputs=5, hidden=4, projection=None,
        dtype=F32, dropout=None, skip=False
    ):
        self.handle = handle
        self.cell, self.layers, self.dtype, self.hidden, self.bias = cell, layers, dtype, hidden, bias
        self.directions, self.inputs, self.width = 1 + both, inputs, projection or hidden
        kind = {LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}.get(cell, torch.nn.RNN)
        more = {"nonlinearity": "relu" if cell == RELU else "tanh"} if cell in (RELU, TANH) else {}
        more.update({"proj_size": projection} if projection else {})
        self.torch = kind(inputs, hidden, layers, bias=bias != NO_BIAS, bidirectional=both, dtype=F64, **more)
        for name, parameter in self.torch.named_parameters():
            values = rounded(0.5 * torch.randn_like(parameter), dtype)
            if (
                name.startswith("bias_hh")
                and bias == INPUT_BIAS
                or name.startswith("bias_ih")
                and bias == RECURRENT_BIAS
            ):
                values.zero_()
            if skip and name.startswith("weight_ih_l0"):
                values = torch.eye(hidden, dtype=F64).repeat(len(values) // hidden, 1)
            parameter.data.copy_(values)
        self.dropout = dropout or Descriptor("Dropout")
        if dropout is None:
            call("cudnnSetDropoutDescriptor", self.dropout, handle, c_float(0.0), None, c_size_t(0), c_uint64(0))
        math = F64 if dtype == F64 else F32
        self.desc = Descriptor(
            "RNN", "cudnnSetRNNDescriptor_v8", 0, cell, bias, int(both), int(skip), CODES[dtype], CODES[math],
            0, inputs, hidden, self.width, layers, self.dropout, 1
        )
        call("cudnnBuildRNNDynamic", self.handle, self.desc, 4)
        self.bytes = answer("cudnnGetRNNWeightSpaceSize", self.handle, self.desc)
        self.skip = skip
        space = torch.full((self.bytes // self.element_bytes(),), NAN).to(dtype)
        for at, name, rows in self.places():
            values = dict(self.torch.named_parameters())[name].data[rows].flatten()
            space[at : at + values.numel()] = values.to(dtype)
        assert not space.isnan().any(), "weights without a place"
        self.space = space.cuda()

    def element_bytes(self):
        return torch.empty(0, dtype=self.dtype).element_size()

    def places(self):
        """Where cudnnGetRNNWeightParams says that rows of PyTorch's parameters lie, in elements."""
        gates = {LSTM: 4, GRU: 3}.get(self.cell, 1)
        base, unit = 1 << 20, self.element_bytes()
        for pseudo in range(self.layers * self.directions):
            layer, suffix = pseudo // self.directions, "_reverse" * (pseudo % self.directions)
            for number in range(2 * gates + (self.width != self.hidden)):
                matrix, bias = Descriptor("Tensor"), Descriptor("Tensor")
                at, bias_at = c_void_p(), c_void_p()
                call(
                    "cudnnGetRNNWeightParams", self.handle, self.desc, pseudo, c_size_t(self.bytes),
                    c_void_p(base), number, matrix, byref(at), bias, byref(bias_at)
                )
                side = "ih" if number < gates else "hh" if number < 2 * gates else "hr"
                rows = (
                    slice(None)
                    if side == "hr"
                    else slice(number % gates * self.hidden, (number % gates + 1) * self.hidden)
                )
                name = f"weight_{side}_l{layer}{suffix}"
                wanted = list(dict(self.torch.named_parameters())[name][rows].shape)
                has_matrix = not (self.skip and layer == 0 and side == "ih")
                same("matrix", bool(at.value), has_matrix)
                if has_matrix:
                    same("matrix sizes", self.sizes(matrix), [1, *wanted])
                    yield (at.value - base) // unit, name, rows
                has_bias = side == "ih" and self.bias in (INPUT_BIAS, DOUBLE_BIAS)
                has_bias |= side == "hh" and self.bias in (RECURRENT_BIAS, DOUBLE_BIAS)
                same("bias", bool(bias_at.value), has_bias)
                if has_bias:
                    same("bias sizes", self.sizes(bias), [1, wanted[0], 1])
                    yield (bias_at.value - base) // unit, f"bias_{side}_l{layer}{suffix}", rows

    def sizes(self, desc):
        kind, rank, sizes, strides = c_int(), c_int(), (c_int * 8)(), (c_int * 8)()
        call("cudnnGetTensorNdDescriptor", desc, 8, byref(kind), byref(rank), sizes, strides)
        same("type", kind.value, CODES[self.dtype])
        return list(sizes[: rank.value])


def check(what, network, lengths, order, states=True, training=True):
    """One call of each function, compared with PyTorch's network."""
    dtype, steps, batch = network.dtype, max(lengths) + (order != PACKED and random.randint(0, 1)), len(lengths)
    slack = {F64: 1 << 12, F32: 1 << 12, F16: 1 << 15}[dtype]
    x = Sequences(noise(steps, batch, network.inputs), lengths, order, dtype)
    y = Sequences(noise(steps, batch, network.directions * network.width) * NAN, lengths, order, dtype)
    lines = network.layers * network.directions
    h_dims, c_dims = (lines, batch, network.width), (lines, batch, network.hidden)
    new = lambda dims: Tensor(noise(*dims), dtype)
    poison = lambda dims: Tensor(noise(*dims) * NAN, dtype)
    hx, cx, hy, cy = new(h_dims), new(c_dims), poison(h_dims), poison(c_dims)
    with_c = network.cell == LSTM
    seq_lengths = device_ints(lengths)
    work, reserve = c_size_t(), c_size_t()
    call(
        "cudnnGetRNNTempSpaceSizes", network.handle, network.desc, int(training), x.descriptor, byref(work),
        byref(reserve)
    )
    reserve_space = torch.zeros(max(1, reserve.value), dtype=torch.uint8).cuda()
    room = (c_size_t(reserve.value), pointer(reserve_space)) if training else (c_size_t(0), None)
    h_args = [hx.descriptor, hx.data if states else None]
    c_args = [cx.descriptor, cx.data if states else None] if with_c else [None, None]
    call(
        "cudnnRNNForward", network.handle, network.desc, int(training), pointer(seq_lengths), x.descriptor,
        x.data, y.descriptor, y.data, *h_args, hy.data, *c_args, cy.data if with_c else None,
        c_size_t(network.bytes), pointer(network.space), c_size_t(work.value), None, *room
    )

    leaves = {"x": x.set, "hx": hx.set if states else hx.set * 0, "cx": cx.set if states else cx.set * 0}
    leaves = {name: values.clone().requires_grad_() for name, values in leaves.items()}
    packed = torch.nn.utils.rnn.pack_padded_sequence(leaves["x"], torch.tensor(lengths), enforce_sorted=False)
    first = (leaves["hx"], leaves["cx"]) if with_c else leaves["hx"]
    out, last = network.torch(packed, first)
    out, _ = torch.nn.utils.rnn.pad_packed_sequence(out, padding_value=FILL, total_length=steps)
    h_last, c_last = last if with_c else (last, None)
    near(f"y {what}", y.read(), out.detach(), dtype, slack=slack)
    near(f"hy {what}", hy.read(), h_last.detach(), dtype, slack=slack)
    if with_c:
        near(f"cy {what}", cy.read(), c_last.detach(), dtype, slack=slack)
    if not training:
        return

    dy, dhy, dcy, dhx, dcx = (
        Sequences(noise(*y.shape), lengths, order, dtype), new(h_dims), new(c_dims), poison(h_dims),
        poison(c_dims)
    )
    dx = Sequences(noise(*x.shape) * NAN, lengths, order, dtype)
    y = Sequences(out.detach(), lengths, order, dtype)
    call(
        "cudnnRNNBackwardData_v8", network.handle, network.desc, pointer(seq_lengths), y.descriptor, y.data,
        dy.data, dx.descriptor, dx.data, *h_args, dhy.data, dhx.data, *c_args,
        *([dcy.data, dcx.data] if with_c else [None, None]), c_size_t(network.bytes), pointer(network.space),
        c_size_t(work.value), None, *room
    )
    before = rounded(torch.randn(network.space.numel(), dtype=F64), dtype)
    gradients = before.to(dtype).cuda()
    call(
        "cudnnRNNBackwardWeights_v8", network.handle, network.desc, 0, pointer(seq_lengths), x.descriptor,
        x.data, *h_args, y.descriptor, y.data, c_size_t(network.bytes), pointer(gradients),
        c_size_t(work.value), None, *room
    )

    total = (out * dy.set * y.valid[:, :, None]).sum() + (h_last * dhy.set).sum()
    total = total + (c_last * dcy.set).sum() if with_c else total
    names = [*leaves] if with_c else ["x", "hx"]
    parameters = dict(network.torch.named_parameters())
    exact = torch.autograd.grad(total, [*(leaves[name] for name in names), *parameters.values()])
    exact = dict(zip([*names, *parameters], exact))
    valid = x.valid[:, :, None].expand(x.shape)
    near(f"dx {what}", dx.read()[valid], exact["x"][valid], dtype, slack=slack)
    near(f"dhx {what}", dhx.read(), exact["hx"], dtype, slack=slack)
    if with_c:
        near(f"dcx {what}", dcx.read(), exact["cx"], dtype, slack=slack)
    wanted = before.clone()
    for at, name, rows in network.places():
        values = exact[name][rows].flatten()
        wanted[at : at + values.numel()] += values
    near(f"dw {what}", gradients.cpu().double(), wanted, dtype, slack=slack)
