"""The fused attention operators, which have CUDA kernels only: flash, memory-efficient and cuDNN's.

softmax(q·kᵀ·scale + bias)·v with the log-sum-exp of each row, which the backward pass starts from (Dao et al. 2022).
Queries, keys and values are (batch, heads, sequence, channels). Dropout's mask is drawn from a seed that the forward pass
returns in place of the device's random state, and again from it in the backward pass.
"""


def _refuse_attention(name, what):
    raise NotImplementedError(
        f"gpucompat: aten::{name} {what}, which is not computed on the host; call "
        "torch.nn.functional.scaled_dot_product_attention on padded batches"
    )


def _heads_alike(query, key, value):
    """Keys and values for each head of the queries (grouped queries share them)."""
    groups = query.size(1) // key.size(1)
    if groups == 1:
        return key, value
    return key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)


def _gathered(gradient, like):
    """The gradient of shared keys or values: the sum over the heads that share them."""
    if gradient.size(1) == like.size(1):
        return gradient
    return gradient.unflatten(1, (like.size(1), -1)).sum(2)


def _scores(query, key, bias, causal, scale, last=0):
    """q·kᵀ·scale + bias, −∞ above the diagonal that starts at column `last`."""
    scores = query.float() @ key.float().transpose(-2, -1)
    scores *= query.size(-1) ** -0.5 if scale is None else scale
    if bias is not None:
        scores += bias.float() if bias.dtype is not torch.bool else torch.zeros(()).masked_fill(~bias, -torch.inf)
    if causal:
        rows, columns = scores.shape[-2:]
        seen = torch.ones(rows, columns, dtype=torch.bool, device="cpu").tril(last)
        scores.masked_fill_(~seen, -torch.inf)
    return scores


def _kept(seed, shape, dropout):
    """Dropout's mask, scaled; the same for the same seed."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.empty(shape, device="cpu").bernoulli_(1 - dropout, generator=generator) / (1 - dropout)


def _finite(log_sum):
    """0 for rows that see no key, whose weights are all 0."""
    return log_sum.masked_fill(log_sum == -torch.inf, 0)


# Since 2.2 the flash kernel's causal mask starts from the bottom right, before from the top left.
_FLASH_FROM_THE_END = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 2)


def _flash_diagonal(rows, columns):
    return columns - rows if _FLASH_FROM_THE_END else 0


def _attend(query, key, value, bias, dropout, causal, scale, last=0):
    """The output, the log-sum-exp, and the seed of the dropout (0 without)."""
    keys, values = _heads_alike(query, key, value)
    seed = int(torch.randint(1 << 62, (), device="cpu")) if dropout > 0 else 0
    scores = _scores(query, keys, bias, causal, scale, last)
    log_sum = scores.logsumexp(-1)
    weights = (scores - _finite(log_sum).unsqueeze(-1)).exp_()
    if dropout > 0:
        weights *= _kept(seed, weights.shape, dropout)
    return (weights @ values.float()).to(query.dtype), log_sum, seed


def _attend_backward(grad, query, key, value, bias, out, log_sum, seed, dropout, causal, scale, last=0):
    """The gradients of query, key, value and the scores."""
    keys, values = _heads_alike(query, key, value)
    grad, q, k, v = grad.float(), query.float(), keys.float(), values.float()
    log_sum = _finite(log_sum[..., : query.size(2)]).unsqueeze(-1)
    weights = (_scores(query, keys, bias, causal, scale, last) - log_sum).exp_()
    kept = _kept(seed, weights.shape, dropout) if dropout > 0 else 1.0
    d_value = (weights * kept).transpose(-2, -1) @ grad
    d_weights = (grad @ v.transpose(-2, -1)) * kept
    d_scores = weights * (d_weights - (grad * out.float()).sum(-1, keepdim=True))
    scale = query.size(-1) ** -0.5 if scale is None else scale
    d_query, d_key = d_scores @ k * scale, d_scores.transpose(-2, -1) @ q * scale
    return (
        d_query.to(query.dtype),
        _gathered(d_key, key).to(key.dtype),
        _gathered(d_value, value).to(value.dtype),
        d_scores,
    )


def _state(seed):
    return torch.tensor(seed, dtype=torch.int64, device="cpu"), torch.tensor(0, dtype=torch.int64, device="cpu")


def _none(dtype=torch.int32):
    return torch.empty(0, dtype=dtype, device="cpu")


# -- As scaled_dot_product_attention calls them: causal from the top left, but flash ---------------------------------------------


@equivalent("_scaled_dot_product_flash_attention")
def sdp_flash(query, key, value, dropout_p=0.0, is_causal=False, return_debug_mask=False, *, scale=None):
    """Without bias; causal from the bottom right, as the kernel is."""
    last = _flash_diagonal(query.size(2), key.size(2))
    out, log_sum, seed = _attend(query, key, value, None, dropout_p, is_causal, scale, last)
    return out, log_sum, _none(), _none(), query.size(2), key.size(2), *_state(seed), _none(query.dtype)


@equivalent("_scaled_dot_product_flash_attention_backward")
def sdp_flash_backward(grad_out, query, key, value, out, logsumexp, cum_seq_q, cum_seq_k, max_q, max_k, dropout_p, is_causal,
                       seed, offset, *, scale=None):
    """The gradients of query, key and value."""
    last = _flash_diagonal(query.size(2), key.size(2))
    return _attend_backward(
        grad_out, query, key, value, None, out, logsumexp, int(seed), dropout_p, is_causal, scale, last
    )[:3]


@equivalent("_scaled_dot_product_efficient_attention")
def sdp_efficient(query, key, value, attn_bias, compute_log_sumexp, dropout_p=0.0, is_causal=False, *, scale=None):
    """With a bias that is added to the scores."""
    out, log_sum, seed = _attend(query, key, value, attn_bias, dropout_p, is_causal, scale)
    return out, log_sum if compute_log_sumexp else log_sum[..., :0], *_state(seed)


@equivalent("_scaled_dot_product_efficient_attention_backward")
def sdp_efficient_backward(grad_out, query, key, value, attn_bias, out, logsumexp, seed, offset, dropout_p, grad_input_mask,
                           is_causal=False, *, scale=None):
    """The gradients of query, key, value and bias, each where it is asked for."""
    if grad_out is None:
        return None, None, None, None
    *gradients, d_scores = _attend_backward(
        grad_out, query, key, value, attn_bias, out, logsumexp, int(seed), dropout_p, is_causal, scale
    )
    if attn_bias is not None:
        gradients.append(d_scores.sum_to_size(attn_bias.size()).to(attn_bias.dtype))
    else:
        gradients.append(None)
    return tuple(item if wanted else None for item, wanted in zip(gradients, grad_input_mask))


@equivalent("_scaled_dot_product_cudnn_attention")
def sdp_cudnn(query, key, value, attn_bias, compute_log_sumexp, dropout_p=0.0, is_causal=False, return_debug_mask=False, *,
              scale=None):
    """With a bias that is added to the scores."""
    out, log_sum, seed = _attend(query, key, value, attn_bias, dropout_p, is_causal, scale)
    return out, log_sum, _none(), _none(), query.size(2), key.size(2), *_state(seed), _none(query.dtype)


@equivalent("_cudnn_attention_forward")
def cudnn_forward(query, key, value, attn_bias, cum_seq_q, cum_seq_k, max_q, max_k, compute_log_sumexp, dropout_p=0.0,
                  is_causal=False, return_debug_mask=False, *, scale=None, **others):
    """The same, as extensions call it."""
    _only_dense("_cudnn_attention_forward", cum_seq_q, **others)
    return sdp_cudnn(query, key, value, attn_bias, compute_log_sumexp, dropout_p, is_causal, scale=scale)


@equivalent("_scaled_dot_product_cudnn_attention_backward", "_cudnn_attention_backward")
def sdp_cudnn_backward(grad_out, query, key, value, out, logsumexp, seed, offset, attn_bias, cum_seq_q, cum_seq_k, max_q,
                       max_k, dropout_p, is_causal, *, scale=None):
    """The gradients of query, key and value."""
    bias = attn_bias if attn_bias is not None and attn_bias.numel() else None
    return _attend_backward(
        grad_out, query, key, value, bias, out, logsumexp, int(seed), dropout_p, is_causal, scale
    )[:3]


# -- As extensions call them: (batch, sequence, heads, channels) ------------------------------------------------------


def _heads_first(*tensors):
    return [tensor.transpose(1, 2) for tensor in tensors]


def _only_dense(name, cumulative, **others):
    if cumulative is not None and cumulative.numel():
        _refuse_attention(name, "with sequences of several lengths in one batch")
    for what, value in others.items():
        if value is not None and not (isinstance(value, int) and value == -1):
            _refuse_attention(name, f"with {what}")


@equivalent("_flash_attention_forward")
def flash_forward(query, key, value, cum_seq_q, cum_seq_k, max_q, max_k, dropout_p, is_causal, return_debug_mask, *,
                  scale=None, window_size_left=None, window_size_right=None, seqused_k=None, alibi_slopes=None, **others):
    """Causal from the bottom right."""
    _only_dense("_flash_attention_forward", cum_seq_q, window_size_left=window_size_left,
                window_size_right=window_size_right, seqused_k=seqused_k, alibi_slopes=alibi_slopes, **others)
    last = _flash_diagonal(query.size(1), key.size(1))
    out, log_sum, seed = _attend(*_heads_first(query, key, value), None, dropout_p, is_causal, scale, last)
    return out.transpose(1, 2).contiguous(), log_sum, *_state(seed), _none(query.dtype)


@equivalent("_flash_attention_backward")
def flash_backward(grad_out, query, key, value, out, logsumexp, cum_seq_q, cum_seq_k, max_q, max_k, dropout_p, is_causal, seed,
                   offset, *, scale=None, window_size_left=None, window_size_right=None):
    """The gradients of query, key and value."""
    _only_dense("_flash_attention_backward", cum_seq_q, window_size_left=window_size_left,
                window_size_right=window_size_right)
    last = _flash_diagonal(query.size(1), key.size(1))
    grad, q, k, v, o = _heads_first(grad_out, query, key, value, out)
    gradients = _attend_backward(grad, q, k, v, None, o, logsumexp, int(seed), dropout_p, is_causal, scale, last)
    return tuple(item.transpose(1, 2).contiguous() for item in gradients[:3])


def _efficient_mask(query, key, custom_mask_type):
    """Whether the mask is causal, and where its diagonal starts: 1 from the top left, 2 from the bottom right."""
    return custom_mask_type != 0, key.size(1) - query.size(1) if custom_mask_type == 2 else 0


@equivalent("_efficient_attention_forward")
def efficient_forward(query, key, value, bias, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p,
                      custom_mask_type, compute_log_sumexp=False, *, scale=None, seqlen_k=None, window_size=None, **_others):
    """With a bias that is added to the scores."""
    _only_dense("_efficient_attention_forward", cu_seqlens_q, seqlen_k=seqlen_k, window_size=window_size)
    causal, last = _efficient_mask(query, key, custom_mask_type)
    out, log_sum, seed = _attend(*_heads_first(query, key, value), bias, dropout_p, causal, scale, last)
    log_sum = log_sum if compute_log_sumexp else log_sum[..., :0]
    return out.transpose(1, 2).contiguous(), log_sum, *_state(seed), query.size(1), key.size(1)


@equivalent("_efficient_attention_backward")
def efficient_backward(grad_out_, query, key, value, bias, out, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k,
                       logsumexp, dropout_p, seed, offset, custom_mask_type, bias_requires_grad, *, scale=None,
                       num_splits_key=None, window_size=None, shared_storage_dqdkdv=False):
    """The gradients of query, key, value and, if asked for, bias."""
    _only_dense("_efficient_attention_backward", cu_seqlens_q, window_size=window_size)
    causal, last = _efficient_mask(query, key, custom_mask_type)
    grad, q, k, v, o = _heads_first(grad_out_, query, key, value, out)
    *gradients, d_scores = _attend_backward(grad, q, k, v, bias, o, logsumexp, int(seed), dropout_p, causal, scale, last)
    results = [item.transpose(1, 2).contiguous() for item in gradients]
    with_bias = bias_requires_grad and bias is not None
    return *results, d_scores.sum_to_size(bias.size()).to(bias.dtype) if with_bias else None
