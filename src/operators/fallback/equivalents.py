"""Operators that have a CUDA kernel and no CPU kernel of the same name, or whose CPU kernel is not enough: written out."""


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
