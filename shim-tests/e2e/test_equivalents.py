"""Operators that have a CUDA kernel only, and what PyTorch does around operators: attention, cuDNN's forms, sparse and
nested tensors, torch.compile; on a device on which no kernel runs, against the CPU."""

from test_operators import passes


def test_fused_attention_and_its_gradients(on_simgpu):
    passes(
        on_simgpu,
        """
ops = torch.ops.aten
def attention(q, k, v, bias, causal):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=causal)

for heads, rows, columns, depth in ((2, 5, 7, 4), (3, 8, 8, 16), (1, 1, 6, 8)):
    q, k, v = (torch.randn(2, heads, n, depth, requires_grad=True) for n in (rows, columns, columns))
    bias = torch.randn(2, heads, rows, columns, requires_grad=True)
    first = lambda t: t.detach().transpose(1, 2).contiguous().cuda()
    grad = torch.randn(2, heads, rows, depth)
    seen = torch.ones(rows, columns, dtype=torch.bool)
    for causal in (False, True):
        # cuDNN's takes a bias since 2.6.
        with_cudnn = hasattr(ops, "_cudnn_attention_forward")
        for op in (ops._scaled_dot_product_flash_attention, ops._scaled_dot_product_efficient_attention,
                   *([ops._scaled_dot_product_cudnn_attention] if with_cudnn else [])):
            a = [t.detach().cuda().requires_grad_() for t in (q, k, v)]
            flash = op is ops._scaled_dot_product_flash_attention
            # The flash kernel's mask starts from the bottom right since 2.2, the others' from the top left.
            start = columns - rows if flash and torch.__version__ >= "2.2" else 0
            want = attention(q, k, v, seen.tril(start) if causal else None, False)
            wants = torch.autograd.grad(want, (q, k, v), grad)
            more = () if op is ops._scaled_dot_product_flash_attention else (None, True)
            got = op(*a, *more, is_causal=causal)[0]
            near(f"{op} {causal}", got, want)
            for x, y in zip(torch.autograd.grad(got, a, grad.cuda()), wants):
                near(f"gradient of {op} {causal}", x, y)
    want = attention(q, k, v, bias, False)
    wants = torch.autograd.grad(want, (q, k, v, bias), grad)
    a = [t.detach().cuda().requires_grad_() for t in (q, k, v, bias)]
    got = ops._scaled_dot_product_efficient_attention(*a, True)[0]
    near("bias", got, want)
    for x, y in zip(torch.autograd.grad(got, a, grad.cuda()), wants):
        near("gradient with bias", x, y)
    if not with_cudnn and torch.__version__ < "2.5":
        continue  # the forms below took other arguments
    got = ops._flash_attention_forward(first(q), first(k), first(v), None, None, rows, columns, 0.0, False, False)[0]
    near("flash forward", got.transpose(1, 2), attention(q, k, v, None, False))
    got = ops._efficient_attention_forward(first(q), first(k), first(v), None, None, None, rows, columns, 0.0, 1)[0]
    near("efficient forward", got.transpose(1, 2), attention(q, k, v, None, True))

# Queries that see no key get zeros.
q, k = torch.randn(1, 1, 4, 8).cuda(), torch.randn(1, 1, 2, 8).cuda()
if torch.__version__ >= "2.5":
    out = ops._scaled_dot_product_flash_attention(q, k, k, 0.0, True)[0]
    assert out[0, 0, :2].abs().sum() == 0 and out.isfinite().all(), out

# Dropout: the mask of the backward pass is the forward pass's: the output is linear in the values.
q, k, v = (torch.randn(1, 2, 6, 8).cuda().requires_grad_() for _ in range(3))
torch.cuda.manual_seed(3)
out = ops._scaled_dot_product_flash_attention(q, k, v, 0.5)[0]
grad = torch.randn(1, 2, 6, 8).cuda()
d_value, = torch.autograd.grad(out, v, grad)
near("dropout", (d_value * v).sum(), (out * grad).sum().cpu(), 1e-3)
torch.cuda.manual_seed(3)
same("seeded", ops._scaled_dot_product_flash_attention(q, k, v, 0.5)[0], out.cpu())
assert not torch.equal(ops._scaled_dot_product_flash_attention(q, k, v, 0.5)[0], out)
try:
    sequences = torch.tensor([0, 3, 6]).cuda()
    ops._flash_attention_forward(q, k, v, sequences, sequences, 6, 6, 0.0, False, False)
    raise SystemExit("not refused")
except NotImplementedError as error:
    assert "several lengths" in str(error), error
""",
    )


def test_networks_with_cudnn_switched_on(on_simgpu):
    passes(
        on_simgpu,
        """
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.zeros(1).cuda()
assert torch.backends.cudnn.enabled
torch.backends.cudnn.enabled = True
torch.backends.cudnn.benchmark = True
for kind in (nn.LSTM, nn.GRU, nn.RNN):
    for layers, both, bias in ((1, False, True), (2, True, True), (2, False, False)):
        net = kind(5, 6, layers, bidirectional=both, bias=bias, batch_first=layers == 2)
        twin = copy.deepcopy(net).cuda()
        x = torch.randn(4, 3, 5) if layers == 1 else torch.randn(3, 4, 5)
        packed = lambda t: pack_padded_sequence(t, [4, 3, 1], batch_first=layers == 2)
        for prepare in (lambda t: t, packed):
            a, b = x.clone().requires_grad_(), x.cuda().requires_grad_()
            want, got = net(prepare(a))[0], twin(prepare(b))[0]
            if prepare is packed:
                want, got = (pad_packed_sequence(t, batch_first=layers == 2)[0] for t in (want, got))
            near(f"{kind} {layers}", got, want)
            net.zero_grad(), twin.zero_grad()
            want.square().sum().backward()
            got.square().sum().backward()
            near("gradient of the input", b.grad, a.grad, 1e-3)
            for p, q in zip(net.parameters(), twin.parameters()):
                near(f"gradient of a weight {kind}", q.grad, p.grad, 1e-3)
net = nn.LSTM(5, 6, 2, dropout=0.5).cuda()
assert not torch.equal(net(x.cuda().transpose(0, 1))[0], net(x.cuda().transpose(0, 1))[0])
for make, x in ((lambda: nn.Conv1d(4, 6, 3, groups=2), torch.randn(2, 4, 9)),
                (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), torch.randn(2, 4, 5, 6)),
                (lambda: nn.BatchNorm2d(4), torch.randn(3, 4, 5, 6)),
                (lambda: nn.Conv2d(4, 4, 3, groups=4), torch.randn(2, 4, 9, 9))):
    net = make()
    twin = copy.deepcopy(net).cuda()
    near("forward", twin(x.cuda()), net(x))
    for p, q in zip(net.buffers(), twin.buffers()):
        near("buffer", q, p)
    twin(x.cuda()).square().sum().backward()
    net(x).square().sum().backward()
    for p, q in zip(net.parameters(), twin.parameters()):
        near("gradient", q.grad, p.grad, 2e-3)
grid = torch.rand(2, 5, 5, 2) * 2 - 1
x = torch.randn(2, 3, 6, 6)
near("grid_sample", F.grid_sample(x.cuda(), grid.cuda(), align_corners=True), F.grid_sample(x, grid, align_corners=True))
near("affine_grid", F.affine_grid(grid[:, :2, :3, :1].expand(2, 2, 3, 1)[..., 0].contiguous().cuda(), [2, 3, 4, 5], True),
     F.affine_grid(grid[:, :2, :3, 0].contiguous(), [2, 3, 4, 5], True))
probabilities = torch.randn(9, 2, 5).log_softmax(2)
arguments = (torch.tensor([1, 2, 3, 1, 4]), torch.tensor([9, 8]), torch.tensor([3, 2]))
near("ctc", F.ctc_loss(probabilities.cuda(), *arguments), F.ctc_loss(probabilities, *arguments))
loss, gradient = torch.ops.aten._cudnn_ctc_loss(probabilities.cuda(), arguments[0].int(), [9, 8], [3, 2], 0, False, False)
leaf = probabilities.clone().requires_grad_()
want = F.ctc_loss(leaf, *arguments, reduction="none")
near("cudnn's ctc", loss, want)
near("its gradient", gradient, torch.autograd.grad(want.sum(), leaf)[0], 1e-3)
""",
    )


def test_synchronised_batch_norm_is_batch_norm_over_all_processes(on_simgpu):
    passes(
        on_simgpu,
        """
ops = torch.ops.aten
parts = [torch.randn(2, 3, 4) + 1, torch.randn(5, 3, 4) * 2]
whole = torch.cat(parts).requires_grad_()
weight, bias = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
mean, var = torch.zeros(3), torch.ones(3)
want = F.batch_norm(whole, mean, var, weight, bias, True, 0.1, 1e-5)
grad = torch.randn_like(want)
wants = torch.autograd.grad(want, (whole, weight, bias), grad)
here = [part.cuda() for part in parts]
stats = [ops.batch_norm_stats(part, 1e-5) for part in here]
means, inverses = (torch.stack(column) for column in zip(*stats))
counts = torch.tensor([8.0, 20.0]).cuda()
run_mean, run_var = torch.zeros(3).cuda(), torch.ones(3).cuda()
joint, inverse = ops.batch_norm_gather_stats_with_counts(here[0], means, inverses, run_mean, run_var, 0.1, 1e-5, counts)
near("running mean", run_mean, mean)
near("running variance", run_var, var)
w, b = weight.detach().cuda(), bias.detach().cuda()
got = torch.cat([ops.batch_norm_elemt(part, w, b, joint, inverse, 1e-5) for part in here])
near("normalised", got, want)
grads = grad.cuda().split([2, 5])
sums = [ops.batch_norm_backward_reduce(g, x, joint, inverse, w, True, True, True) for g, x in zip(grads, here)]
sum_dy, sum_dy_xmu, d_weight, d_bias = (sum(column) for column in zip(*sums))
near("weight", d_weight, wants[1], 1e-3)
near("bias", d_bias, wants[2], 1e-3)
total = torch.tensor([8, 20], dtype=torch.int32).cuda()
found = [ops.batch_norm_backward_elemt(g, x, joint, inverse, w, sum_dy, sum_dy_xmu, total) for g, x in zip(grads, here)]
near("input", torch.cat(found), wants[0], 1e-3)
""",
    )


def test_running_statistics_and_other_unannounced_writes_arrive(on_simgpu):
    passes(
        on_simgpu,
        """
for net, x in ((nn.BatchNorm1d(3), torch.randn(4, 3)), (nn.BatchNorm2d(3), torch.randn(4, 3, 5, 5)),
               (nn.BatchNorm3d(3), torch.randn(2, 3, 2, 3, 4)),
               (nn.InstanceNorm2d(3, track_running_stats=True), torch.randn(4, 3, 5, 5))):
    twin = copy.deepcopy(net).cuda()
    for _ in range(3):
        near(f"{net}", twin(x.cuda()), net(x))
    for p, q in zip(net.buffers(), twin.buffers()):
        near(f"buffer of {net}", q, p)
    near("in evaluation", twin.eval()(x.cuda()), net.eval()(x))
x = -torch.ones(50).cuda()
x.requires_grad_()
y = F.rrelu(x, 0.1, 0.9, training=True)
y.sum().backward()
near("rrelu's noise", x.grad, (-y).detach().cpu())
""",
    )


def test_sparse_and_nested_tensors(on_simgpu):
    passes(
        on_simgpu,
        """
dense = torch.randn(6, 5) * (torch.rand(6, 5) > 0.5)
other = torch.randn(5, 4)
for convert in (lambda t: t.to_sparse(), lambda t: t.to_sparse_csr(), lambda t: t.to_sparse_csc()):
    a, b = convert(dense), convert(dense.cuda())
    assert b.layout is a.layout and b.is_cuda
    near("to_dense", b.to_dense(), dense)
    near("matmul", b @ other.cuda(), dense @ other)
    near("sum", (b * 2).to_dense(), dense * 2)
    near("moved", a.cuda().to_dense(), dense)
    assert torch.equal(b.cpu().to_dense(), dense)
s = dense.to_sparse().cuda()
near("add", (s + s).to_dense(), dense + dense)
near("in place", s.mul_(3).to_dense(), dense * 3)
near("dense + sparse", torch.ones(6, 5).cuda() + s, torch.ones(6, 5) + 3 * dense)
twice = torch.sparse_coo_tensor(torch.tensor([[0, 0, 1]]), torch.tensor([1.0, 2.0, 3.0]), (3,)).cuda()
near("coalesce", twice.coalesce().to_dense(), torch.tensor([3.0, 3.0, 0.0]))
results = []
for device in ("cpu", "cuda"):
    torch.manual_seed(5)
    table = nn.Embedding(10, 3, sparse=True)
    table = table.to(device)
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.1)
    for _ in range(3):
        table(torch.tensor([1, 2, 2], device=device)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    results.append(table.weight)
near("sparse Adam", results[1], results[0])
y = dense.cuda().requires_grad_()
y.to_sparse().to_dense().square().sum().backward()
near("gradient of to_sparse", y.grad, 2 * dense)
encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()
x, mask = torch.randn(2, 5, 16), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
with torch.no_grad():
    want = encoder(x, src_key_padding_mask=mask)
    near("nested", encoder.cuda()(x.cuda(), src_key_padding_mask=mask.cuda()), want)
""",
    )


def test_what_cannot_be_computed_is_refused_by_name(on_simgpu):
    passes(
        on_simgpu,
        """
def refused(function, kind, *words):
    try:
        function()
    except kind as error:
        assert all(word in str(error) for word in words), error
        return
    raise SystemExit(f"not refused: {words}")

x = torch.randn(4, 4).cuda()
refused(lambda: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), NotImplementedError, "gpucompat", "quantised")
refused(lambda: torch.ops.aten._cslt_compress(x), NotImplementedError, "gpucompat", "_cslt_compress", "keep the weights dense")
for operation in (lambda: x + torch.randn(4, 4), lambda: torch.cat([x, torch.randn(4, 4)]),
                  lambda: F.linear(x, torch.randn(4, 4)), lambda: x.gather(0, torch.zeros(1, 4, dtype=torch.int64)),
                  lambda: F.layer_norm(x, [4], torch.ones(4)), lambda: F.embedding(torch.zeros(2).long(), x)):
    refused(operation, RuntimeError, "Expected all tensors to be on the same device", "cuda:0", "cpu")
near("indices may be on the host", x[torch.tensor([1, 2])], x.cpu()[[1, 2]])
""",
    )


def test_compiled_programs_run_eagerly_with_one_warning(on_simgpu):
    passes(
        on_simgpu,
        """
import warnings
net, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(2, 8)
twin = copy.deepcopy(net).cuda()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    compiled = torch.compile(twin)
    second = torch.compile(lambda t: torch.relu(t) + 1)
    third = torch.compile(lambda t: t.to("cuda") + 1)
    near("compiled", compiled(x.cuda()), net(x))
    compiled(x.cuda()).sum().backward()
    same("second", second(x.cuda()), torch.relu(x) + 1)
    same("third", third(x), x + 1)
ours = [str(item.message) for item in caught if "gpucompat" in str(item.message)]
assert len(ours) == 1 and "uncompiled" in ours[0], ours
net(x).sum().backward()
for p, q in zip(net.parameters(), twin.parameters()):
    near("gradient", q.grad, p.grad)
""",
    )


def test_products_in_given_types_and_with_scales(on_simgpu):
    passes(
        on_simgpu,
        """
a, b = torch.randn(16, 32), torch.randn(32, 16)
same("_int_mm", torch._int_mm((a * 9).char().cuda(), (b * 9).char().cuda()), (a * 9).int() @ (b * 9).int())
if torch.__version__ >= "2.5":
    x, y = a.to(torch.float8_e4m3fn), b.t().contiguous().to(torch.float8_e4m3fn).t()
    rows, columns = torch.rand(16, 1) + 0.5, torch.rand(1, 16) + 0.5
    for scale_a, scale_b in ((torch.tensor(0.5), torch.tensor(2.0)), (rows, columns)):
        want = (x.float() * scale_a) @ (y.float() * scale_b)
        got = torch._scaled_mm(x.cuda(), y.cuda(), scale_a.cuda(), scale_b.cuda(), out_dtype=torch.bfloat16)
        near("_scaled_mm", got.float(), want, 2e-2)
if "dtype" in torch.ops.aten.mm.overloads():
    h, k = a.half(), b.half()
    near("mm.dtype", torch.mm(h.cuda(), k.cuda(), out_dtype=torch.float32), h.float() @ k.float())
""",
    )


def test_what_surrounds_an_operator_is_the_devices(on_simgpu):
    passes(
        on_simgpu,
        """
# The CPU's autocast is not meant for device tensors.
x, w = torch.randn(4, 5), torch.randn(6, 5)
with torch.autocast("cpu", dtype=torch.bfloat16):
    got = F.linear(x.cuda(), w.cuda())
    near("cpu autocast", got, x.double().mm(w.double().t()).float())
    near("after it", torch.mm(x.cuda(), w.cuda().t()), x.double().mm(w.double().t()).float())
# Generators by position and by name, of the device.
rates = torch.full((1000,), 4.0)
first = torch.poisson(rates.cuda(), torch.Generator("cuda").manual_seed(3))
second = torch.poisson(rates.cuda(), generator=torch.Generator("cuda").manual_seed(3))
same("seeded", first, second.cpu())
assert 3.5 < first.mean().item() < 4.5
# Numbers beyond a tensor's type.
same("half", torch.tensor(0.25, dtype=torch.float16, device="cuda") * 65536.0, torch.tensor(16384.0, dtype=torch.float16))
same("uint8", torch.tensor([1, 2], dtype=torch.uint8, device="cuda") + 300, torch.tensor([1, 2], dtype=torch.uint8) + 300)
# A CUDA solver's name.
a = torch.randn(5, 4)
near("svd", torch.linalg.svd(a.cuda(), driver="gesvd").S, torch.linalg.svd(a).S)
near("svdvals", torch.linalg.svdvals(a.cuda(), driver="gesvdj"), torch.linalg.svdvals(a))
# Views of nested and parts of sparse tensors see writes.
nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], device="cuda")
nested.unbind()[0].zero_()
assert [part.cpu().tolist() for part in nested.unbind()] == [[0, 0], [1, 1, 1]]
alias = nested.detach()
alias.mul_(2)
assert nested.unbind()[1].cpu().tolist() == [2, 2, 2]
sparse = torch.eye(3).to_sparse().cuda()
values = sparse._values()
sparse.mul_(5)
same("parts", values, torch.full((3,), 5.0))
rows = torch.eye(3).to_sparse_csr().cuda()
rows.copy_(torch.eye(3).to_sparse_csr().cuda() * 7)
same("compressed copy", rows.to_dense(), torch.eye(3) * 7)
same("one entry", torch.sparse_coo_tensor([[0]], [3.0], (1,)).cuda().to_dense(), torch.tensor([3.0]))
try:
    torch.randn(5, 4)[torch.tensor([1, 2]).cuda()]
    raise SystemExit("host values by device indices")
except RuntimeError:
    pass
""",
    )
