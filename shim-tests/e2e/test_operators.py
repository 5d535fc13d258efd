"""PyTorch's own operators on a device on which no kernel runs, against the same on the CPU."""

import pathlib
import subprocess

import pytest

# What the scripts below start with.
BOTH = """
import copy
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(int.from_bytes(__import__("os").urandom(4), "little"))

def near(what, got, want, tolerance=1e-4):
    assert got.device.type == "cuda", (what, got.device)
    got, want = got.detach().cpu(), want.detach()
    assert got.dtype == want.dtype and got.shape == want.shape, (what, got.dtype, want.dtype, got.shape, want.shape)
    assert torch.allclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True), (what, got, want)

def same(what, got, want):
    near(what, got, want, 0.0)
"""


def passes(on_simgpu, script, **environment):
    result = on_simgpu(BOTH + script + '\nprint("ok")\n', **environment)
    assert result.status == 0 and result.out.splitlines()[-1] == "ok", result
    return result


def test_elementwise_indexing_and_reductions(on_simgpu):
    passes(
        on_simgpu,
        """
for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64):
    x = (torch.randn(5, 6) * 3).to(dtype)
    y = x.cuda()
    same(f"clone {dtype}", y.clone(), x.clone())
    same("eq", y == y.t().t(), x == x)
    same("cat", torch.cat([y, y], 1), torch.cat([x, x], 1))
    same("index", y[1:4, ::2], x[1:4, ::2])
    same("mask", y[y == y], x[x == x])
    same("gather", y.gather(1, torch.tensor([[0, 1]]).cuda()), x.gather(1, torch.tensor([[0, 1]])))
    same("to float", y.to(torch.complex64), x.to(torch.complex64))
    if dtype != torch.bool:
        same("add", y + 1, x + 1)
        near("sum", y.sum(), x.sum(), 1e-2)
x = torch.randn(4, 5)
y = x.cuda()
same("sort", y.sort(1).values, x.sort(1).values)
same("topk", y.topk(2).indices, x.topk(2).indices)
same("nonzero", (y > 0).nonzero(), (x > 0).nonzero())
near("softmax", y.softmax(1), x.softmax(1))
near("norm", torch.linalg.norm(y), torch.linalg.norm(x))
near("where", torch.where(y > 0, y, 0.0), torch.where(x > 0, x, 0.0))
near("svd", torch.linalg.svdvals(y), torch.linalg.svdvals(x))
same("embedding", F.embedding(torch.tensor([1, 2]).cuda(), y), F.embedding(torch.tensor([1, 2]), x))
same("one_hot", F.one_hot(torch.tensor([1, 2]).cuda()), F.one_hot(torch.tensor([1, 2])))
same("empty", torch.empty(0, 3).cuda() + 1, torch.empty(0, 3))
same("0-dim", torch.tensor(2.0).cuda() * 3, torch.tensor(6.0))
same("cpu scalar", y * torch.tensor(2.0), x * 2.0)
assert "device='cuda:0'" in repr(y)
""",
    )


def test_in_place_out_views_and_aliasing(on_simgpu):
    passes(
        on_simgpu,
        """
def run(device):
    x = torch.arange(24.0, device=device).reshape(4, 6)
    x[:, 1] += 100
    x[1:3, ::2].mul_(-1)
    x.t()[3].fill_(7)
    x[x > 110] = 0.5
    view = x[2]
    view.add_(1)
    x[0], x[1] = x[1].clone(), x[0].clone()
    x[:, :3].copy_(x[:, 3:])
    x[1:].sub_(x[:-1].clone())
    out = torch.empty(0, device=device)
    torch.add(x, 1, out=out)
    part = torch.zeros(4, 12, device=device)
    torch.mul(x, 2, out=part[:, ::2])
    y = torch.zeros(3, 4, device=device, dtype=torch.int32)
    y.copy_(torch.ones(4, device=device) * 2.7)
    z = torch.ones(2, 3, 4, 5, device=device).contiguous(memory_format=torch.channels_last)
    z[:, 1] *= 3
    c = torch.randn(3, 3, dtype=torch.complex64, generator=torch.Generator().manual_seed(1)).to(device)
    d = c.conj().clone() + c.conj().imag.neg()
    a = torch.arange(6.0, device=device)
    a[1:].add_(a[:-1].clone())
    torch.add(a[:3], a[3:], out=a[:3])
    index = torch.zeros(5, device=device).index_add_(0, torch.tensor([0, 0, 2], device=device), torch.ones(3, device=device))
    w = torch.ones(3, 3, device=device)
    w.diagonal().fill_(5)
    w.resize_(2, 2)
    halves = torch.arange(8.0, device=device)
    torch._foreach_add_([halves[:4], halves[4:]], 1)
    torch._foreach_mul_([halves[::2], halves[1::2]], [halves[:4].clone(), halves[4:].clone()])
    gaps = torch.arange(9.0, device=device)
    overlapping = gaps.as_strided((2, 2), (3, 0)).clone()
    scattered = torch.zeros(9, device=device)
    scattered.as_strided((2, 2), (5, 3)).copy_(torch.ones(2, 2, device=device))
    torch.add(gaps.as_strided((2, 2), (5, 3)), 1, out=scattered.as_strided((2, 2), (5, 3)))
    grown = torch.ones(2, device=device, requires_grad=True)
    with torch.no_grad():
        grown.mul_(3)
    return halves, overlapping, scattered, grown, x, out, part, y, z, c, d, a, index, w
for position, (got, want) in enumerate(zip(run("cuda"), run("cpu"))):
    same(position, got, want)
    assert got.stride() == want.stride(), (position, got.stride(), want.stride())
""",
    )


def test_layers_train_as_on_the_cpu(on_simgpu):
    passes(
        on_simgpu,
        """
def train(model, inputs, steps=3, optimizer=torch.optim.AdamW, **options):
    optimizer = optimizer(model.parameters(), **options)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        result = model(inputs)
        result = result[0] if isinstance(result, tuple) else result
        loss = result.pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().cpu())
    return torch.stack(losses), [p.detach().cpu() for p in model.parameters()]

models = {
    "convolutions": (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                                   nn.Conv2d(8, 8, 3, groups=8, stride=2), nn.GELU(), nn.AdaptiveAvgPool2d(2),
                                   nn.Flatten(), nn.Linear(32, 10)), torch.randn(2, 3, 16, 16)),
    "1-D": (nn.Sequential(nn.Conv1d(4, 8, 5, dilation=2), nn.LeakyReLU(), nn.ConvTranspose1d(8, 4, 4, stride=2),
                          nn.InstanceNorm1d(4), nn.Tanh()), torch.randn(2, 4, 40)),
    "3-D": (nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2), nn.SiLU()), torch.randn(1, 1, 6, 6, 6)),
    "transformer": (nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True), torch.randn(2, 7, 32)),
    "lstm": (nn.LSTM(8, 16, 2, bidirectional=True), torch.randn(5, 3, 8)),
    "gru": (nn.GRU(8, 16), torch.randn(5, 3, 8)),
    "rnn": (nn.RNN(8, 16), torch.randn(5, 3, 8)),
    "embedding": (nn.Sequential(nn.Embedding(50, 16), nn.LayerNorm(16), nn.Linear(16, 4)), torch.randint(0, 50, (3, 9))),
}
for name, (model, inputs) in models.items():
    for optimizer, options in ((torch.optim.AdamW, dict(lr=1e-3)), (torch.optim.SGD, dict(lr=1e-2, momentum=0.9))):
        losses, weights = train(copy.deepcopy(model), inputs, optimizer=optimizer, **options)
        on_device = copy.deepcopy(model).cuda()
        got_losses, got_weights = train(on_device, inputs.cuda(), optimizer=optimizer, **options)
        assert torch.allclose(losses, got_losses, rtol=1e-3), (name, losses, got_losses)
        for position, (got, want) in enumerate(zip(got_weights, weights)):
            # A gradient that is zero but for rounding is scaled up to a step by Adam: allow that step.
            assert torch.allclose(got, want, rtol=1e-3, atol=4e-3), (name, optimizer, position, (got - want).abs().max())
    model.eval()
    with torch.inference_mode():
        want, got = model(inputs), copy.deepcopy(model).cuda()(inputs.cuda())
    near(name, got[0] if isinstance(got, tuple) else got, want[0] if isinstance(want, tuple) else want)
""",
    )


def test_random_numbers_repeat_with_the_seed_and_a_restored_state(on_simgpu):
    passes(
        on_simgpu,
        """
def draw():
    return (torch.randn(3, device="cuda"), torch.rand(2, device="cuda"), torch.randperm(9, device="cuda"),
            F.dropout(torch.ones(50, device="cuda")), torch.bernoulli(torch.full((9,), 0.5, device="cuda")),
            torch.multinomial(torch.ones(5, device="cuda"), 3), torch.empty(4, device="cuda").exponential_())
torch.cuda.manual_seed(5)
first = draw()
second = draw()
torch.cuda.manual_seed(5)
again = draw()
assert all(a.equal(b) for a, b in zip(first, again)) and not first[0].equal(second[0])
state = torch.cuda.get_rng_state()
one = draw()
torch.cuda.set_rng_state(state)
assert all(a.equal(b) for a, b in zip(one, draw()))
generator = torch.Generator("cuda").manual_seed(3)
a = torch.randn(4, device="cuda", generator=generator)
b = torch.randn(4, device="cuda", generator=generator)
assert a.equal(torch.randn(4, device="cuda", generator=generator.manual_seed(3))) and not a.equal(b)
host = torch.get_rng_state()
draw()
assert host.equal(torch.get_rng_state()), "the CPU's generator is not touched"
values = torch.randn(20000, device="cuda")
assert abs(values.mean().item()) < 0.05 and abs(values.std().item() - 1) < 0.05
""",
    )


def test_autocast_gradscaler_double_backward_and_functorch(on_simgpu):
    passes(
        on_simgpu,
        """
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).cuda()
x = torch.randn(5, 8, device="cuda")
for dtype in (torch.float16, torch.bfloat16):
    scaler = torch.cuda.amp.GradScaler(enabled=dtype == torch.float16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.autocast("cuda", dtype=dtype):
        result = model(x)
        assert result.dtype == dtype
        loss = result.float().pow(2).mean()
    scaler.scale(loss).backward()
    before = model[0].weight.detach().clone()
    scaler.step(optimizer)
    scaler.update()
    assert not before.equal(model[0].weight)
v = torch.randn(4, device="cuda", requires_grad=True)
(gradient,) = torch.autograd.grad((v ** 3).sum(), v, create_graph=True)
(second,) = torch.autograd.grad(gradient.sum(), v)
near("double backward", second, 6 * v.detach().cpu())
batch = torch.randn(6, 3)
f = lambda row: (row.sin() * row).sum()
near("vmap", torch.vmap(f)(batch.cuda()), torch.vmap(f)(batch))
near("grad", torch.func.vmap(torch.func.grad(f))(batch.cuda()), torch.func.vmap(torch.func.grad(f))(batch))
seen = []
model[0].register_forward_hook(lambda *_: seen.append(1))
model(x)
assert seen == [1]
meta = torch.randn(3, device="meta") + 1
assert meta.device.type == "meta"
q = torch.randn(1, 2, 5, 8)
near("attention", F.scaled_dot_product_attention(q.cuda(), q.cuda(), q.cuda(), is_causal=True),
     F.scaled_dot_product_attention(q, q, q, is_causal=True))
""",
    )


def test_copies_keep_their_order_and_meaning(on_simgpu):
    passes(
        on_simgpu,
        """
x = torch.randn(1000)
pinned = x.pin_memory()
stream = torch.cuda.Stream()
with torch.cuda.stream(stream):
    y = pinned.to("cuda", non_blocking=True)
    z = y * 2
    back = torch.empty(1000, pin_memory=True)
    back.copy_(z, non_blocking=True)
    done = torch.cuda.Event()
    done.record()
done.synchronize()
assert back.equal(x * 2)
for start in range(20):
    t = torch.full((100,), float(start)).pin_memory().cuda(non_blocking=True)
    del t
s = x.cuda()[::3].cpu()
assert s.equal(x[::3])
d = x.double().cuda()
assert d.float().cpu().equal(x)
d.copy_(x)
assert d.cpu().equal(x.double())
e = x.cuda()
e.record_stream(stream)
torch.cuda.synchronize()
""",
        SIMGPU_DELAY_US="300",
    )


def test_two_devices(on_simgpu):
    passes(
        on_simgpu,
        """
a = torch.arange(6.0, device="cuda:0")
b = a.to("cuda:1")
c = (b * 2).to("cuda:0")
assert b.device.index == 1 and c.device.index == 0
assert c.cpu().equal(torch.arange(6.0) * 2)
with torch.cuda.device(1):
    assert torch.zeros(2, device="cuda").device.index == 1
for other in (b, torch.ones(6)):
    try:
        a + other
    except RuntimeError as error:
        assert f"found at least two devices, cuda:0 and {other.device}!" in str(error), error
    else:
        raise AssertionError("devices were mixed")
""",
        SIMGPU_DEVICES="2",
    )


def test_errors_are_pytorchs_own_and_unsupported_things_say_so(on_simgpu):
    passes(
        on_simgpu,
        """
def message(function):
    try:
        function()
    except Exception as error:
        return type(error).__name__ + ": " + str(error).splitlines()[0]
    raise AssertionError("no error")
for function in (
    lambda d: torch.ones(2, 3, device=d) + torch.ones(4, device=d),
    lambda d: torch.ones(3, device=d)[5],
    lambda d: torch.ones(3, device=d).add_(1j),
    lambda d: torch.linalg.cholesky(-torch.eye(2, device=d)),
    lambda d: torch.ones(2, 3, device=d).view(7),
    lambda d: (lambda x: x[1:].copy_(x[:-1]))(torch.ones(4, device=d)),
    lambda d: (lambda x: x[1:].add_(x[:-1]))(torch.ones(4, device=d)),
):
    assert message(lambda: function("cuda")) == message(lambda: function("cpu")), message(lambda: function("cuda"))
""",
    )


def test_data_loader_workers_and_multiprocessing(on_simgpu, tmp_path):
    script = tmp_path / "loader.py"
    script.write_text(
        """
import torch
import torch.multiprocessing as mp
from torch.utils.data import DataLoader, TensorDataset

def child(rank, queue):
    queue.put((torch.ones(3, device="cuda") * rank).cpu().tolist())

if __name__ == "__main__":
    x = torch.ones(4, device="cuda") + 1
    loader = DataLoader(TensorDataset(torch.arange(20.0)), batch_size=4, num_workers=2, pin_memory=True)
    total = sum(batch.cuda(non_blocking=True).sum().item() for (batch,) in loader)
    assert total == 190.0, total
    context = mp.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(3, queue))
    process.start()
    assert queue.get(timeout=120) == [3.0, 3.0, 3.0]
    process.join()
    assert process.exitcode == 0
    print("ok")
"""
    )
    result = on_simgpu(str(script))
    assert result.status == 0 and result.out.strip() == "ok", result


@pytest.mark.parametrize("forced", [None, "1"])
def test_the_guides_own_tests_pass(on_simgpu, forced):
    guide = str(pathlib.Path(__file__).parents[2] / "examples/guide.py")
    result = on_simgpu(guide, "3", **({"FORCE_GPU_COMPAT_PATCHES": forced} if forced else {}))
    assert result.status == 0 and result.out.count("SUCCESS!") == 3 and "Per iteration" in result.out, result
    assert result.err.count("\n") == 1 and "library=operators" in result.err, result


def test_debug_tells_the_first_call_of_each_operator(on_simgpu):
    script = "import torch; x = torch.ones(3, device='cuda'); [x.add_(1) for _ in range(5)]"
    result = on_simgpu(script, GPU_COMPAT_DEBUG="1")
    assert result.err.count("served operator=aten::add_.Tensor treatment=cpu") == 1, result
    assert "attached layer=operators replaced=" in result.err, result


def test_forced_off_leaves_every_operator_as_it_was(on_simgpu):
    script = """
    import torch
    try:
        torch.ones(3, device="cuda")
    except RuntimeError as error:
        print(str(error).splitlines()[0])
    """
    result = on_simgpu(script, FORCE_GPU_COMPAT_PATCHES="0")
    assert "no kernel image is available for execution on the device" in result.out and result.err == "", result


def test_a_card_that_the_wheel_has_kernels_for_is_left_alone(on_simgpu):
    # The simulator refuses the kernel all the same; what counts is that gpucompat did not attach.
    script = "import torch; torch.ones(3, device='cuda')"
    result = on_simgpu(script, SIMGPU_MODEL="rtx4090", GPU_COMPAT_DEBUG="1")
    assert "library=operators" in result.err and "mode=native reason=trusted_sm_89" in result.err, result
    assert "no kernel image is available" in result.err, result


def test_an_old_card_that_the_wheel_left_behind_is_served(on_simgpu):
    script = "import torch; print((torch.ones(3, device='cuda') + 1).tolist())"
    result = on_simgpu(script, SIMGPU_SM="3.7")
    assert result.out.strip() == "[2.0, 2.0, 2.0]" and "reason=no_kernel_image_for_sm_37" in result.err, result


def test_lazy_conjugation_and_negation_survive_writes(on_simgpu):
    passes(
        on_simgpu,
        """
def run(device):
    x = torch.view_as_complex(torch.arange(12.0).reshape(3, 2, 2)).to(device)
    a = x.clone()
    a.conj().mul_(2 + 1j)
    b = x.clone()
    b.conj().imag.add_(3)
    c = x.clone()
    c.conj_physical_()
    d = torch.empty(3, 2, dtype=torch.complex64, device=device)
    torch.mul(x, 1j, out=d.conj())
    return a, b, c, d, x.conj() @ x.t(), x.conj().imag * 2
for position, (got, want) in enumerate(zip(run("cuda"), run("cpu"))):
    near(position, got.resolve_conj().resolve_neg(), want.resolve_conj().resolve_neg())
""",
    )


def test_inference_mode_first_and_training_after(on_simgpu):
    passes(
        on_simgpu,
        """
x, y = torch.randn(4, 5), torch.randn(4, 5)
a, b = x.cuda(), y.cuda()
with torch.inference_mode():
    z = (a + b).mul_(2)
    assert z.is_inference()
    near("in inference mode", z, (x + y) * 2)
c = a.clone()
c.mul_(3).add_(b)
near("after it", c, x * 3 + y)
w = a.clone().requires_grad_()
((w * 2).add_(b)).square().sum().backward()
near("gradient", w.grad, 4 * (2 * x + y))
assert not (a + b).is_inference()
""",
    )


def test_memory_that_the_host_can_see_is_not_copied(on_simgpu, tmp_path):
    source, library = tmp_path / "pinned.c", tmp_path / "pinned.so"
    source.write_text(
        """
#include <stddef.h>
#include <sys/types.h>
int cudaHostAlloc(void **, size_t, unsigned); int cudaFreeHost(void *);
void *take(ssize_t bytes, int device, void *stream) { void *p = 0; cudaHostAlloc(&p, bytes, 0); return p; }
void give(void *p, ssize_t bytes, int device, void *stream) { cudaFreeHost(p); }
"""
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    for pinned in (True, False):
        passes(
            on_simgpu,
            f"""
import ctypes
if {pinned}:
    allocator = torch.cuda.memory.CUDAPluggableAllocator({str(library)!r}, "take", "give")
    torch.cuda.memory.change_current_allocator(allocator)
counter = ctypes.CDLL(None).simgpu_counter
counter.argtypes, counter.restype = [ctypes.c_char_p], ctypes.c_int64
x, y = torch.randn(400, 500), torch.randn(400, 500)
a, b = x.cuda(), y.cuda()
a[:1, :1] + 1  # whatever happens once has happened
before = counter(b"d2h_bytes")
a.add_(b)
c = (a * b).sum()
copied = counter(b"d2h_bytes") - before
assert copied == 0 if {pinned} else copied >= 5 * 4 * 400 * 500, copied
x.add_(y)
same("in place", a, x)
near("sum", c, (x * y).sum(), 1e-3)
same("transposed", a.t() + b.t(), x.t() + y.t())
""",
            GPU_COMPAT_MEMORY="device",
        )


def test_fake_and_meta_tensors_are_left_alone(on_simgpu):
    passes(
        on_simgpu,
        """
from torch._subclasses.fake_tensor import FakeTensorMode
with FakeTensorMode():
    fake = torch.randn(1 << 20, 1 << 20, device="cuda")  # 4 TiB, were it real
    result = F.linear(fake.relu() + 1, fake).sum(1)
    assert result.shape == (1 << 20,) and result.device.type == "cuda"
meta = torch.randn(1 << 20, 1 << 20, device="meta")
assert (meta @ meta).softmax(1).device.type == "meta"
same("real ones", torch.ones(3, device="cuda") + 1, torch.ones(3) + 1)
""",
    )
