"""Composite operators that run as one call on the host, against the CPU, and what is left to their compositions."""

from test_operators import passes


def test_recurrent_networks_are_one_call_and_equal_to_the_cpu(on_simgpu):
    result = passes(
        on_simgpu,
        """
from torch.nn.utils.rnn import pack_padded_sequence
def states(hidden):
    return hidden if isinstance(hidden, tuple) else (hidden,)
cases = [(cls, options) for cls in (nn.LSTM, nn.GRU, nn.RNN) for options in ({}, dict(bidirectional=True, batch_first=True))]
for cls, options in [*cases, (nn.LSTM, dict(proj_size=8)), (nn.RNN, dict(nonlinearity="relu", bias=False))]:
    net, x = cls(16, 32, 2, **options), torch.randn(5, 3, 16)
    there, y = copy.deepcopy(net).cuda(), x.cuda()
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            (want, last), (got, got_last) = net(x), there(y)
        near((cls, options, mode), got, want)
        for a, b in zip(states(got_last), states(last)):
            near((cls, options, mode, "state"), a, b)
    want.square().sum().backward()
    got.square().sum().backward()
    for p, q in zip(net.parameters(), there.parameters()):
        near((cls, "gradient"), q.grad, p.grad, 1e-3)
    if not options:
        with torch.no_grad():
            near("packed", there(pack_padded_sequence(y, [5, 3, 2]))[0].data, net(pack_padded_sequence(x, [5, 3, 2]))[0].data)
drops = nn.LSTM(8, 8, 2, dropout=0.5).cuda()
with torch.no_grad():
    x = torch.randn(4, 2, 8).cuda()
    torch.cuda.manual_seed(3)
    first = drops(x)[0]
    torch.cuda.manual_seed(3)
    assert torch.equal(drops(x)[0], first) and not torch.equal(drops(x)[0], first)
try:
    nn.LSTM(4, 4)(torch.randn(2, 2, 4).cuda())
    raise AssertionError("weights on another device were taken")
except RuntimeError as error:
    assert "device" in str(error), error
""",
        GPU_COMPAT_DEBUG="1",
    )
    assert "aten::lstm.input treatment=cpu" in result.err, result


def test_attention_without_a_mask_is_one_call_and_equal_to_double_precision(on_simgpu):
    result = passes(
        on_simgpu,
        """
from torch._subclasses.fake_tensor import FakeTensorMode
attend = F.scaled_dot_product_attention
q, k = torch.randn(3, 2, 5, 8), torch.randn(1, 2, 6, 8)
near("one key for all", attend(q.cuda(), k.cuda(), k.cuda()), attend(q, k, k), 1e-4)
near("one query for all", attend(k.cuda(), q.cuda(), q.cuda()), attend(k, q, q), 1e-4)
for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 3e-2), (torch.float16, 3e-2)):
    for lengths, options in (((33, 33), {}), ((7, 7), dict(is_causal=True)), ((5, 12), dict(scale=0.3)),
                             ((9, 9), dict(attn_mask=torch.ones(9, 9).tril().bool()))):
        q, k, v = (torch.randn(2, 4, length, 16).to(dtype) for length in (lengths[0], lengths[1], lengths[1]))
        want = attend(q.double(), k.double(), v.double(), **options).to(dtype)
        there = {name: item.cuda() if isinstance(item, torch.Tensor) else item for name, item in options.items()}
        for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
            with mode():
                near((dtype, options, mode), attend(q.cuda(), k.cuda(), v.cuda(), **there), want, tolerance)
x = torch.randn(3, 2, 4, 8, 16)
y = x.cuda().requires_grad_()
x.requires_grad_()
attend(x, x, x).square().sum().backward()
attend(y, y, y).square().sum().backward()
near("gradient", y.grad, x.grad, 1e-3)
with torch.no_grad():
    near("vmap", torch.vmap(lambda t: attend(t, t, t))(y), torch.vmap(lambda t: attend(t, t, t))(x))
near("func.grad", torch.func.grad(lambda t: attend(t, t, t).sum())(y[0].detach()), torch.func.grad(lambda t: attend(t, t, t).sum())(x[0].detach()), 1e-3)
with torch.no_grad(), FakeTensorMode():
    fake = torch.randn(2, 4, 8, 16, device="cuda")
    assert attend(fake, fake, fake).shape == (2, 4, 8, 16)
    assert nn.LSTM(4, 8, device="cuda")(torch.randn(3, 2, 4, device="cuda"))[0].shape == (3, 2, 8)
with torch.no_grad():
    z = y[0].detach()
    torch.cuda.manual_seed(5)
    first = attend(z, z, z, dropout_p=0.5)
    torch.cuda.manual_seed(5)
    assert torch.equal(attend(z, z, z, dropout_p=0.5), first)
    try:
        attend(z, z.cpu(), z)
        raise AssertionError("a key on the host was taken")
    except RuntimeError as error:
        assert "device" in str(error), error
""",
        GPU_COMPAT_DEBUG="1",
    )
    assert "aten::scaled_dot_product_attention treatment=cpu" in result.err, result
