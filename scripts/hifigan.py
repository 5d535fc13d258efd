"""A HiFi-GAN generator (Kong et al. 2020, V1's shape) for the benchmarks."""

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
