"""What PyTorch asks of cuDNN, through the unmodified wheel on a device on which no kernel runs.

`GPU_COMPAT_CUDNN=library` leaves these operators to cuDNN, whose calls the library layer serves; the debug log proves
which functions were called. Results are compared with PyTorch's CPU kernels.
"""

import re
from importlib.metadata import version

import pytest

pytestmark = pytest.mark.skipif(
    tuple(map(int, version("torch").split(".")[:2])) < (2, 5), reason="convolutions cannot be left to cuDNN in this version"
)

# What every script starts with: a module or function on both devices, its result, and all gradients.
COMPARE = """
import copy, sys
import torch
import torch.nn as nn
import torch.nn.functional as F

seed = int.from_bytes(__import__("os").urandom(4), "little")
torch.manual_seed(seed)

def close(what, got, want, allowed):
    got, want = got.detach().cpu().double(), want.detach().double()
    assert got.shape == want.shape, (what, got.shape, want.shape, seed)
    error = (got - want).abs().max().item() if got.numel() else 0.0
    size = want.abs().max().item() if want.numel() else 0.0
    assert error <= allowed * (1 + size), (what, error, size, seed)

def both(what, module, *inputs, allowed=2e-5, format=torch.contiguous_format, pick=lambda out: out, backward=True):
    '''The module on the CPU in its type, and on the device; outputs and gradients of inputs and parameters.'''
    module.zero_grad()
    there = copy.deepcopy(module).cuda()
    if format is torch.channels_last:
        there = there.to(memory_format=format)
    ours = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    theirs = [x.cuda() for x in inputs]
    theirs = [x.to(memory_format=format) if x.dim() == 4 else x for x in theirs]
    theirs = [x.detach().requires_grad_(x.is_floating_point()) for x in theirs]
    want, got = pick(module(*ours)), pick(there(*theirs))
    close(what, got, want, allowed)
    if not backward:
        return got
    seed_gradient = torch.randn_like(want)
    want.backward(seed_gradient)
    got.backward(seed_gradient.cuda())
    for index, (x, y) in enumerate(zip(ours, theirs)):
        if x.grad is not None:
            close(f"{what}: gradient of input {index}", y.grad, x.grad, allowed)
    for (name, p), q in zip(module.named_parameters(), there.parameters()):
        close(f"{what}: gradient of {name}", q.grad, p.grad, allowed * 4)
    for (name, p), q in zip(module.named_buffers(), there.buffers()):
        close(f"{what}: buffer {name}", q, p, allowed)
    return got
"""


def run_by_cudnn(on_simgpu, script, *functions, **environment):
    """Runs a script; every one of these functions must have been served."""
    result = on_simgpu(
        COMPARE + script + "\nprint('ok')\n", GPU_COMPAT_CUDNN="library", GPU_COMPAT_DEBUG="1", **environment
    )
    assert result.status == 0 and result.out.strip().endswith("ok"), result
    served = set(re.findall(r"served fn=(cudnn\w+)", result.err))
    assert set(functions) <= served, (functions, served, result)
    return result


def graph_operations(result):
    """The operations of all graphs that were executed."""
    return set(re.findall(r"fn=cudnnBackendExecute .*?ops=(\S+)", result.err))


def test_convolutions_of_one_to_three_axes_and_their_gradients(on_simgpu):
    result = run_by_cudnn(
        on_simgpu,
        """
both("Conv1d", nn.Conv1d(6, 8, 5, stride=2, padding=3, dilation=2), torch.randn(3, 6, 41))
both("Conv2d", nn.Conv2d(6, 8, (3, 5), stride=(2, 1), padding=(1, 2)), torch.randn(2, 6, 11, 13))
both("Conv2d without bias", nn.Conv2d(3, 16, 7, stride=2, padding=3, bias=False), torch.randn(2, 3, 32, 30))
both("Conv3d", nn.Conv3d(3, 4, 3, padding=1, stride=(1, 2, 1)), torch.randn(2, 3, 5, 6, 7))
both("1x1", nn.Conv2d(16, 24, 1), torch.randn(2, 16, 9, 9))
both("groups", nn.Conv2d(8, 12, 3, groups=4, padding=1), torch.randn(2, 8, 9, 9))
both("depthwise", nn.Conv2d(8, 16, 3, groups=8, padding=1, stride=2), torch.randn(2, 8, 9, 9))
both("same padding", nn.Conv2d(4, 5, 4, padding="same"), torch.randn(2, 4, 9, 8))
both("circular padding", nn.Conv2d(4, 5, 3, padding=1, padding_mode="circular"), torch.randn(2, 4, 9, 8))
both("an empty batch", nn.Conv2d(4, 5, 3), torch.randn(0, 4, 9, 8))
both("no batch", nn.Conv2d(4, 5, 3), torch.randn(4, 9, 8))
both("a view", nn.Conv2d(4, 5, 3), torch.randn(2, 8, 9, 16)[:, ::2, :, ::2])
both("double", nn.Conv2d(4, 5, 3).double(), torch.randn(2, 4, 9, 8).double(), allowed=1e-12)
""",
        "cudnnBackendExecute",
    )
    assert {"conv_forward", "conv_backward_data", "conv_backward_filter"} <= graph_operations(result), result


def test_transposed_convolutions_and_their_gradients(on_simgpu):
    result = run_by_cudnn(
        on_simgpu,
        """
both("ConvTranspose1d", nn.ConvTranspose1d(8, 4, 16, stride=8, padding=4), torch.randn(2, 8, 13))
both("ConvTranspose2d", nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1), torch.randn(2, 6, 7, 8))
both("ConvTranspose2d, groups", nn.ConvTranspose2d(6, 4, 3, groups=2, dilation=2), torch.randn(2, 6, 7, 8))
both("ConvTranspose3d", nn.ConvTranspose3d(3, 4, 2, stride=2), torch.randn(1, 3, 4, 5, 3))
""",
        "cudnnBackendExecute",
    )
    assert "conv_backward_data" in graph_operations(result), result


def test_channels_last_half_types_and_autocast(on_simgpu):
    run_by_cudnn(
        on_simgpu,
        """
out = both("channels last", nn.Conv2d(8, 16, 3, padding=1), torch.randn(2, 8, 9, 10), format=torch.channels_last)
assert out.is_contiguous(memory_format=torch.channels_last)
both("depthwise, channels last", nn.Conv2d(8, 8, 3, groups=8), torch.randn(2, 8, 9, 10), format=torch.channels_last)
for dtype, allowed in ((torch.float16, 4e-3), (torch.bfloat16, 3e-2)):
    x, module = torch.randn(2, 6, 9, 8), nn.Conv2d(6, 8, 3, padding=1)
    want = module.double()(x.double())
    got = copy.deepcopy(module).to(dtype).cuda()(x.to(dtype).cuda())
    assert got.dtype == dtype
    close(str(dtype), got, want, allowed)
    module = module.float()
    with torch.autocast("cuda", dtype=dtype):
        got = copy.deepcopy(module).cuda()(x.cuda())
    assert got.dtype == dtype
    close(f"autocast {dtype}", got, want, allowed)
""",
        "cudnnBackendExecute",
    )


@pytest.mark.parametrize("flag", ["benchmark", "deterministic", "allow_tf32"])
def test_cudnns_flags_change_nothing(on_simgpu, flag):
    run_by_cudnn(
        on_simgpu,
        f"""
torch.backends.cudnn.{flag} = True
for round in range(3):
    both("Conv2d", nn.Conv2d(6, 8, 3, padding=1), torch.randn(2, 6, 11, 13))
assert torch.backends.cudnn.enabled and torch.backends.cudnn.is_available()
""",
        "cudnnBackendExecute",
    )


def test_the_legacy_api_serves_the_same_convolutions(on_simgpu):
    run_by_cudnn(
        on_simgpu,
        """
for benchmark in (False, True):
    torch.backends.cudnn.benchmark = benchmark
    both("Conv2d", nn.Conv2d(6, 8, (3, 5), stride=(2, 1), padding=(1, 2)), torch.randn(2, 6, 11, 13))
    both("Conv3d", nn.Conv3d(3, 4, 3, padding=1), torch.randn(2, 3, 5, 6, 7))
    both("ConvTranspose2d", nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1), torch.randn(2, 6, 7, 8))
    both("groups", nn.Conv2d(8, 12, 3, groups=4, padding=1), torch.randn(2, 8, 9, 9), format=torch.channels_last)
""",
        "cudnnConvolutionForward",
        "cudnnConvolutionBackwardData",
        "cudnnConvolutionBackwardFilter",
        TORCH_CUDNN_V8_API_DISABLED="1",
    )


@pytest.mark.parametrize("legacy", ["0", "1"])
def test_fused_convolutions_with_bias_addition_and_relu(on_simgpu, legacy):
    result = run_by_cudnn(
        on_simgpu,
        """
x, w, b = torch.randn(2, 6, 9, 8), torch.randn(8, 6, 3, 3), torch.randn(8)
want = F.conv2d(x, w, b, padding=1)
sizes = dict(stride=[1, 1], padding=[1, 1], dilation=[1, 1], groups=1)
got = torch.cudnn_convolution_relu(x.cuda(), w.cuda(), b.cuda(), **sizes)
close("relu", got, want.relu(), 2e-5)
z = torch.randn_like(want)
got = torch.cudnn_convolution_add_relu(x.cuda(), w.cuda(), z.cuda(), 0.5, b.cuda(), **sizes)
close("add, relu", got, (want + 0.5 * z).relu(), 2e-5)
""",
        "cudnnConvolutionBiasActivationForward" if legacy == "1" else "cudnnBackendExecute",
        **({"TORCH_CUDNN_V8_API_DISABLED": "1"} if legacy == "1" else {}),
    )
    if legacy == "0":
        assert any(operations.count("pointwise") == 3 for operations in graph_operations(result)), result


def test_batch_norm_in_training_and_inference(on_simgpu):
    run_by_cudnn(
        on_simgpu,
        """
for module, x in ((nn.BatchNorm1d(6), torch.randn(9, 6, 5)), (nn.BatchNorm2d(6), torch.randn(4, 6, 7, 5)),
                  (nn.BatchNorm3d(3), torch.randn(2, 3, 4, 5, 3))):
    nn.init.uniform_(module.weight), nn.init.normal_(module.bias)
    for round in range(2):
        both(f"{type(module).__name__} in training", module, x)
    both(f"{type(module).__name__} in inference", module.eval(), x)
both("channels last", nn.BatchNorm2d(6), torch.randn(4, 6, 7, 5), format=torch.channels_last)
x = torch.randn(4, 6, 7, 5)
got = nn.BatchNorm2d(6).cuda()(x.half().cuda())
close("half", got, nn.BatchNorm2d(6)(x), 5e-3)
""",
        "cudnnBatchNormalizationForwardTrainingEx",
        "cudnnBatchNormalizationBackwardEx",
    )


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_networks(on_simgpu, kind):
    run_by_cudnn(
        on_simgpu,
        f"""
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
def check(what, x, lengths=None, **arguments):
    module = nn.{kind}(7, 10, **arguments)
    class Run(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = module
        def forward(self, x):
            if lengths is None:
                out, state = self.network(x)
            else:
                packed, state = self.network(pack_padded_sequence(x, lengths, enforce_sorted=False))
                out = pad_packed_sequence(packed)[0]
            state = state[0] + state[1].sum(-1, keepdim=True) if isinstance(state, tuple) else state
            return torch.cat([out.flatten(), state.flatten()])
    both(what, Run(), x, allowed=5e-5)
check("plain", torch.randn(5, 3, 7))
check("two layers", torch.randn(5, 3, 7), num_layers=2)
check("bidirectional", torch.randn(5, 3, 7), bidirectional=True, num_layers=2)
check("batch first", torch.randn(3, 5, 7), batch_first=True)
check("no bias", torch.randn(5, 3, 7), bias=False)
check("packed", torch.randn(6, 4, 7), lengths=[3, 6, 1, 4])
check("packed, bidirectional", torch.randn(6, 4, 7), lengths=[3, 6, 1, 4], bidirectional=True, num_layers=2)
if "{kind}" == "RNN":
    check("relu", torch.randn(5, 3, 7), nonlinearity="relu")
if "{kind}" == "LSTM":
    module = nn.LSTM(7, 10, proj_size=4)
    with torch.no_grad():
        x = torch.randn(5, 3, 7)
        close("projection", copy.deepcopy(module).cuda()(x.cuda())[0], module(x)[0], 5e-5)
module = nn.{kind}(7, 64, num_layers=3, dropout=0.5).cuda()
x = torch.randn(20, 8, 7).cuda()
first, second = module(x)[0], module(x)[0]
assert not torch.equal(first.cpu(), second.cpu()), "dropout draws anew"
module.eval()
assert torch.equal(module(x)[0].cpu(), module(x)[0].cpu())
""",
        "cudnnRNNForward",
        "cudnnRNNBackwardData_v8",
        "cudnnRNNBackwardWeights_v8",
    )


def test_ctc_loss(on_simgpu):
    run_by_cudnn(
        on_simgpu,
        """
T, N, C = 30, 4, 12
activations = torch.randn(T, N, C)
labels = torch.randint(1, C, (N, 8), dtype=torch.int32)
label_lengths = torch.tensor([8, 3, 5, 1], dtype=torch.int32)
flat = torch.cat([row[:n] for row, n in zip(labels, label_lengths)])
lengths = torch.full((N,), T, dtype=torch.int32)
for there, labels_there in ((lambda t: t.cuda(), flat.cuda()), (lambda t: t.tolist(), flat)):
    # Everything on the device, or lists: two functions of cuDNN, for device memory and for host memory.
    yours = activations.cuda().requires_grad_()
    F.ctc_loss(yours.log_softmax(-1), labels_there, there(lengths), there(label_lengths), blank=0).backward()
    mine = activations.clone().requires_grad_()
    F.ctc_loss(mine.log_softmax(-1), flat, lengths, label_lengths, blank=0).backward()
    close("gradient", yours.grad, mine.grad, 1e-4)
mine = activations.clone().requires_grad_()
F.ctc_loss(mine.log_softmax(-1), flat, lengths, label_lengths, blank=0, reduction="sum").backward()
yours = activations.cuda().requires_grad_()
loss = F.ctc_loss(yours.log_softmax(-1), flat, lengths, label_lengths, blank=0, reduction="sum")
loss.backward()
want = F.ctc_loss(activations.log_softmax(-1), flat, lengths, label_lengths, blank=0, reduction="sum")
close("loss", loss, want, 1e-5)
close("gradient", yours.grad, mine.grad, 1e-4)
""",
        "cudnnCTCLoss",
        "cudnnCTCLoss_v8",
    )


def test_grid_sample_and_affine_grid(on_simgpu):
    run_by_cudnn(
        on_simgpu,
        """
class Warp(nn.Module):
    def forward(self, x, theta):
        grid = (torch.cudnn_affine_grid_generator(theta, 2, 3, 9, 8) if theta.is_cuda else
                F.affine_grid(theta, (2, 3, 9, 8), align_corners=True))
        return F.grid_sample(x, grid, align_corners=True)
theta = torch.tensor([[[0.9, 0.2, 0.1], [-0.3, 1.1, 0.0]], [[1.0, 0.0, 0.3], [0.1, 0.7, -0.2]]])
both("warp", Warp(), torch.randn(2, 3, 6, 7), theta, allowed=1e-4)
""",
        "cudnnSpatialTfGridGeneratorForward",
        "cudnnSpatialTfGridGeneratorBackward",
        "cudnnSpatialTfSamplerForward",
        "cudnnSpatialTfSamplerBackward",
    )


def test_a_residual_network_and_a_unet_train(on_simgpu):
    run_by_cudnn(
        on_simgpu,
        """
class Block(nn.Module):
    def __init__(self, c, k, stride):
        super().__init__()
        self.path = nn.Sequential(nn.Conv2d(c, k, 3, stride, 1, bias=False), nn.BatchNorm2d(k), nn.ReLU(),
                                  nn.Conv2d(k, k, 3, 1, 1, bias=False), nn.BatchNorm2d(k))
        self.skip = nn.Sequential(nn.Conv2d(c, k, 1, stride, bias=False), nn.BatchNorm2d(k))
    def forward(self, x):
        return (self.path(x) + self.skip(x)).relu()
residual = nn.Sequential(nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
                         Block(16, 16, 1), Block(16, 32, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
both("residual network", residual, torch.randn(4, 3, 64, 64), allowed=3e-4)
both("the same in inference", residual.eval(), torch.randn(4, 3, 64, 64), allowed=3e-4)
class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        pair = lambda c, k: nn.Sequential(nn.Conv2d(c, k, 3, padding=1), nn.GroupNorm(4, k), nn.SiLU())
        self.down, self.middle, self.up = pair(3, 16), pair(16, 32), pair(32, 16)
        self.rise, self.out = nn.ConvTranspose2d(32, 16, 2, stride=2), nn.Conv2d(16, 3, 1)
    def forward(self, x):
        down = self.down(x)
        middle = self.middle(F.avg_pool2d(down, 2))
        return self.out(self.up(torch.cat([down, self.rise(middle)], 1)))
both("UNet", UNet(), torch.randn(2, 3, 24, 20), allowed=1e-4)
both("UNet, channels last", UNet(), torch.randn(2, 3, 24, 20), allowed=1e-4, format=torch.channels_last)
""",
        "cudnnBackendExecute",
        "cudnnBatchNormalizationForwardTrainingEx",
    )


def test_the_cpu_computes_by_default_and_cudnn_where_asked(on_simgpu):
    script = "import torch; print(torch.nn.Conv2d(3, 4, 3).cuda()(torch.ones(1, 3, 8, 8).cuda()).shape)"
    for wish, served in (("auto", False), ("cpu", False), ("library", True)):
        result = on_simgpu(script, GPU_COMPAT_CUDNN=wish, GPU_COMPAT_DEBUG="1")
        assert result.status == 0 and "torch.Size([1, 4, 6, 6])" in result.out, result
        assert ("served fn=cudnn" in result.err) == served, result
        assert f"verdict library=cudnn" in result.err or wish == "cpu", result
