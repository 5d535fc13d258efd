"""What the fast path (`operators::fast`) has to know: samples of this PyTorch's tensors, and its types."""


def _keys(tensor):
    """The address of a tensor, and its set of dispatch keys as a number."""
    return tensor._cdata, torch._C._dispatch_keys(tensor).raw_repr()


def _survey():
    """Called at the first call of an accelerated operator; 1 if the fast path can be taken from now on."""
    with torch.inference_mode(False):  # whose tensors have fewer keys
        return _survey_plain()


def _survey_plain():
    host, device = torch.empty(2, device="cpu"), torch.empty(2, device="cuda")
    conjugated = torch.ops.aten._conj(torch.empty(2, dtype=torch.complex64, device="cpu"))
    others = [
        torch.empty(2, 2, device="cpu"), conjugated, torch.ops.aten._neg_view(host), torch.empty(2, device="meta"),
        torch.ops.aten._efficientzerotensor([2]), torch.sparse_coo_tensor(size=(2, 2), device="cpu"),
    ]
    by_type = [torch.empty(1, dtype=dtype, device="cpu") for dtype in _ELEMENT_TYPES]
    samples = tuple(_keys(tensor) for tensor in (host, device, *others))
    types = tuple((tensor._cdata, tensor.element_size()) for tensor in by_type)
    single, double, whole = (
        torch.empty((), dtype=dtype, device="cpu") for dtype in (torch.float32, torch.float64, torch.int64)
    )
    objects = (
        torch.Tensor, torch.nn.Parameter, int, float, bool, complex, single, double, whole, list, tuple, None, False,
        _standing_room, write_back, _lift, _any_autocasts, _host_autocasts, True,
        torch.dtype, torch.memory_format, torch.layout,
    )
    return _calibrate(samples, types, objects)


# What tensors of the fast path hold; quantised and packed types never do.
_ELEMENT_TYPES = [
    getattr(torch, name)
    for name in """
    float32 float64 float16 bfloat16 complex64 complex128 uint8 int8 int16 int32 int64 bool
    uint16 uint32 uint64 float8_e4m3fn float8_e5m2
    """.split()
    if hasattr(torch, name)
]


def _standing_room(tensor):
    """Host memory for the fast path to keep: a tensor of no inference mode, whoever asks for it first."""
    with torch.inference_mode(False):
        return _host_room(tensor)


def _lift(host, index):
    """A result that is not a plain dense tensor, to the device of that number."""
    device = torch.device("cuda", index)
    if isinstance(host, torch.Tensor) and host.device.type == "cpu":
        return to_device(host, device)
    if isinstance(host, (list, tuple)):
        return type(host)(_lift(item, index) for item in host)
    return host


@functools.cache
def _kernels_on_host():
    return _registrations("CPU")


def _same_arguments(first, second):
    return [(item.name, str(item.type)) for item in first] == [(item.name, str(item.type)) for item in second]


def _into_form(op):
    """The form of an operator that computes its one result into a given tensor by a CPU kernel of its own, and that
    argument's name; nothing if there is none."""
    schema = op._schema
    if torch.Tag.dynamic_output_shape in op.tags:
        return ()
    if len(schema.returns) != 1 or schema.returns[0].alias_info is not None or str(schema.returns[0].type) != "Tensor":
        return ()
    if not schema.name.startswith("aten::") or any(item.alias_info and item.alias_info.is_write for item in schema.arguments):
        return ()
    packet = op.overloadpacket
    for name in packet.overloads():
        if f"{schema.name[6:]}.{name}" not in _kernels_on_host():
            continue
        form = getattr(packet, name)
        *rest, out = form._schema.arguments
        if out.alias_info is not None and out.alias_info.is_write and out.kwarg_only and str(out.type) == "Tensor" and (
            _same_arguments(rest, schema.arguments)
        ):
            return form._op, sys.intern(out.name)
    return ()


def accelerated(op, function, arguments, positions, slow, product=False):
    """The fast path in front of an operator's replacement; `function` computes it on the host, and `positions` tells
    which argument each result is. Of a `product` it takes what `products.py` leaves to it."""
    roles = {"plain": 0, "tensor": 1}
    rows = tuple(
        (sys.intern(item.name), 2 if item.name == "pin_memory" else roles.get(item.kind, 2), item.written, item.out)
        for item in arguments
    )
    into = _into_form(op) if function is op._op else ()
    return _accelerate(function, slow, rows, positions, torch.Tag.pointwise in op.tags, product, into)
