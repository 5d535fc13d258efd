"""Composite operators that run whole on the host, where PyTorch's CPU implementation is one fused call and the composition
for a device would be many: recurrent networks, attention without a mask. Their gradients, and dropout, whose random
numbers are the device's, are left to the composition.
"""

WHOLE_ON_HOST = (
    "scaled_dot_product_attention",
    *(f"{name}.{form}" for name in ("lstm", "gru", "rnn_tanh", "rnn_relu") for form in ("input", "data")),
)

_PLAIN_TYPES = (torch.Tensor, torch.nn.Parameter)
_transforms = getattr(torch._C._functorch, "peek_interpreter_stack", lambda: None)
_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)


def _is_plain_attention(given):
    return given.get("attn_mask") is None and not given.get("dropout_p") and not given.get("enable_gqa")


def _is_plain_network(given):
    return not (given["train"] and given["dropout"])


def _fused_attention():
    """PyTorch's fused attention on the host, of plain operands that it can take; None in a version without it. The composite
    operator itself would not choose it: its switches are the device's as well, and are off."""
    fused = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if fused is None:
        return None
    compute = replacement(fused.default, draws=False)

    def attend(query, key, value, is_causal=False, scale=None, **_absent):
        shapes = query.dim() == key.dim() == value.dim() == 4 and key.shape == value.shape
        if (
            shapes
            and query.size(0) == key.size(0)
            and query.size(1) == key.size(1)
            and query.size(3) == key.size(3)
            and query.numel()
            and key.numel()
            and query.stride(3) == key.stride(3) == value.stride(3) == 1
            and query.dtype == key.dtype == value.dtype
        ):
            return compute(query, key, value, 0.0, is_causal, scale=scale)[0]
        return None

    return attend


def whole_on_host(op):
    """A function of device tensors that computes a composite operator in one call on the host, or by its composition."""
    # Without dropout there is nothing random in them.
    host, composite = replacement(op, draws=False), functools.partial(op._op_dk, torch._C.DispatchKey.CompositeImplicitAutograd)
    names = [argument.name for argument in op._schema.arguments]
    is_attention = op._schema.name.endswith("attention")
    is_plain = _is_plain_attention if is_attention else _is_plain_network
    fused = _fused_attention() if is_attention else None

    def run(*args, **kwargs):
        given = {**dict(zip(names, args)), **kwargs}
        # The sizes of packed sequences lie on the host by right.
        tensors = list(_tensors(value for name, value in given.items() if name != "batch_sizes"))
        gradients = torch.is_grad_enabled()
        if (
            is_plain(given)
            and all(type(item) in _PLAIN_TYPES and item.is_cuda and not (gradients and item.requires_grad) for item in tensors)
            and not _modes()
            and _transforms() is None
        ):
            result = fused(**given) if fused is not None else None
            return host(*args, **kwargs) if result is None else result
        return composite(*args, **kwargs)

    return run
