"""Where device memory lies: on the host, where nothing is copied, or on the device, in both of which results are the same."""

import pytest

from test_operators import passes

COUNTERS = """
import ctypes
counter = ctypes.CDLL(None).simgpu_counter
counter.argtypes, counter.restype = [ctypes.c_char_p], ctypes.c_int64

def moved():
    return [counter(name) for name in (b"h2d_bytes", b"d2h_bytes", b"d2d_bytes")]
"""

# PyTorch 2.1 cannot say it without NVIDIA's management library, which the simulated GPU has not.
OUT_OF_MEMORY = """
def out_of_memory(error):
    return isinstance(error, torch.cuda.OutOfMemoryError) or "libnvidia-ml" in str(error)
"""


def test_nothing_is_copied_where_memory_lies_on_the_host(on_simgpu):
    passes(
        on_simgpu,
        COUNTERS
        + """
model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 10))
inputs, labels = torch.randn(4, 3, 8, 8), torch.randint(0, 10, (4,))
torch.zeros(1, device="cuda")
probes = moved()  # what the native libraries were tried with
results = []
for device in ("cpu", "cuda"):
    net, x, y = copy.deepcopy(model).to(device), inputs.to(device), labels.to(device)
    optimizer = torch.optim.AdamW(net.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    half = (x.bfloat16() @ x.bfloat16().transpose(2, 3)).float()
    results.append([loss.detach(), half, *(p.detach() for p in net.parameters())])
for position, (want, got) in enumerate(zip(*results)):
    near(position, got, want, 5e-3)
assert moved() == probes, (probes, moved())
assert counter(b"live_bytes") == 0, "nothing lies on the device"
""",
    )


def test_on_the_device_the_bytes_moved_are_those_of_the_operands(on_simgpu):
    passes(
        on_simgpu,
        COUNTERS
        + """
x, y = torch.randn(30, 50), torch.randn(30, 50)
a, b = x.cuda(), y.cuda()
a + b  # whatever happens once has happened
before = moved()
c = a + b
assert [now - then for now, then in zip(moved(), before)] == [6000, 12000, 0], (before, moved())
before = moved()
a[:, :7].add_(1)  # written in place: from its first element to its last
read = 4 * (29 * 50 + 7)
assert [now - then for now, then in zip(moved(), before)] == [read, read, 0], (before, moved())
same("sum", c, x + y)
assert counter(b"live_bytes") > 0
""",
        GPU_COMPAT_MEMORY="device",
    )


@pytest.mark.parametrize("place", ["host", "device"])
def test_what_is_left_and_running_out_of_it_are_as_on_a_device(on_simgpu, place):
    result = passes(
        on_simgpu,
        OUT_OF_MEMORY
        + """
MIB = 1 << 20
free, total = torch.cuda.mem_get_info()
assert total == 1024 * MIB and 0 < free <= total, (free, total)
assert torch.cuda.get_device_properties(0).total_memory == total
x = torch.zeros(100 * MIB // 4, device="cuda")
left, total = torch.cuda.mem_get_info()
assert total == 1024 * MIB and 100 * MIB <= free - left < 140 * MIB, (free, left)
assert torch.cuda.memory_allocated() == 100 * MIB
try:
    torch.zeros(1000 * MIB // 4, device="cuda")
    raise AssertionError("there is no such memory")
except RuntimeError as error:
    assert out_of_memory(error), error
same("still there", x[:5] + 1, torch.ones(5))
del x
torch.cuda.empty_cache()
assert torch.cuda.mem_get_info()[0] >= left + 100 * MIB, (torch.cuda.mem_get_info(), left)
big = torch.ones(900 * MIB // 4, device="cuda")
assert big[-1].item() == 1
""",
        SIMGPU_MEMORY_MB="1024",
        GPU_COMPAT_MEMORY=place,
        GPU_COMPAT_DEBUG="1",
    )
    assert f"memory place={place} reason=GPU_COMPAT_MEMORY={place}" in result.err
    assert ("refused fn=cudaMalloc" in result.err) == (place == "host"), result


def test_an_allocation_that_fails_is_out_of_memory_and_the_next_one_works(on_simgpu):
    passes(
        on_simgpu,
        OUT_OF_MEMORY
        + """
import ctypes
fault = ctypes.CDLL(None).simgpu_set_fault
fault.argtypes = [ctypes.c_char_p]
torch.zeros(1, device="cuda")
for attempt in range(3):
    fault(b"host_alloc:1,host_alloc:2")  # PyTorch tries twice
    try:
        torch.zeros(64 << 20, device="cuda")
        raise AssertionError("the allocation was to fail")
    except RuntimeError as error:
        assert out_of_memory(error), error
    fault(b"")
    same("after", torch.zeros(64 << 20, device="cuda")[:9], torch.zeros(9))
    torch.cuda.empty_cache()
""",
    )


def test_the_order_of_streams_holds_for_memory_on_the_host(on_simgpu):
    passes(
        on_simgpu,
        """
side = torch.cuda.Stream()
for attempt in range(5):
    source = torch.randn(1000).pin_memory()
    with torch.cuda.stream(side):
        x = source.to("cuda", non_blocking=True)
        doubled = x * 2
        done = torch.cuda.Event()
        done.record()
    torch.cuda.current_stream().wait_event(done)
    x.record_stream(torch.cuda.current_stream())
    y = doubled + x
    back = torch.empty(1000).pin_memory()
    back.copy_(y, non_blocking=True)
    y.zero_()
    torch.cuda.synchronize()
    same("back", back.cuda(), source * 2 + source)
    same("x", x, source)
    kept = y.clone()
    del y
    reused = torch.full((1000,), 7.0, device="cuda")
    same("kept", kept, torch.zeros(1000))
    same("reused", reused, torch.full((1000,), 7.0))
""",
        SIMGPU_DELAY_US="3000",
    )


def test_pointers_to_memory_on_the_host_are_the_devices(on_simgpu):
    passes(
        on_simgpu,
        """
import ctypes
runtime = ctypes.CDLL(None)
class Attributes(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("device", ctypes.c_int), ("rest", ctypes.c_void_p * 12)]
def kind(address):
    attributes = Attributes()
    assert runtime.cudaPointerGetAttributes(ctypes.byref(attributes), ctypes.c_void_p(address)) == 0
    return attributes.type, attributes.device
x = torch.ones(100, device="cuda")
assert kind(x.data_ptr()) == kind(x[50:].data_ptr()) == (2, 0)
assert kind(torch.ones(100).pin_memory().data_ptr())[0] == 1
assert not x.is_pinned() and torch.from_dlpack(x).device == x.device
assert runtime.cudaFree(ctypes.c_void_p(x.data_ptr() + 1)) == 1  # no allocation begins there
handle = (ctypes.c_char * 64)()
assert runtime.cudaIpcGetMemHandle(handle, ctypes.c_void_p(x.data_ptr())) != 0
same("as before", x, torch.ones(100))
""",
    )


def test_writes_through_views_and_resized_results_are_seen(on_simgpu):
    passes(
        on_simgpu,
        """
x = torch.arange(24.0).reshape(4, 6)
y = x.cuda()
for tensor in (x, y):
    tensor[1:3, ::2].mul_(-1)
    tensor.t()[2].add_(tensor[:, 0].clone())
    torch._foreach_add_([tensor[0], tensor[1]], [tensor[1], tensor[2]])
    tensor[tensor < 0] = tensor[0, 0]
    tensor.index_put_((torch.tensor([3], device=tensor.device),), tensor[0] * 2, accumulate=True)
    torch.cumsum(tensor, 1, out=tensor)
    tensor[:2].copy_(tensor[2:].double())
same("views", y, x)
for form in ([0], [5], [24], [30]):
    outs = []
    for tensor in (x, y):
        out = torch.full(form, 5.0, device=tensor.device)
        torch.add(tensor, 1, out=out)
        outs.append(out)
    same(f"resized from {form}", outs[1], outs[0])
halves = []
for device in ("cpu", "cuda"):
    half = torch.arange(12.0, device=device).half()
    half.add_(1).mul_(0.5).index_fill_(0, torch.tensor([1], device=device), 3)
    torch._foreach_sqrt_([half[:6], half[6:]])
    halves.append(half)
same("half types", halves[1], halves[0])
c = torch.complex(x, x + 1)
d = c.cuda()
same("conjugated", d.conj() * 2, c.conj() * 2)
same("negated", d.conj().imag * 2, c.conj().imag * 2)
d.conj().mul_(2)
c.conj().mul_(2)
same("through a conjugated view", d, c)
""",
    )


def test_results_are_made_in_memory_that_is_kept(on_simgpu):
    script = """
import resource, torch
x = torch.zeros(40 << 20, dtype=torch.uint8, device="cuda")
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    y = x + 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(faults() for _ in range(40)))
"""
    pages = (40 << 20) // 4096

    def fewest(**environment):
        return int(on_simgpu(script, **environment).out.split()[-1])

    assert fewest() < pages / 20, "pages are used again"
    assert fewest(GPU_COMPAT_STAGING_MB="0") > pages / 2, "the setting is what keeps them"
    asked = dict(MALLOC_MMAP_THRESHOLD_="65536", MALLOC_TRIM_THRESHOLD_="65536")
    assert fewest(**asked) > pages / 2, "what the user says of the allocator stands"
