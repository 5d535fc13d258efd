"""PyTorch's operators on a device whose kernels are missing: each runs on PyTorch's own CPU kernel.

What lives here: one replacement, made for every `aten` operator that has a CUDA kernel, registered under the
dispatch key CUDA through `torch.library`. A replacement copies its CUDA arguments to the host with their sizes
and strides, calls the same overload there, writes mutated arguments back and lifts fresh results to the device.
Who calls it: `operators::attach`, once, with the addresses of the copies (`memory`). It never touches device
memory itself and never routes a CPU result back through a replacement: host tensors have no CUDA key.

Operators that launch no kernel (allocation, views) and pure library calls (`mm`, `bmm`) stay native: NATIVE.
Operators that have a CUDA kernel but no CPU one are written out (`equivalents`), or raise NotImplementedError
with the operator's name.
"""

import contextlib
import ctypes
import threading

import torch

# Launch no kernel themselves: allocation, views, metadata, one scalar to the host. And the products that are one
# library call, which the library layer serves.
NATIVE = frozenset(
    """
    empty.memory_format empty_strided as_strided view _reshape_alias resize_ set_ set_.source_Storage
    set_.source_Storage_storage_offset set_.source_Tensor view_as_complex view_as_real unfold is_set_to
    _nested_view_from_buffer _efficientzerotensor _local_scalar_dense record_stream is_pinned _pin_memory alias lift
    mm mm.out bmm bmm.out
    """.split()
)


class Memory:
    """The copies that the shim offers: each takes addresses, a size and a stream, and waits unless told not to."""

    def __init__(self, copy_in, copy_out, copy_within):
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_uint64)
        self._in, self._out, self._within = kind(copy_in), kind(copy_out), kind(copy_within)

    def read(self, host, device, size, stream):
        """Device to host; the bytes are there on return."""
        self._check(self._in(host, device, size, stream))

    def write(self, device, host, size, stream):
        """Host to device; the host's bytes may be reused on return."""
        self._check(self._out(device, host, size, stream))

    def move(self, target, source, size, stream):
        """Device to device, in the stream's order."""
        self._check(self._within(target, source, size, stream))

    @staticmethod
    def _check(code):
        if code == 900:
            raise RuntimeError(
                "gpucompat: this operator runs on the host, which a CUDA graph cannot contain; "
                "run it outside of torch.cuda.graph"
            )
        if code:
            raise RuntimeError(f"CUDA error: a copy between host and device failed with driver error {code}")


memory = None


_raw_stream = torch._C._cuda_getCurrentRawStream


def _stream(device):
    return _raw_stream(device.index)


def _span(tensor):
    """Elements from a tensor's first to its last in memory; 0 if it has none."""
    if tensor.is_contiguous():
        return tensor.numel()
    if tensor.numel() == 0:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.size(), tensor.stride()))


def _is_dense(tensor):
    """Whether every place between a tensor's first and last element belongs to exactly one element."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted((stride, size) for size, stride in zip(tensor.size(), tensor.stride()) if size != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def _flags(host, tensor):
    """Carries the lazy conjugation and negation of a tensor over to its host copy."""
    if tensor.is_conj():
        host = torch.ops.aten._conj(host)
    if tensor.is_neg():
        host = torch.ops.aten._neg_view(host)
    return host


def _host_room(tensor):
    """Uninitialised host memory laid out like a tensor."""
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")


def to_host(tensor, read=True):
    """A host copy with the same sizes and strides; `read=False` leaves a dense one's contents open."""
    if tensor._is_zerotensor():
        return torch.zeros(tensor.size(), dtype=tensor.dtype, device="cpu")
    span = _span(tensor)
    host = _host_room(tensor)
    if span and (read or not _is_dense(tensor)):
        memory.read(host.data_ptr(), tensor.data_ptr(), span * tensor.element_size(), _stream(tensor.device))
    return _flags(host, tensor) if tensor.is_conj() or tensor.is_neg() else host


def to_device(host, device):
    """A device tensor with a host tensor's sizes, strides and contents."""
    if host.layout is torch.sparse_coo:
        indices, values = to_device(host._indices(), device), to_device(host._values(), device)
        result = torch.sparse_coo_tensor(indices, values, host.size(), check_invariants=False)
        return result._coalesced_(host.is_coalesced())
    if host.layout is torch.sparse_csr:
        parts = [to_device(part, device) for part in (host.crow_indices(), host.col_indices(), host.values())]
        return torch.sparse_csr_tensor(*parts, host.size(), check_invariants=False)
    if host.layout is not torch.strided:
        raise NotImplementedError(f"gpucompat: a {host.layout} result on a device without kernels")
    if host.is_conj() or host.is_neg():
        host = host.resolve_conj().resolve_neg()
    if not _is_dense(host):
        host = host.clone()
    span = host.numel()
    result = torch.empty_strided(host.size(), host.stride(), dtype=host.dtype, device=device)
    if span:
        memory.write(result.data_ptr(), host.data_ptr(), span * host.element_size(), _stream(device))
    return result


def write_back(tensor, host):
    """Puts a mutated host copy back, resizing the original as the operator resized the copy."""
    # What is stored are the bytes behind the lazy flags, which the original keeps.
    if host.is_conj() != tensor.is_conj():
        host = host.resolve_conj() if host.is_conj() else host.conj_physical()
    elif host.is_conj():
        host = torch.ops.aten._conj(host)
    if host.is_neg() != tensor.is_neg():
        host = host.resolve_neg() if host.is_neg() else host.neg()
    elif host.is_neg():
        host = torch.ops.aten._neg_view(host)
    if host.size() != tensor.size() or host.stride() != tensor.stride():
        tensor.resize_(host.size())
        if host.stride() != tensor.stride():
            needed = (tensor.storage_offset() + _span(host)) * host.element_size()
            if tensor.untyped_storage().nbytes() < needed:
                tensor.untyped_storage().resize_(needed)
            tensor.as_strided_(host.size(), host.stride(), tensor.storage_offset())
    span = _span(host)
    if span:
        memory.write(tensor.data_ptr(), host.data_ptr(), span * host.element_size(), _stream(tensor.device))


def host_generator(generator, device):
    """A host generator at the state of a CUDA one, which moves on: seeds repeat, and so do restored states."""
    if generator is None:
        index = device.index if device.index is not None else torch.cuda.current_device()
        generator = torch.cuda.default_generators[index]
    offset = generator.get_offset()
    generator.set_offset(offset + 4)
    host = torch.Generator("cpu")
    host.manual_seed((generator.initial_seed() * 0x9E3779B97F4A7C15 + offset) & 0x7FFF_FFFF_FFFF_FFFF)
    return host


_default_generator = threading.Lock()


@contextlib.contextmanager
def _seeded_from(device):
    """Lends the host's default generator, for operators that take none, a state of the device's; put back after."""
    with _default_generator:
        state = torch.default_generator.get_state()
        torch.default_generator.set_state(host_generator(None, device).get_state())
        try:
            yield
        finally:
            torch.default_generator.set_state(state)


def _is_cuda_tensor(value):
    return isinstance(value, torch.Tensor) and value.device.type == "cuda"


def _refuse_devices(first, second):
    raise RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {first} and {second}!"
    )


class _Call:
    """The arguments of one call on their way to the host and back."""

    def __init__(self):
        self.device = None
        self.copies = {}
        self.written = []

    def note_device(self, device, lists_differ=False):
        if self.device is None:
            self.device = device
        elif self.device != device and not lists_differ:
            _refuse_devices(self.device, device)

    def tensor(self, value, is_written, is_out, in_list=False):
        """The host copy of a CUDA tensor; the same one for the same tensor."""
        if not _is_cuda_tensor(value):
            return value
        if value.layout is not torch.strided:
            raise NotImplementedError(f"gpucompat: {value.layout} tensors on a device without kernels")
        self.note_device(value.device, in_list)
        known = self.copies.get(id(value))
        if known is None:
            known = (to_host(value, read=not is_out), value)
            self.copies[id(value)] = known
        if is_written and not any(value is row[0] for row in self.written):
            self.written.append((value, known[0]))
        return known[0]


class _Argument:
    """What the schema says of one argument."""

    __slots__ = ("name", "written", "out", "kind", "alias")

    def __init__(self, argument):
        info = argument.alias_info
        self.name = argument.name
        self.written = info is not None and info.is_write
        self.out = self.written and argument.kwarg_only
        self.alias = frozenset(info.before_set) if info is not None else frozenset()
        text = str(argument.type)
        if "Generator" in text:
            self.kind = "generator"
        elif "Tensor" in text:
            self.kind = "tensor"
        elif "Device" in text:
            self.kind = "device"
        else:
            self.kind = "plain"


def _shares_storage(call):
    """Whether two different arguments lie in one storage, one of them written: copies apart would miss writes."""
    places = [value.untyped_storage().data_ptr() for _, value in call.copies.values()]
    if len(set(places)) == len(places):
        return False
    written = {value.untyped_storage().data_ptr() for value, _ in call.written}
    return any(place and place in written and places.count(place) > 1 for place in places)


def _join_storages(call):
    """Makes host copies that share storage as their originals do, so that aliasing writes are seen."""
    groups = {}
    for host, value in call.copies.values():
        groups.setdefault(value.untyped_storage().data_ptr(), []).append(value)
    joined = {}
    for place, values in groups.items():
        values = [value for value in values if _span(value)]
        if len(values) < 2:
            continue
        first = min(value.data_ptr() for value in values)
        last = max(value.data_ptr() + _span(value) * value.element_size() for value in values)
        room = torch.empty(last - first, dtype=torch.uint8, device="cpu")
        memory.read(room.data_ptr(), first, last - first, _stream(values[0].device))
        for value in values:
            offset = value.data_ptr() - first
            size = _span(value) * value.element_size()
            typed = room[offset : offset + size]
            if offset % value.element_size():
                raise NotImplementedError("gpucompat: views of one storage at unaligned distances")
            typed = typed.view(value.dtype)
            joined[id(value)] = _flags(typed.as_strided(value.size(), value.stride()), value)
    for key, (host, value) in list(call.copies.items()):
        if key in joined:
            call.copies[key] = (joined[key], value)
    call.written = [(value, call.copies[id(value)][0]) for value, _ in call.written]


_NUMBERS = (int, float, complex, bool)


def _numbers_as_tensors(arguments, args):
    """Numbers that stand where the schema wants tensors, as tensors that promote as numbers do."""
    like = next((value for value in args if isinstance(value, torch.Tensor)), None)
    if like is None:
        return args
    return [
        torch.scalar_tensor(value, dtype=torch.result_type(like, value))
        if type(value) in _NUMBERS and argument.kind == "tensor" else value
        for argument, value in zip(arguments, args)
    ]


def replacement(op):
    """The function that stands in for an operator overload."""
    schema = op._schema
    arguments = [_Argument(argument) for argument in schema.arguments]
    by_name = {argument.name: argument for argument in arguments}
    returns = [frozenset(item.alias_info.before_set) if item.alias_info and item.alias_info.is_write else None
               for item in schema.returns]
    takes_generator = "generator" in by_name and by_name["generator"].kind == "generator"
    is_random = torch.Tag.nondeterministic_seeded in op.tags and not takes_generator

    tensor_positions = [index for index, item in enumerate(arguments) if item.kind == "tensor" and not item.written]
    tensor_count = sum(item.kind == "tensor" for item in arguments)
    # Host tensors beside device tensors: an elementwise operator takes numbers only, as PyTorch's own does.
    elementwise = torch.Tag.pointwise in op.tags

    def convert(call, argument, value):
        kind = argument.kind
        if kind == "tensor":
            if isinstance(value, torch.Tensor):
                return call.tensor(value, argument.written, argument.out)
            if isinstance(value, (list, tuple)):
                return [call.tensor(item, argument.written, False, in_list=True) for item in value]
            return value
        if kind == "device" and value is not None:
            value = torch.device(value)
            if value.type == "cuda":
                if value.index is None:
                    value = torch.device("cuda", torch.cuda.current_device())
                call.note_device(value)
                return torch.device("cpu")
        return value

    def lift(call, value):
        if isinstance(value, torch.Tensor) and value.device.type == "cpu" and call.device is not None:
            return to_device(value, call.device)
        if isinstance(value, (list, tuple)):
            return type(value)(lift(call, item) for item in value)
        return value

    def compute(call, host_args, host_kwargs):
        if is_random and call.device is not None:
            with _seeded_from(call.device):
                return op(*host_args, **host_kwargs)
        return op(*host_args, **host_kwargs)

    def check_devices(call, args):
        for value in args:
            if isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.dim() > 0:
                _refuse_devices(call.device, value.device)

    def run(*args, **kwargs):
        call = _Call()
        if tensor_positions and any(type(args[index]) in _NUMBERS for index in tensor_positions if index < len(args)):
            args = _numbers_as_tensors(arguments, args)
        host_args = [
            value if type(value) in _NUMBERS or value is None else convert(call, argument, value)
            for argument, value in zip(arguments, args)
        ]
        host_kwargs = {name: convert(call, by_name[name], value) for name, value in kwargs.items()} if kwargs else kwargs
        if elementwise and call.device is not None and len(call.copies) < tensor_count:
            check_devices(call, args)
        if call.written and len(call.copies) > 1 and _shares_storage(call):
            _join_storages(call)
            host_args = [_joined(call, value, host) for value, host in zip(args, host_args)]
            host_kwargs = {name: _joined(call, kwargs[name], host) for name, host in host_kwargs.items()}
        if kwargs and host_kwargs.get("pin_memory"):
            host_kwargs["pin_memory"] = False
        if takes_generator and call.device is not None:
            host_kwargs = {**host_kwargs, "generator": host_generator(kwargs.get("generator"), call.device)}
        result = compute(call, host_args, host_kwargs)
        for value, host in call.written:
            write_back(value, host)
        if not returns:
            return None
        if len(returns) > 1:
            return tuple(
                _original(alias, arguments, by_name, args, kwargs) if alias else lift(call, item)
                for alias, item in zip(returns, result)
            )
        if returns[0]:
            return _original(returns[0], arguments, by_name, args, kwargs)
        return lift(call, result)

    return run


def _joined(call, value, host):
    """The joined copy of an argument, where it or an item of it has one."""
    if isinstance(value, torch.Tensor):
        known = call.copies.get(id(value))
        return known[0] if known is not None else host
    if isinstance(value, (list, tuple)) and isinstance(host, list):
        return [_joined(call, item, copy) for item, copy in zip(value, host)]
    return host


def _original(alias, arguments, by_name, args, kwargs):
    """The argument that a return value is, by the schema's alias sets."""
    for argument, value in zip(arguments, args):
        if argument.alias & alias:
            return value
    for name, value in kwargs.items():
        if by_name[name].alias & alias:
            return value
    raise RuntimeError("gpucompat: a result aliases no argument")


def copy_(self, source, non_blocking=False):
    """`self.copy_(source)`: equal layouts are one copy of bytes; all else is converted on the host."""
    if source.layout is not torch.strided or self.layout is not torch.strided:
        raise NotImplementedError("gpucompat: copies of sparse tensors on a device without kernels")
    plain = (
        self.dtype == source.dtype
        and self.size() == source.size()
        and self.stride() == source.stride()
        and self.is_conj() == source.is_conj()
        and self.is_neg() == source.is_neg()
    )
    if plain and not source._is_zerotensor() and _is_dense(self):
        _refuse_partial_overlap(self, source)
        _copy_bytes(self, source, self.numel() * self.element_size(), non_blocking)
        return self
    host = to_host(source) if source.is_cuda else source
    if not self.is_cuda:
        self.copy_(host)
        return self
    target = to_host(self, read=False)
    target.copy_(host)
    write_back(self, target)
    return self


def _refuse_partial_overlap(target, source):
    """PyTorch's own error for a copy onto a part of its source: which elements would be read first is open."""
    distance = abs(target.data_ptr() - source.data_ptr())
    if target.device == source.device and 0 < distance < target.numel() * target.element_size():
        raise RuntimeError(
            "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single "
            "memory location. Please clone() the tensor before performing the operation."
        )


# Page-locked tensors of copies that may still run, with the event after each: kept until it has passed.
_in_flight = []


def _copy_bytes(target, source, size, non_blocking):
    if size == 0:
        return
    if target.is_cuda and source.is_cuda:
        if target.device != source.device:
            # In the order of both devices' streams, as PyTorch's own peer copies are.
            torch.cuda.current_stream(source.device).synchronize()
        memory.move(target.data_ptr(), source.data_ptr(), size, _stream(target.device))
        if target.device != source.device:
            torch.cuda.current_stream(target.device).synchronize()
        return
    device = target.device if target.is_cuda else source.device
    host = source if target.is_cuda else target
    if non_blocking and host.is_pinned():
        memory.move(target.data_ptr(), source.data_ptr(), size, _stream(device))
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(device))
        _in_flight[:] = [row for row in _in_flight if not row[0].query()]
        _in_flight.append((event, host))
    elif target.is_cuda:
        memory.write(target.data_ptr(), source.data_ptr(), size, _stream(device))
    else:
        memory.read(target.data_ptr(), source.data_ptr(), size, _stream(device))


def _to_host_all(*values):
    return [to_host(value) if _is_cuda_tensor(value) else value for value in values]


def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """The whole convolution, bias included, on the host."""
    x, w, b = _to_host_all(input, weight, bias)
    result = torch.ops.aten.convolution.default(x, w, b, stride, padding, dilation, transposed, output_padding, groups)
    return to_device(result, input.device)


def convolution_backward(grad, input, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, mask):
    """Its three gradients, those that are asked for."""
    g, x, w = _to_host_all(grad, input, weight)
    results = torch.ops.aten.convolution_backward.default(
        g, x, w, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, mask
    )
    return tuple(None if item is None else to_device(item, grad.device) for item in results)


def _gates(value, bias):
    return value if bias is None else value + bias


def lstm_cell(input_gates, hidden_gates, cx, input_bias=None, hidden_bias=None):
    """`_thnn_fused_lstm_cell`: hy, cy, and the activated gates for the backward pass."""
    i_gates, h_gates, c, i_bias, h_bias = _to_host_all(input_gates, hidden_gates, cx, input_bias, hidden_bias)
    gates = _gates(i_gates, i_bias) + _gates(h_gates, h_bias)
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cy = f * c + i * g
    hy = o * cy.tanh()
    device = input_gates.device
    return to_device(hy, device), to_device(cy, device), to_device(torch.cat([i, f, g, o], 1), device)


def lstm_cell_backward(grad_hy, grad_cy, cx, cy, workspace, has_bias):
    """The gradients of the gates and of cx, and of the bias."""
    if grad_hy is None and grad_cy is None:
        return None, None, None
    g_hy, g_cy, c, c_new, gates = _to_host_all(grad_hy, grad_cy, cx, cy, workspace)
    i, f, g, o = gates.chunk(4, 1)
    tanh = c_new.tanh()
    zero = torch.zeros_like(c_new)
    g_hy = zero if g_hy is None else g_hy
    g_c = (zero if g_cy is None else g_cy) + g_hy * o * (1 - tanh * tanh)
    grads = torch.cat(
        [g_c * g * i * (1 - i), g_c * c * f * (1 - f), g_c * i * (1 - g * g), g_hy * tanh * o * (1 - o)], 1
    )
    device = cx.device
    bias = to_device(grads.sum(0), device) if has_bias else None
    return to_device(grads, device), to_device(g_c * f, device), bias


def gru_cell(input_gates, hidden_gates, hx, input_bias=None, hidden_bias=None):
    """`_thnn_fused_gru_cell`: hy, and what the backward pass needs (r, z, n, h_n, and hx by column blocks)."""
    i_gates, h_gates, h, i_bias, h_bias = _to_host_all(input_gates, hidden_gates, hx, input_bias, hidden_bias)
    i_r, i_z, i_n = _gates(i_gates, i_bias).chunk(3, 1)
    h_r, h_z, h_n = _gates(h_gates, h_bias).chunk(3, 1)
    r, z = (i_r + h_r).sigmoid(), (i_z + h_z).sigmoid()
    n = (i_n + r * h_n).tanh()
    hy = (h - n) * z + n
    device = input_gates.device
    return to_device(hy, device), to_device(torch.cat([r, z, n, h, h_n], 1), device)


def gru_cell_backward(grad_hy, workspace, has_bias):
    """The gradients of both gate blocks, of hx, and of both biases."""
    grad, saved = _to_host_all(grad_hy, workspace)
    r, z, n, h, h_n = saved.chunk(5, 1)
    g_n = grad * (1 - z) * (1 - n * n)
    g_z = grad * (h - n) * z * (1 - z)
    g_r = g_n * h_n * r * (1 - r)
    inputs, hiddens = torch.cat([g_r, g_z, g_n], 1), torch.cat([g_r, g_z, g_n * r], 1)
    device = grad_hy.device
    biases = (to_device(inputs.sum(0), device), to_device(hiddens.sum(0), device)) if has_bias else (None, None)
    return (to_device(inputs, device), to_device(hiddens, device), to_device(grad * z, device), *biases)


def fused_dropout(self, p, generator=None):
    """`_fused_dropout`: the scaled input and the mask; `p` is the probability to keep."""
    host = to_host(self)
    mask = torch.empty(host.size(), dtype=torch.uint8).bernoulli_(p, generator=host_generator(generator, self.device))
    return to_device(host * mask.to(host.dtype) / p, self.device), to_device(mask, self.device)


def masked_scale(self, mask, scale):
    """`_masked_scale`."""
    host, kept = _to_host_all(self, mask)
    return to_device(host * kept.to(host.dtype) * scale, self.device)


def cudnn_convolution(self, weight, padding, stride, dilation, groups, *_flags):
    """`cudnn_convolution`: the convolution without bias."""
    zeros = [0] * len(padding)
    return convolution(self, weight, None, stride, padding, dilation, False, zeros, groups)


def cudnn_convolution_transpose(self, weight, padding, output_padding, stride, dilation, groups, *_flags):
    """`cudnn_convolution_transpose`: the transposed convolution without bias."""
    return convolution(self, weight, None, stride, padding, dilation, True, output_padding, groups)


def cudnn_convolution_relu(self, weight, bias, stride, padding, dilation, groups):
    """`cudnn_convolution_relu`."""
    x, w, b = _to_host_all(self, weight, bias)
    zeros = [0] * len(padding)
    result = torch.ops.aten.convolution.default(x, w, b, stride, padding, dilation, False, zeros, groups)
    return to_device(result.relu_(), self.device)


def cudnn_convolution_add_relu(self, weight, z, alpha, bias, stride, padding, dilation, groups):
    """`cudnn_convolution_add_relu`: relu(convolution + alpha·z)."""
    x, w, other, b = _to_host_all(self, weight, z, bias)
    zeros = [0] * len(padding)
    result = torch.ops.aten.convolution.default(x, w, b, stride, padding, dilation, False, zeros, groups)
    return to_device(result.add_(other, alpha=1 if alpha is None else alpha).relu_(), self.device)


def _write_back_all(pairs):
    for value, host in pairs:
        if value is not None:
            write_back(value, host)


def cudnn_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, epsilon):
    """`cudnn_batch_norm`: as `native_batch_norm`, with an empty reserve."""
    x, w, b, mean, var = _to_host_all(input, weight, bias, running_mean, running_var)
    results = torch.ops.aten.native_batch_norm.default(x, w, b, mean, var, training, momentum, epsilon)
    if training:
        _write_back_all([(running_mean, mean), (running_var, var)])
    reserve = torch.empty(0, dtype=torch.uint8, device=input.device)
    return (*(to_device(result, input.device) for result in results), reserve)


def cudnn_batch_norm_backward(input, grad, weight, running_mean, running_var, save_mean, save_var, epsilon, reserve):
    """`cudnn_batch_norm_backward`: cuDNN is used in training only."""
    x, g, w, mean, var, saved, inverse = _to_host_all(
        input, grad, weight, running_mean, running_var, save_mean, save_var
    )
    results = torch.ops.aten.native_batch_norm_backward.default(
        g, x, w, mean, var, saved, inverse, True, epsilon, [True, True, True]
    )
    return tuple(to_device(result, input.device) for result in results)


def cudnn_grid_sampler(self, grid):
    """`cudnn_grid_sampler`: bilinear, zeros outside, corners aligned."""
    x, places = _to_host_all(self, grid)
    return to_device(torch.ops.aten.grid_sampler_2d.default(x, places, 0, 0, True), self.device)


def cudnn_grid_sampler_backward(self, grid, grad):
    """Its two gradients."""
    x, places, g = _to_host_all(self, grid, grad)
    results = torch.ops.aten.grid_sampler_2d_backward.default(g, x, places, 0, 0, True, [True, True])
    return tuple(to_device(result, self.device) for result in results)


def rms_norm_backward(grad, input, normalized_shape, rstd, weight, mask):
    """`_fused_rms_norm_backward`: the gradients of the input and of the weight."""
    g, x, inverse, w = (None if item is None else item.float() for item in _to_host_all(grad, input, rstd, weight))
    axes = list(range(x.dim() - len(normalized_shape), x.dim()))
    normed = x * inverse
    scaled = g if w is None else g * w
    d_input = inverse * (scaled - normed * (scaled * normed).mean(axes, keepdim=True)) if mask[0] else None
    outer = list(range(x.dim() - len(normalized_shape)))
    d_weight = None
    if mask[1] and weight is not None:
        d_weight = (g * normed).sum(outer) if outer else g * normed
    lift = lambda value, dtype: None if value is None else to_device(value.to(dtype), input.device)
    return lift(d_input, input.dtype), lift(d_weight, None if weight is None else weight.dtype)


def mean_out(self, dim=None, keepdim=False, *, dtype=None, out):
    """`mean.out`: by way of the fresh result, since PyTorch's CPU kernel leaves a half-precision `out` unwritten."""
    result = torch.ops.aten.mean.dim(to_host(self), dim, keepdim, dtype=dtype)
    if result.dtype != out.dtype:
        raise RuntimeError(
            f"Expected out tensor to have dtype {_c_name(result.dtype)}, but got {_c_name(out.dtype)} instead"
        )
    write_back(out, result.resolve_conj() if out.size() != result.size() else _laid_out(result, out))
    return out


def _c_name(dtype):
    return {torch.float32: "float", torch.float64: "double", torch.float16: "c10::Half",
            torch.bfloat16: "c10::BFloat16"}.get(dtype, str(dtype).removeprefix("torch."))


def _laid_out(host, like):
    """The host tensor with another's strides; what lies between its elements is the other's."""
    room = to_host(like, read=False)
    return room.copy_(host)


def without_cudnn_ctc(*_args, **_kwargs):
    """`_use_cudnn_ctc_loss`: no; PyTorch's own loss is replaced like any operator."""
    return False


EQUIVALENTS = {
    "copy_": copy_,
    "convolution": convolution,
    "convolution_backward": convolution_backward,
    "_thnn_fused_lstm_cell": lstm_cell,
    "_thnn_fused_lstm_cell_backward_impl": lstm_cell_backward,
    "_thnn_fused_gru_cell": gru_cell,
    "_thnn_fused_gru_cell_backward": gru_cell_backward,
    "_fused_dropout": fused_dropout,
    "_masked_scale": masked_scale,
    "mean.out": mean_out,
    "_fused_rms_norm_backward": rms_norm_backward,
    "_use_cudnn_ctc_loss": without_cudnn_ctc,
    "_use_cudnn_ctc_loss.Tensor": without_cudnn_ctc,
    "cudnn_batch_norm": cudnn_batch_norm,
    "cudnn_batch_norm_backward": cudnn_batch_norm_backward,
    "cudnn_convolution": cudnn_convolution,
    "cudnn_convolution_add_relu": cudnn_convolution_add_relu,
    "cudnn_convolution_relu": cudnn_convolution_relu,
    "cudnn_convolution_transpose": cudnn_convolution_transpose,
    "cudnn_grid_sampler": cudnn_grid_sampler,
    "cudnn_grid_sampler_backward": cudnn_grid_sampler_backward,
}


# Composite operators that call native kernels below the dispatcher: replaced whole.
WHOLE = frozenset(["conj_physical_", "nanmean.out"])


def refusal(name):
    """The function for an operator that no host kernel and no equivalent here can compute."""

    def refuse(*_args, **_kwargs):
        raise NotImplementedError(
            f"gpucompat: aten::{name} has a CUDA kernel only, and this device cannot run it; "
            "use another operator, or a PyTorch build whose kernels support this device"
        )

    return refuse


def _registrations(key, namespace="aten"):
    names = torch._C._dispatch_get_registrations_for_dispatch_key(key)
    return {name[len(namespace) + 2 :] for name in names if name.startswith(namespace + "::")}


def treatments():
    """Every aten operator with a CUDA kernel, and those replaced beside them: native, equivalent, cpu or refused."""
    on_host = _registrations("CPU") | _registrations("CompositeExplicitAutograd")
    on_host |= _registrations("CompositeImplicitAutograd") | _registrations("CompositeExplicitAutogradNonFunctional")
    table = {}
    for name in sorted(_registrations("CUDA") | set(EQUIVALENTS) | WHOLE):
        if name in EQUIVALENTS:
            table[name] = "equivalent"
        elif name in NATIVE:
            table[name] = "native"
        else:
            table[name] = "cpu" if name in on_host else "refused"
    return table


def _overload(name, namespace="aten"):
    base, _, overload = name.partition(".")
    return getattr(getattr(getattr(torch.ops, namespace), base), overload or "default")


_libraries = {}

# Libraries of operators beside PyTorch whose every CUDA operator has a CPU kernel of the same meaning.
EXTENSIONS = ("torchvision", "torchaudio")


def attach_extensions():
    """Replaces the operators of the extensions that are loaded and were not yet replaced."""
    for namespace in EXTENSIONS:
        names = _registrations("CUDA", namespace) & _registrations("CPU", namespace)
        if not names or namespace in _libraries:
            continue
        _libraries[namespace] = torch.library.Library(namespace, "IMPL")
        for name in sorted(names):
            _libraries[namespace].impl(name, replacement(_overload(name, namespace)), "CUDA")


def _watch_extensions():
    """Extensions register their operators when their library is loaded, which may be after us."""
    load = torch.ops.load_library

    def load_library(path):
        load(path)
        attach_extensions()

    torch.ops.load_library = load_library


def _noted(name, treatment, function, note):
    """The function, which tells its first call."""
    told = []

    def run(*args, **kwargs):
        if not told:
            told.append(note(f"aten::{name} treatment={treatment}".encode()))
        return function(*args, **kwargs)

    return run


def attach(copy_in, copy_out, copy_within, note):
    """Replaces the operators; the number that were. `note` takes a line for the log, 0 if nobody reads it."""
    global memory
    memory = Memory(copy_in, copy_out, copy_within)
    library = _libraries["aten"] = torch.library.Library("aten", "IMPL")
    count = 0
    for name, treatment in treatments().items():
        if treatment == "native":
            continue
        if treatment == "equivalent":
            function = EQUIVALENTS[name]
        elif treatment == "cpu":
            function = replacement(_overload(name))
        else:
            function = refusal(name)
        if note:
            function = _noted(name, treatment, function, ctypes.CFUNCTYPE(None, ctypes.c_char_p)(note))
        try:
            library.impl(name, function, "CUDA")
            count += 1
        except RuntimeError:
            if name not in EQUIVALENTS:  # an operator that this version does not have
                raise
    # cuDNN's kernels and the fused attention kernels are missing as well; without them PyTorch takes operators
    # that are replaced above.
    torch._C._set_cudnn_enabled(False)
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    if hasattr(torch.backends.cuda, "enable_cudnn_sdp"):
        torch.backends.cuda.enable_cudnn_sdp(False)
    attach_extensions()
    _watch_extensions()
    return count


def kernels_cover(capability):
    """Whether the wheel carries kernels for a device: SASS of its major version, or PTX it can compile."""
    major, minor = capability // 10, capability % 10
    for arch in torch.cuda.get_arch_list():
        kind, _, number = arch.partition("_")
        number = int("".join(filter(str.isdigit, number)) or 0)
        if kind == "sm" and number // 10 == major and number % 10 <= minor:
            return True
        if kind == "compute" and number <= capability:
            return True
    return False

