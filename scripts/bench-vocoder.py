"""A HiFi-GAN generator (Kong et al. 2020, V1's shape, random weights) makes 5 s of 22.05 kHz audio: on the device by
cuDNN or by PyTorch's CPU kernels as GPU_COMPAT_CUDNN says, and with device="cpu", in turns in one process.

usage: bench-vocoder.py [--threads N] [--channels C] [--seconds S]
"""

import argparse
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

RATE, HOP, MELS = 22050, 256, 80


class Residual(nn.Module):
    """Dilated convolutions, each with one beside it."""

    def __init__(self, channels, window):
        super().__init__()
        dilated = lambda dilation: nn.Conv1d(channels, channels, window, padding="same", dilation=dilation)
        self.first = nn.ModuleList([dilated(d) for d in (1, 3, 5)])
        self.second = nn.ModuleList([dilated(1) for _ in range(3)])

    def forward(self, x):
        for first, second in zip(self.first, self.second):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, 0.1)), 0.1))
        return x


class Generator(nn.Module):
    """Transposed convolutions from frames to samples, a mean of residual stacks after each."""

    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv1d(MELS, channels, 7, padding=3)
        self.rise, self.stacks = nn.ModuleList(), nn.ModuleList()
        for step, window in ((8, 16), (8, 16), (2, 4), (2, 4)):
            self.rise.append(nn.ConvTranspose1d(channels, channels // 2, window, step, padding=(window - step) // 2))
            channels //= 2
            self.stacks.append(nn.ModuleList([Residual(channels, window) for window in (3, 7, 11)]))
        self.last = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, x):
        x = self.first(x)
        for rise, stacks in zip(self.rise, self.stacks):
            x = rise(F.leaky_relu(x, 0.1))
            x = sum(stack(x) for stack in stacks) / len(stacks)
        return torch.tanh(self.last(F.leaky_relu(x, 0.1)))


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--threads", type=int, default=torch.get_num_threads())
parser.add_argument("--channels", type=int, default=512)
parser.add_argument("--seconds", type=float, default=5.0)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
torch.set_grad_enabled(False)

frames = round(arguments.seconds * RATE / HOP)
mel = torch.randn(1, MELS, frames)
model = Generator(arguments.channels)
there, mel_there = Generator(arguments.channels).cuda(), mel.cuda()
there.load_state_dict(model.state_dict())


def timed(function):
    begin = time.perf_counter()
    result = function().cpu()
    return time.perf_counter() - begin, result


times = {"cpu": [], "device": []}
for turn in range(3):
    for name, run in (("cpu", lambda: model(mel)), ("device", lambda: there(mel_there))):
        seconds, wave = timed(run)
        times[name].append(seconds)
        if name == "cpu":
            want = wave
difference = (wave - want).abs().max().item()
cpu, device = min(times["cpu"]), min(times["device"])
print(f"{wave.shape[-1] / RATE:.2f} s of audio: device {device:.2f} s, cpu {cpu:.2f} s, ratio {device / cpu:.2f}, "
      f"largest difference {difference:.1e} of {want.abs().max().item():.2f}")
assert difference < 1e-3, "the device's audio is not the CPU's"
