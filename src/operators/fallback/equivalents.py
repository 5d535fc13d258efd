"""Operators that have a CUDA kernel and no CPU kernel of the same name, or whose CPU kernel is not enough: written out.

Functions of host tensors with the operator's own arguments: `replacement` stages them as it does for a CPU kernel.
`EQUIVALENTS` names them all; `attention.py` and `recurrent.py` add theirs.
"""

aten = torch.ops.aten

EQUIVALENTS = {}


def equivalent(*names, where_missing=False):
    """Enters a function of host tensors for operators of these names; `where_missing`: unless they have CPU kernels."""

    def enter(function):
        has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
        wanted = [name for name in names if not (where_missing and _exists(name) and has_kernel(f"aten::{name}", "CPU"))]
        EQUIVALENTS.update(dict.fromkeys(wanted, function))
        return function

    return enter


def _exists(name):
    base, _, overload = name.partition(".")
    return hasattr(aten, base) and (overload or "default") in getattr(aten, base).overloads()


def _fill(out, result):
    """Puts a result into an `out` argument, which takes its shape."""
    if out.size() != result.size():
        out.resize_(result.size())
    return out.copy_(result)


# -- Convolution: bias included, whatever library PyTorch would have taken ---------------------------------------------


@equivalent("convolution")
def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """The whole convolution."""
    return aten.convolution.default(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)


@equivalent("convolution_backward")
def convolution_backward(grad, input, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, mask):
    """Its three gradients, those that are asked for."""
    return aten.convolution_backward.default(
        grad, input, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, mask
    )


def _plain_convolution(input, weight, bias, stride, padding, dilation, groups):
    return convolution(input, weight, bias, stride, padding, dilation, False, [0] * len(padding), groups)


@equivalent("cudnn_convolution")
def cudnn_convolution(self, weight, padding, stride, dilation, groups, *_flags):
    """Without bias."""
    return _plain_convolution(self, weight, None, stride, padding, dilation, groups)


@equivalent("cudnn_convolution.out")
def cudnn_convolution_out(self, weight, padding, stride, dilation, groups, *_flags, out):
    """Without bias."""
    return _fill(out, _plain_convolution(self, weight, None, stride, padding, dilation, groups))


@equivalent("cudnn_convolution_transpose")
def cudnn_convolution_transpose(self, weight, padding, output_padding, stride, dilation, groups, *_flags):
    """Without bias."""
    return convolution(self, weight, None, stride, padding, dilation, True, output_padding, groups)


@equivalent("cudnn_convolution_relu")
def cudnn_convolution_relu(self, weight, bias, stride, padding, dilation, groups):
    """relu(convolution)."""
    return _plain_convolution(self, weight, bias, stride, padding, dilation, groups).relu_()


@equivalent("cudnn_convolution_add_relu")
def cudnn_convolution_add_relu(self, weight, z, alpha, bias, stride, padding, dilation, groups):
    """relu(convolution + alpha·z)."""
    result = _plain_convolution(self, weight, bias, stride, padding, dilation, groups)
    return result.add_(z, alpha=1 if alpha is None else alpha).relu_()


@equivalent("_conv_depthwise2d", "conv_depthwise3d")
def conv_depthwise(self, weight, kernel_size, bias, stride, padding, dilation):
    """A group for each channel."""
    return _plain_convolution(self, weight, bias, stride, padding, dilation, self.size(1))


@equivalent("_conv_depthwise2d.out")
def conv_depthwise_out(self, weight, kernel_size, bias, stride, padding, dilation, *, out):
    """A group for each channel."""
    return _fill(out, conv_depthwise(self, weight, kernel_size, bias, stride, padding, dilation))


# -- Recurrent cells: Hochreiter & Schmidhuber 1997, Cho et al. 2014, gates in PyTorch's order ------------------------


def _gates(value, bias):
    return value if bias is None else value + bias


@equivalent("_thnn_fused_lstm_cell")
def lstm_cell(input_gates, hidden_gates, cx, input_bias=None, hidden_bias=None):
    """hy, cy, and the activated gates for the backward pass."""
    gates = _gates(input_gates, input_bias) + _gates(hidden_gates, hidden_bias)
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cy = f * cx + i * g
    return o * cy.tanh(), cy, torch.cat([i, f, g, o], 1)


@equivalent("_thnn_fused_lstm_cell_backward_impl")
def lstm_cell_backward(grad_hy, grad_cy, cx, cy, workspace, has_bias):
    """The gradients of the gates and of cx, and of the bias."""
    if grad_hy is None and grad_cy is None:
        return None, None, None
    i, f, g, o = workspace.chunk(4, 1)
    tanh = cy.tanh()
    zero = torch.zeros_like(cy)
    grad_hy = zero if grad_hy is None else grad_hy
    grad_c = (zero if grad_cy is None else grad_cy) + grad_hy * o * (1 - tanh * tanh)
    grads = torch.cat(
        [grad_c * g * i * (1 - i), grad_c * cx * f * (1 - f), grad_c * i * (1 - g * g), grad_hy * tanh * o * (1 - o)], 1
    )
    return grads, grad_c * f, grads.sum(0) if has_bias else None


@equivalent("_thnn_fused_gru_cell")
def gru_cell(input_gates, hidden_gates, hx, input_bias=None, hidden_bias=None):
    """hy, and what the backward pass needs: r, z, n, hx and h_n by column blocks."""
    i_r, i_z, i_n = _gates(input_gates, input_bias).chunk(3, 1)
    h_r, h_z, h_n = _gates(hidden_gates, hidden_bias).chunk(3, 1)
    r, z = (i_r + h_r).sigmoid(), (i_z + h_z).sigmoid()
    n = (i_n + r * h_n).tanh()
    return (hx - n) * z + n, torch.cat([r, z, n, hx, h_n], 1)


@equivalent("_thnn_fused_gru_cell_backward")
def gru_cell_backward(grad_hy, workspace, has_bias):
    """The gradients of both gate blocks, of hx, and of both biases."""
    r, z, n, h, h_n = workspace.chunk(5, 1)
    g_n = grad_hy * (1 - z) * (1 - n * n)
    g_z = grad_hy * (h - n) * z * (1 - z)
    g_r = g_n * h_n * r * (1 - r)
    inputs, hiddens = torch.cat([g_r, g_z, g_n], 1), torch.cat([g_r, g_z, g_n * r], 1)
    biases = (inputs.sum(0), hiddens.sum(0)) if has_bias else (None, None)
    return inputs, hiddens, grad_hy * z, *biases


# -- Dropout ----------------------------------------------------------------------------------------------------------


@equivalent("_fused_dropout")
def fused_dropout(self, p, generator=None):
    """The scaled input and the mask; `p` is the probability to keep."""
    mask = torch.empty(self.size(), dtype=torch.uint8, device="cpu").bernoulli_(p, generator=generator)
    return self * mask.to(self.dtype) / p, mask


@equivalent("_masked_scale")
def masked_scale(self, mask, scale):
    """self·mask·scale."""
    return self * mask.to(self.dtype) * scale


# -- Normalisation: Ioffe & Szegedy 2015; statistics over all axes but the second ------------------------------------


def _per_channel(values, like):
    return None if values is None else values.reshape([1, -1] + [1] * (like.dim() - 2))


def _other_axes(tensor):
    return [axis for axis in range(tensor.dim()) if axis != 1]


def _wide(tensor):
    """The tensor in the type that PyTorch accumulates its statistics in."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@equivalent("cudnn_batch_norm")
def cudnn_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, epsilon):
    """As `native_batch_norm`, with an empty reserve."""
    results = aten.native_batch_norm.default(
        input, weight, bias, running_mean, running_var, training, momentum, epsilon
    )
    return *results, torch.empty(0, dtype=torch.uint8, device="cpu")


@equivalent("cudnn_batch_norm.out")
def cudnn_batch_norm_out(*args, out0, out1, out2, out3):
    """The same into given tensors."""
    return tuple(_fill(out, result) for out, result in zip((out0, out1, out2, out3), cudnn_batch_norm(*args)))


@equivalent("cudnn_batch_norm_backward")
def cudnn_batch_norm_backward(input, grad, weight, running_mean, running_var, save_mean, save_var, epsilon, reserve):
    """cuDNN is used in training only."""
    return aten.native_batch_norm_backward.default(
        grad, input, weight, running_mean, running_var, save_mean, save_var, True, epsilon, [True, True, True]
    )


@equivalent("batch_norm_stats")
def batch_norm_stats(input, eps):
    """Mean and 1/√(variance + eps) of each channel."""
    variance, mean = torch.var_mean(_wide(input), _other_axes(input), correction=0)
    return mean, (variance + eps).rsqrt()


@equivalent("batch_norm_elemt")
def batch_norm_elemt(input, weight, bias, mean, invstd, eps):
    """(input − mean)·invstd·weight + bias."""
    result = (_wide(input) - _per_channel(mean, input)) * _per_channel(invstd, input)
    if weight is not None:
        result = result * _per_channel(weight, input)
    if bias is not None:
        result = result + _per_channel(bias, input)
    return result.to(input.dtype)


@equivalent("batch_norm_elemt.out")
def batch_norm_elemt_out(*args, out):
    """The same into a given tensor."""
    return _fill(out, batch_norm_elemt(*args))


@equivalent("batch_norm_gather_stats_with_counts")
def batch_norm_gather_stats_with_counts(input, mean, invstd, running_mean, running_var, momentum, eps, counts):
    """One mean and 1/√(variance + eps) of several processes' (rows); moves the running statistics."""
    counts = counts.to(mean.dtype).reshape(-1, 1)
    total = counts.sum()
    joint = (mean * counts).sum(0) / total
    variance = ((invstd.pow(-2) - eps + (mean - joint).square()) * counts).sum(0) / total
    if running_mean is not None:
        running_mean.lerp_(joint.to(running_mean.dtype), momentum)
    if running_var is not None:
        running_var.lerp_((variance * total / (total - 1)).to(running_var.dtype), momentum)
    return joint, (variance + eps).rsqrt()


@equivalent("batch_norm_gather_stats")
def batch_norm_gather_stats(input, mean, invstd, running_mean, running_var, momentum, eps, count):
    """The same, where every process has seen `count` elements a channel."""
    counts = torch.full((mean.size(0),), count, dtype=mean.dtype, device="cpu")
    return batch_norm_gather_stats_with_counts(input, mean, invstd, running_mean, running_var, momentum, eps, counts)


@equivalent("batch_norm_backward_reduce")
def batch_norm_backward_reduce(grad_out, input, mean, invstd, weight, input_g, weight_g, bias_g):
    """Σ dy, Σ dy·(x − mean), and the gradients of weight and bias, each where it is asked for."""
    dy, axes = _wide(grad_out), _other_axes(input)
    sum_dy = dy.sum(axes)
    sum_dy_xmu = (dy * (_wide(input) - _per_channel(mean, input))).sum(axes)
    like = weight.dtype if weight is not None else sum_dy.dtype
    return (
        sum_dy if input_g else None,
        sum_dy_xmu if input_g else None,
        (sum_dy_xmu * invstd).to(like) if weight_g else None,
        sum_dy.to(like) if bias_g else None,
    )


@equivalent("batch_norm_backward_elemt")
def batch_norm_backward_elemt(grad_out, input, mean, invstd, weight, sum_dy, sum_dy_xmu, count):
    """The gradient of the input, from sums over all processes."""
    total = count.sum()
    centred = _wide(input) - _per_channel(mean, input)
    slope = _per_channel(sum_dy_xmu / total * invstd.square(), input)
    scale = invstd if weight is None else invstd * weight
    result = (_wide(grad_out) - _per_channel(sum_dy / total, input) - centred * slope) * _per_channel(scale, input)
    return result.to(input.dtype)


@equivalent("_fused_rms_norm_backward")
def rms_norm_backward(grad, input, normalized_shape, rstd, weight, mask):
    """The gradients of the input and of the weight. Zhang & Sennrich 2019."""
    g, x = _wide(grad), _wide(input)
    axes = list(range(x.dim() - len(normalized_shape), x.dim()))
    normed = x * rstd
    scaled = g if weight is None else g * weight
    d_input = rstd * (scaled - normed * (scaled * normed).mean(axes, keepdim=True)) if mask[0] else None
    outer = list(range(x.dim() - len(normalized_shape)))
    d_weight = None
    if mask[1] and weight is not None:
        d_weight = ((g * normed).sum(outer) if outer else g * normed).to(weight.dtype)
    return None if d_input is None else d_input.to(input.dtype), d_weight


# -- cuDNN's spatial transformer: bilinear, zeros outside, corners aligned --------------------------------------------


@equivalent("cudnn_grid_sampler")
def cudnn_grid_sampler(self, grid):
    """The samples at the grid's places."""
    return aten.grid_sampler_2d.default(self, grid, 0, 0, True)


@equivalent("cudnn_grid_sampler_backward")
def cudnn_grid_sampler_backward(self, grid, grad):
    """Its two gradients."""
    return aten.grid_sampler_2d_backward.default(grad, self, grid, 0, 0, True, [True, True])


@equivalent("cudnn_affine_grid_generator")
def cudnn_affine_grid_generator(theta, N, C, H, W):
    """The places of a transformed image."""
    return aten.affine_grid_generator.default(theta, [N, C, H, W], True)


@equivalent("cudnn_affine_grid_generator_backward")
def cudnn_affine_grid_generator_backward(grad, N, C, H, W):
    """The gradient of theta."""
    return aten.affine_grid_generator_backward.default(grad, [N, C, H, W], True)


# -- CTC loss: Graves et al. 2006 -------------------------------------------------------------------------------------


@equivalent("_use_cudnn_ctc_loss", "_use_cudnn_ctc_loss.Tensor", "_use_miopen_ctc_loss", "_use_miopen_ctc_loss.Tensor")
def without_cudnn_ctc(*_args, **_kwargs):
    """No: PyTorch's own loss is replaced like any operator."""
    return False


@equivalent("_cudnn_ctc_loss", "_cudnn_ctc_loss.Tensor")
def cudnn_ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, deterministic, zero_infinity):
    """The loss and its gradient."""
    inputs, lengths = list(map(int, input_lengths)), list(map(int, target_lengths))
    loss, alpha = aten._ctc_loss.default(log_probs, targets, inputs, lengths, blank, zero_infinity)
    gradient = aten._ctc_loss_backward.default(
        torch.ones_like(loss), log_probs, targets, inputs, lengths, loss, alpha, blank, zero_infinity
    )
    return loss, gradient


# -- Products whose types are given -----------------------------------------------------------------------------------


@equivalent("_int_mm", where_missing=True)
def int_mm(self, mat2):
    """The product of 8-bit integers in 32 bits."""
    return self.to(torch.int32) @ mat2.to(torch.int32)


@equivalent("_int_mm.out", where_missing=True)
def int_mm_out(self, mat2, *, out):
    """The same into a given tensor."""
    return _fill(out, int_mm(self, mat2))


@equivalent("mm.dtype", "bmm.dtype")
def product_in_type(self, mat2, out_dtype):
    """self·mat2, accumulated and returned in `out_dtype`."""
    return torch.matmul(self.to(out_dtype), mat2.to(out_dtype))


@equivalent("mm.dtype_out", "bmm.dtype_out")
def product_in_type_out(self, mat2, out_dtype, *, out):
    """The same into a given tensor."""
    return _fill(out, product_in_type(self, mat2, out_dtype))


@equivalent("addmm.dtype", "baddbmm.dtype")
def added_product_in_type(self, mat1, mat2, out_dtype, *, beta=1, alpha=1):
    """beta·self + alpha·mat1·mat2; beta = 0 does not read self."""
    result = product_in_type(mat1, mat2, out_dtype) * alpha
    return result if beta == 0 else result + self.to(out_dtype) * beta


@equivalent("addmm.dtype_out", "baddbmm.dtype_out")
def added_product_in_type_out(self, mat1, mat2, out_dtype, *, beta=1, alpha=1, out):
    """The same into a given tensor."""
    return _fill(out, added_product_in_type(self, mat1, mat2, out_dtype, beta=beta, alpha=alpha))


@equivalent("_scaled_mm")
def scaled_mm(self, mat2, scale_a, scale_b, bias=None, scale_result=None, out_dtype=None, use_fast_accum=False):
    """(self·scale_a)·(mat2·scale_b) + bias in float32, rounded once. Scales: one number, or one a row and column.
    Source: https://docs.nvidia.com/cuda/cublas/#narrow-precision-data-types-usage."""
    if scale_a.dtype is not torch.float32 or scale_b.dtype is not torch.float32:
        raise NotImplementedError(
            "gpucompat: aten::_scaled_mm with scales of blocks is computed by tensor cores only; use scales of a whole "
            "tensor or of rows"
        )
    for scale, rows, columns in ((scale_a, self.size(0), 1), (scale_b, 1, mat2.size(1))):
        if scale.numel() != 1 and tuple(scale.size()) != (rows, columns):
            raise NotImplementedError(
                f"gpucompat: aten::_scaled_mm with scales of shape {tuple(scale.size())}; use scales of a whole tensor or "
                f"of rows, here ({rows}, {columns})"
            )
    result = self.float() @ mat2.float()
    result = result * scale_a * scale_b
    if bias is not None:
        result = result + bias.float()
    out_dtype = self.dtype if out_dtype is None else out_dtype
    if scale_result is not None and out_dtype.itemsize == 1:
        result = result * scale_result
    if out_dtype.itemsize == 1:
        most = torch.finfo(out_dtype).max
        result = result.clamp(-most, most)
    return result.to(out_dtype)


@equivalent("_scaled_mm.out")
def scaled_mm_out(self, mat2, scale_a, scale_b, bias=None, scale_result=None, out_dtype=None, use_fast_accum=False, *, out):
    """The same into a given tensor."""
    return _fill(out, scaled_mm(self, mat2, scale_a, scale_b, bias, scale_result, out_dtype))


# -- Gradient scaling, which PyTorch computes on the CPU since 2.3 ----------------------------------------------------


@equivalent("_amp_foreach_non_finite_check_and_unscale_", where_missing=True)
def amp_unscale(self, found_inf, inv_scale):
    """Multiplies every gradient by inv_scale; found_inf becomes 1 if one was not finite."""
    for gradient in self:
        if not torch.isfinite(gradient).all():
            found_inf.fill_(1)
        gradient.mul_(inv_scale)


@equivalent("_amp_update_scale_", where_missing=True)
def amp_update_scale(self, growth_tracker, found_inf, scale_growth_factor, scale_backoff_factor, growth_interval):
    """The next scale: smaller after an infinity, larger after growth_interval steps without."""
    if found_inf.item():
        self.mul_(scale_backoff_factor)
        growth_tracker.zero_()
    elif growth_tracker.item() + 1 == growth_interval:
        grown = self * scale_growth_factor
        if torch.isfinite(grown):
            self.copy_(grown)
        growth_tracker.zero_()
    else:
        growth_tracker.add_(1)
    return self


# -- Decompositions that take the name of a CUDA solver ----------------------------------------------------------------


@equivalent("_linalg_svd")
def linalg_svd(A, full_matrices=False, compute_uv=True, *, driver=None):
    """The host has one solver, whichever is asked for."""
    return aten._linalg_svd.default(A, full_matrices, compute_uv)


@equivalent("_linalg_svd.U")
def linalg_svd_out(A, full_matrices=False, compute_uv=True, *, driver=None, U, S, Vh):
    """The same into given tensors."""
    return aten._linalg_svd.U(A, full_matrices, compute_uv, U=U, S=S, Vh=Vh)


# -- CPU kernels that are not enough ----------------------------------------------------------------------------------


@equivalent("mean.out")
def mean_out(self, dim=None, keepdim=False, *, dtype=None, out):
    """By way of the fresh result, since PyTorch's CPU kernel leaves a half-precision `out` unwritten."""
    result = aten.mean.dim(self, dim, keepdim, dtype=dtype)
    if result.dtype != out.dtype:
        raise RuntimeError(
            f"Expected out tensor to have dtype {_c_name(result.dtype)}, but got {_c_name(out.dtype)} instead"
        )
    return _fill(out, result)


def _c_name(dtype):
    return {torch.float32: "float", torch.float64: "double", torch.float16: "c10::Half",
            torch.bfloat16: "c10::BFloat16"}.get(dtype, str(dtype).removeprefix("torch."))
