"""CUDA graphs of operators that run on the host: recorded while a stream is captured, computed at each replay."""

import pytest
from test_operators import passes

wherever_memory_lies = pytest.mark.parametrize("memory", ["host", "device"])

CAPTURE = """
def captured(work, warm_up=True, **options):
    if warm_up:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            work()
        torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, **options):
        results = work()
    return graph, results
"""


@wherever_memory_lies
def test_a_replay_computes_on_the_data_of_then(on_simgpu, memory):
    passes(
        on_simgpu,
        CAPTURE
        + """
net = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 300), nn.Softmax(-1))
twin, x = copy.deepcopy(net).cuda(), torch.zeros(5, 16, device="cuda")
for mode in (torch.no_grad, torch.inference_mode):
    with mode():
        graph, y = captured(lambda: twin(x))
        y.fill_(7)
        for _ in range(3):
            new = torch.randn(5, 16)
            x.copy_(new)
            assert (y == 7).all(), "nothing is computed before the replay"
            graph.replay()
            near(mode, y, net(new))
            y.fill_(7)
# A product that is worth measuring, before anything was measured.
big, z = torch.randn(700, 700), torch.zeros(700, 700, device="cuda")
graph, product = captured(lambda: torch.relu(z @ z + 1), warm_up=False)
z.copy_(big)
graph.replay()
near("a large product", product, torch.relu(big @ big + 1), 1e-3)
""",
        GPU_COMPAT_MEMORY=memory,
    )


@wherever_memory_lies
def test_operators_of_every_kind_are_recorded(on_simgpu, memory):
    passes(
        on_simgpu,
        CAPTURE
        + """
table, places = torch.randn(10, 4), torch.zeros(3, dtype=torch.int64, device="cuda")
there, state = table.cuda(), torch.zeros(4, device="cuda")
cache, step = torch.zeros(6, 4, device="cuda"), torch.zeros(1, dtype=torch.int64, device="cuda")
half = torch.zeros(3, 4, dtype=torch.float16, device="cuda")
total = torch.empty(0, device="cuda")
def work():
    rows = F.embedding(places, there)                      # an index that changes
    state.add_(rows.sum(0))                                # in place
    cache.index_copy_(0, step, rows[:1])                   # a key-value cache
    step.add_(1)
    half.copy_(rows)                                       # another type
    best, where = rows.topk(2, dim=1)                      # several results
    first, second = torch.cat([rows, rows * 2], 1).split(4, dim=1)
    indexed = there[places]
    picked = torch.where(rows > 0, rows, torch.zeros_like(rows))[:, 1::2]
    torch.sum(rows, dim=1, out=total)                      # an `out` that is resized
    parts = torch._foreach_mul([rows, second], 3.0)        # a list
    return best, where, indexed, picked, parts[1], half.float().mean(), torch.arange(4, device="cuda") + step
graph, results = captured(work, warm_up=False)
assert (state == 0).all() and step.item() == 0, "nothing is computed while it is recorded"
kept, sums = torch.zeros(6, 4), torch.zeros(4)
for replay, ids in enumerate(([1, 2, 3], [9, 9, 0], [4, 0, 7])):
    places.copy_(torch.tensor(ids))
    graph.replay()
    rows = table[ids]
    sums += rows.sum(0)
    kept[replay] = rows[0]
    near("in place", state, sums)
    near("cache", cache, kept)
    best, where = rows.topk(2, dim=1)
    for got, want in zip(results, (best, where, rows, torch.where(rows > 0, rows, 0 * rows)[:, 1::2], rows * 6,
                                   rows.half().float().mean(), torch.arange(4) + replay + 1)):
        near((replay, want.shape), got, want)
    near("out", total, rows.sum(1))
drop = nn.Dropout(0.5)
x = torch.ones(1000, device="cuda")
graph, y = captured(lambda: drop(x), warm_up=False)
graph.replay()
first = y.clone()
graph.replay()
assert 300 < (first == 0).sum() < 700 and not torch.equal(first, y), "each replay draws anew"
lstm, sequence = nn.LSTM(8, 16), torch.zeros(5, 2, 8, device="cuda")
recurrent, q = copy.deepcopy(lstm).cuda(), torch.zeros(1, 2, 6, 8, device="cuda")
with torch.no_grad():
    graph, (y, attended) = captured(lambda: (recurrent(sequence)[0], F.scaled_dot_product_attention(q, q, q)))
    new, other = torch.randn(5, 2, 8), torch.randn(1, 2, 6, 8)
    sequence.copy_(new)
    q.copy_(other)
    graph.replay()
    near("a recurrent network", y, lstm(new)[0])
    near("attention", attended, F.scaled_dot_product_attention(other, other, other))
conv = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
twin, image = copy.deepcopy(conv).cuda(), torch.zeros(2, 3, 8, 8, device="cuda")
with torch.no_grad():
    conv(torch.zeros(2, 3, 8, 8))
    graph, y = captured(lambda: twin(image))
    new = torch.randn(2, 3, 8, 8)
    image.copy_(new)
    graph.replay()
    near("a convolution", y, conv(new))
    near("its running mean", twin[1].running_mean, conv[1].running_mean)
""",
        GPU_COMPAT_MEMORY=memory,
    )


def test_training_by_graphed_callables_equals_eager_training(on_simgpu):
    passes(
        on_simgpu,
        """
net = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 2))
twin = copy.deepcopy(net).cuda()
graphed = torch.cuda.make_graphed_callables(copy.deepcopy(net).cuda(), (torch.randn(4, 6, device="cuda"),))
graphed.load_state_dict(twin.state_dict())
optimizers = [torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9) for module in (net, graphed)]
for step in range(5):
    x, target = torch.randn(4, 6), torch.randn(4, 2)
    for module, optimizer, place in zip((net, graphed), optimizers, ("cpu", "cuda")):
        optimizer.zero_grad(set_to_none=True)
        loss = F.mse_loss(module(x.to(place)), target.to(place))
        loss.backward()
        optimizer.step()
        losses = [loss.item()] if place == "cpu" else [*losses, loss.item()]
    assert abs(losses[0] - losses[1]) < 1e-4 * max(1, abs(losses[0])), losses
for p, q in zip(net.parameters(), graphed.parameters()):
    near("a weight", q, p, 1e-4)
""",
    )


def test_what_a_graph_cannot_contain_is_refused_and_the_program_goes_on(on_simgpu):
    passes(
        on_simgpu,
        CAPTURE
        + """
def refused(work, kind, *words):
    try:
        captured(work, warm_up=False)
    except kind as error:
        assert all(word in str(error) for word in words), error
        torch.cuda.synchronize()
        return
    raise SystemExit(f"not refused: {words}")
x = torch.randn(4, 4, device="cuda")
a, b, c = (torch.randn(64, 64, device="cuda") for _ in range(3))
refused(lambda: x.nonzero(), (RuntimeError, NotImplementedError), "CUDA graph")
refused(lambda: x[x > 0], (RuntimeError, NotImplementedError), "CUDA graph")
refused(lambda: torch.equal(x, x + 1), (RuntimeError, NotImplementedError), "CUDA graph")
refused(lambda: x.cpu(), RuntimeError, "CUDA graph", "page-locked")
def mixed():
    a.add_(1)
    torch.mm(a, b, out=c)
refused(mixed, RuntimeError, "gpucompat", "native work", "GPU_COMPAT_PRODUCTS")
graph = torch.cuda.CUDAGraph()
try:
    with torch.cuda.graph(graph):
        mixed()
except RuntimeError as error:
    said = str(error)
try:
    graph.replay()
except RuntimeError as error:
    assert str(error) == said
else:
    raise SystemExit("a refused graph was replayed")
same("after refused captures", x + 1, x.cpu() + 1)
# The library's own call alone is part of the graph itself, and is computed at each launch.
graph, _ = captured(lambda: torch.mm(a, b, out=c), warm_up=False)
for _ in range(2):
    a.copy_(torch.randn(64, 64))
    graph.replay()
    near("a library call", c, a.cpu() @ b.cpu(), 1e-4)
# A number on the host is what it was, one in page-locked memory what it is.
number, rate, on_device = torch.tensor(2.0), torch.tensor(1.0).pin_memory(), torch.zeros((), device="cuda")
def by_value():
    on_device.copy_(rate, non_blocking=True)
    return x * number, x * on_device
graph, (fixed, moving) = captured(by_value, warm_up=False)
number.fill_(5)
rate.fill_(7)
graph.replay()
near("by value", fixed, x.cpu() * 2)
near("page-locked", moving, x.cpu() * 7)
# Page-locked memory is copied at each replay.
source, target = torch.ones(4, 4).pin_memory(), torch.empty(4, 4).pin_memory()
def there_and_back():
    x.copy_(source, non_blocking=True)
    target.copy_(x * 2, non_blocking=True)
graph, _ = captured(there_and_back, warm_up=False)
source.fill_(3)
graph.replay()
torch.cuda.synchronize()
assert (target == 6).all(), target
if not torch.__version__.startswith("2.1."):  # which aborts when a graph goes that was reset
    graph.reset()
""",
    )
