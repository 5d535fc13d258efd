"""The replacement of an operator that has a CPU kernel: arguments to the host, the same overload there, results back.

Arguments that share storage are copied as one where one of them is written, so that aliasing writes are seen.
"""


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
        """What stands for a CUDA tensor on the host; the same for the same tensor."""
        if not _is_cuda_tensor(value):
            return value
        self.note_device(value.device, in_list)
        known = self.copies.get(id(value))
        if known is None:
            # An `out` may be resized; what is computed once more in a wider type must be what it was.
            own = not is_out and not (is_written and value.dtype in _WIDER)
            known = (to_host(value, read=not is_out, own=own), value)
            self.copies[id(value)] = known
        if is_written and not any(value is row[0] for row in self.written):
            self.written.append((value, known[0]))
        return known[0]


# Arguments that operators write into and their schemas do not say so, in some version of PyTorch.
_HIDDEN_WRITES = {
    "batch_norm_gather_stats": ("running_mean", "running_var"),
    "batch_norm_gather_stats_with_counts": ("running_mean", "running_var"),
    "batch_norm_update_stats": ("running_mean", "running_var"),
    "cudnn_batch_norm": ("running_mean", "running_var"),
    "native_batch_norm": ("running_mean", "running_var"),
    "rrelu_with_noise": ("noise",),
    "rrelu_with_noise_": ("noise",),
}

# Operators that take host tensors beside device tensors, as PyTorch's own kernels do: indices, lengths, what is copied,
# the scalars of `_foreach_…`, the structure of nested tensors.
_TAKE_HOST_TENSORS = frozenset(
    """
    index index_put index_put_ _index_put_impl_ _unsafe_index _unsafe_index_put _pack_padded_sequence
    _pad_packed_sequence _cudnn_rnn _cudnn_rnn_backward _copy_from copy segment_reduce _foreach_copy _foreach_copy_
    _foreach_addcdiv _foreach_addcdiv_ _foreach_addcmul _foreach_addcmul_ _nested_from_padded lstm gru rnn_tanh rnn_relu
    """.split()
)


class _Argument:
    """What the schema says of one argument, and what it keeps to itself."""

    __slots__ = ("name", "written", "out", "kind", "alias")

    def __init__(self, argument, hidden_writes):
        info = argument.alias_info
        self.name = argument.name
        self.written = info is not None and info.is_write or argument.name in hidden_writes
        self.out = info is not None and info.is_write and argument.kwarg_only
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


def _storage(tensor):
    """Where a tensor's storage lies; 0 for sparse and nested ones, whose parts are not written through one another."""
    plain = tensor.layout is torch.strided and not tensor.is_nested
    return tensor.untyped_storage().data_ptr() if plain else 0


def _shares_storage(call):
    """Whether two different arguments lie in one storage, one of them written: copies apart would miss writes."""
    places = [_storage(value) for _, value in call.copies.values()]
    if len(set(places)) == len(places):
        return False
    written = {_storage(value) for value, _ in call.written}
    return any(place and place in written and places.count(place) > 1 for place in places)


def _join_storages(call):
    """Makes host tensors that share storage as their originals do, so that aliasing writes are seen."""
    groups = {}
    for host, value in call.copies.values():
        groups.setdefault(_storage(value), []).append(value)
    joined = {}
    groups.pop(0, None)
    for values in groups.values():
        values = [value for value in values if _span(value)]
        if len(values) < 2:
            continue
        first = min(value.data_ptr() for value in values)
        last = max(value.data_ptr() + _span(value) * value.element_size() for value in values)
        room = _bytes_on_host(first, last - first, values[0].device)
        if room is None:
            room = torch.empty(last - first, dtype=torch.uint8, device="cpu")
            copy_in(room.data_ptr(), first, last - first, values[0].device)
        for value in values:
            offset = value.data_ptr() - first
            size = _span(value) * value.element_size()
            typed = room[offset : offset + size]
            if offset % value.element_size():
                raise NotImplementedError(
                    "gpucompat: an operator writes to views of one storage that lie at unaligned distances, which have no "
                    "counterpart on the host; clone() one of them first"
                )
            typed = typed.view(value.dtype)
            joined[id(value)] = _flags(typed.as_strided(value.size(), value.stride()), value)
    for key, (host, value) in list(call.copies.items()):
        if key in joined:
            call.copies[key] = (joined[key], value)
    call.written = [(value, call.copies[id(value)][0]) for value, _ in call.written]


_NUMBERS = (int, float, complex, bool)
_WHOLE_TYPES = (torch.uint8, torch.int8, torch.int16, torch.int32)


def _numbers_as_tensors(arguments, args):
    """Numbers that stand where the schema wants tensors, as tensors that promote as numbers do."""
    tensors = [value for value in args if isinstance(value, torch.Tensor)]
    if not tensors:
        return args
    like = max(tensors, key=lambda tensor: tensor.dim() > 0)

    def tensor(value):
        dtype = torch.result_type(like, value)
        if like.dim() > 0 and dtype.is_floating_point and like.dtype == dtype:
            # Unrounded, as PyTorch's kernels take numbers; a tensor without dimensions promotes nothing here.
            dtype = torch.float64
        if like.dim() > 0 and dtype in _WHOLE_TYPES:
            dtype = torch.int64
        if dtype.is_floating_point and torch.finfo(dtype).max < abs(value) < float("inf"):
            return value  # beyond the type: arithmetic operators take the number itself
        return torch.scalar_tensor(value, dtype=dtype)

    return [
        tensor(value) if type(value) in _NUMBERS and argument.kind == "tensor" else value
        for argument, value in zip(arguments, args)
    ]


# Element types that some CPU kernels do not know, and what they are computed in instead.
_WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.complex32: torch.complex64}
_COMPLEX_OF = {torch.float16: torch.complex32, torch.complex32: torch.complex32}
_REAL_OF = {torch.float16: torch.float16, torch.bfloat16: torch.bfloat16, torch.complex32: torch.float16}
_UNKNOWN_TYPE = (" not implemented for ", "MKL FFT doesn't support tensors of type")


def _computed(function, args, kwargs, written):
    """The function's result; in a wider type, rounded once, where PyTorch's CPU kernel does not know the arguments'.
    `written` are the arguments that it writes, each with its host copy."""
    try:
        return function(*args, **kwargs)
    except RuntimeError as error:
        narrow = next((item.dtype for item in _tensors([*args, *kwargs.values()]) if item.dtype in _WIDER), None)
        if narrow is None or not any(part in str(error) for part in _UNKNOWN_TYPE):
            raise
    for value, host in written:
        # What was written, or resized, before the type was refused.
        if host.size() != value.size():
            host.resize_(value.size())
        host.copy_(to_host(value))
    wide = {}

    def widen(value):
        if isinstance(value, torch.Tensor) and value.dtype in _WIDER:
            return wide.setdefault(id(value), (value.to(_WIDER[value.dtype]), value))[0]
        if isinstance(value, (list, tuple)):
            return [widen(item) for item in value]
        return _WIDER.get(value, value) if isinstance(value, torch.dtype) else value

    # Results that are float32 by the caller's wish have said so.
    asked_wide = any(value is torch.float32 for value in (*args, *kwargs.values()))
    narrower = {torch.float32: _REAL_OF[narrow], torch.complex64: _COMPLEX_OF.get(narrow)}

    def narrowed(value):
        if isinstance(value, torch.Tensor):
            known = next((item for copy, item in wide.values() if copy is value), None)
            if known is not None:
                return known
            into = None if asked_wide else narrower.get(value.dtype)
            return value if into is None else value.to(into)
        if isinstance(value, (list, tuple)):
            return type(value)(narrowed(item) for item in value)
        return value

    result = function(*map(widen, args), **{name: widen(value) for name, value in kwargs.items()})
    for _, item in written:
        if id(item) in wide:
            copy = wide[id(item)][0]
            if copy.size() != item.size():
                item.resize_(copy.size())
            item.copy_(copy)
    return narrowed(result)


def _tensors(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def replacement(op, function=None, draws=True):
    """The function that stands in for an operator overload, computed by itself on the host or by `function`; `draws` is
    false if it is never called in a way that takes random numbers."""
    schema = op._schema
    base = schema.name.partition("::")[2]
    function = op._op if function is None else function
    arguments = [_Argument(argument, _HIDDEN_WRITES.get(base, ())) for argument in schema.arguments]
    by_name = {argument.name: argument for argument in arguments}
    returns = [frozenset(item.alias_info.before_set) if item.alias_info and item.alias_info.is_write else None
               for item in schema.returns]
    takes_generator = "generator" in by_name and by_name["generator"].kind == "generator"
    generator_position = next((place for place, item in enumerate(arguments) if item.kind == "generator"), None)
    is_random = draws and torch.Tag.nondeterministic_seeded in op.tags and not takes_generator

    tensor_positions = [index for index, item in enumerate(arguments) if item.kind == "tensor" and not item.written]
    takes_host_tensors = base in _TAKE_HOST_TENSORS or "ctc_loss" in base
    takes_host_indices = takes_host_tensors and "index" in base

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
        with contextlib.ExitStack() as around:
            if _host_autocasts():
                # Autocast of the CPU is not meant for tensors of a device, whose copies these are.
                around.enter_context(torch.autocast("cpu", enabled=False))
            if is_random and call.device is not None:
                around.enter_context(_seeded(host_generator(None, call.device)))
            return _computed(function, host_args, host_kwargs, call.written)

    def check_devices(call, args):
        for value in args:
            if isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.dim() > 0:
                _refuse_devices(call.device, value.device)
            elif isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.Tensor):
                check_devices(call, value)

    def run(*args, **kwargs):
        call = _Call()
        if tensor_positions and any(type(args[index]) in _NUMBERS for index in tensor_positions if index < len(args)):
            args = _numbers_as_tensors(arguments, args)
        host_args = [
            value if type(value) in _NUMBERS or value is None else convert(call, argument, value)
            for argument, value in zip(arguments, args)
        ]
        host_kwargs = {name: convert(call, by_name[name], value) for name, value in kwargs.items()} if kwargs else kwargs
        if not takes_host_tensors and call.device is not None and call.copies:
            check_devices(call, args)
        elif takes_host_indices and call.device is not None:
            check_devices(call, args[:1])
        if call.written and len(call.copies) > 1 and _shares_storage(call):
            _join_storages(call)
            host_args = [_joined(call, value, host) for value, host in zip(args, host_args)]
            host_kwargs = {name: _joined(call, kwargs[name], host) for name, host in host_kwargs.items()}
        if kwargs and host_kwargs.get("pin_memory"):
            host_kwargs["pin_memory"] = False
        if takes_generator and call.device is not None:
            place = generator_position
            given = args[place] if place < len(args) else kwargs.get("generator")
            if isinstance(given, torch.Generator) or given is None:
                given = host_generator(given, call.device)
            if place < len(args):
                host_args[place] = given
            else:
                host_kwargs = {**host_kwargs, "generator": given}
        result = compute(call, host_args, host_kwargs)
        for value, host in call.written:
            write_back(value, host)
        if not returns:
            return None
        if len(returns) > 1:
            if not isinstance(result, (list, tuple)) or len(result) != len(returns):
                raise NotImplementedError(
                    f"gpucompat: {schema.name} returns {len(returns)} values in this version of PyTorch, which gpucompat "
                    "does not know; please report this line"
                )
            return tuple(
                _original(alias, arguments, by_name, args, kwargs) if alias else lift(call, item)
                for alias, item in zip(returns, result)
            )
        if returns[0]:
            return _original(returns[0], arguments, by_name, args, kwargs)
        return lift(call, result)

    recorded = recordable(op, run, function)
    if takes_generator or is_random:
        return recorded
    positions = tuple(
        -1 if alias is None else next((place for place, item in enumerate(arguments) if item.alias & alias), None)
        for alias in returns
    )
    if None in positions:
        return recorded
    return recorded.replayed_by(accelerated(op, function, arguments, positions, recorded))


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
    raise RuntimeError(
        "gpucompat: an operator returned an argument that its schema does not name; please report this line and the operator"
    )
