"""Operators and whole models on the device beside the same on the CPU, in one run: `scripts/bench.sh operators`."""

import argparse
import copy
import math
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--threads", type=int, default=torch.get_num_threads())
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.manual_seed(0)


def best_of_each(functions, seconds=0.4):
    """The least time of each, a few calls of one and then of the other, so that both see the same machine."""
    least = [math.inf] * len(functions)
    for function in functions:
        function()
    started = time.perf_counter()
    while time.perf_counter() - started < seconds * len(functions):
        for position, function in enumerate(functions):
            for _ in range(20):
                begin = time.perf_counter()
                function()
                least[position] = min(least[position], time.perf_counter() - begin)
    return least


def small_operators():
    a, b, m = torch.randn(3), torch.randn(3), torch.randn(4, 4)
    rows = {
        "x + y": lambda x, y, z: x + y,
        "x + 1": lambda x, y, z: x + 1,
        "x.add_(y)": lambda x, y, z: x.add_(y),
        "x.relu()": lambda x, y, z: x.relu(),
        "x.sum()": lambda x, y, z: x.sum(),
        "x > 0": lambda x, y, z: x > 0,
        "softmax": lambda x, y, z: z.softmax(1),
        "layer_norm": lambda x, y, z: F.layer_norm(z, [4]),
        "cat": lambda x, y, z: torch.cat([x, y]),
        "index_select": lambda x, y, z: z.index_select(0, INDEX[z.device.type]),
        "mm": lambda x, y, z: z @ z,
        "linear with bias": lambda x, y, z: F.linear(z, z, z[0]),
        "x[1:] (a view)": lambda x, y, z: x[1:],
        "randn_like": lambda x, y, z: torch.randn_like(x),
        "zeros on the device": lambda x, y, z: torch.zeros(3, device=x.device),
    }
    index = torch.tensor([0, 2])
    global INDEX
    INDEX = {"cpu": index, "cuda": index.cuda()}
    there = [tensor.cuda() for tensor in (a, b, m)]
    print(f"{'operator, µs':>22} {'device':>8} {'cpu':>8} {'ratio':>6}")
    for name, run in rows.items():
        device, cpu = best_of_each([lambda: run(*there), lambda: run(a, b, m)], 0.1)
        print(f"{name:>22} {device * 1e6:8.2f} {cpu * 1e6:8.2f} {device / cpu:6.1f}")


class Decoder(nn.Module):
    def __init__(self, width=256, depth=4, heads=4, words=1000):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(128, width)
        layer = lambda: nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers, self.head = nn.ModuleList(layer() for _ in range(depth)), nn.Linear(width, words, bias=False)

    def forward(self, tokens):
        length = tokens.size(1)
        x = self.words(tokens) + self.places(torch.arange(length, device=tokens.device))
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=tokens.device)
        for layer in self.layers:
            x = layer(x, mask, is_causal=True)
        return self.head(x)


def image_net():
    block = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
    return nn.Sequential(block(3, 32), block(32, 32), nn.MaxPool2d(2), block(32, 64), block(64, 64), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(64, 10))


def vocoder():
    conv = lambda c, d: nn.Conv1d(c, c, 3, dilation=d, padding=d)
    return nn.Sequential(nn.Conv1d(80, 128, 7, padding=3), nn.ConvTranspose1d(128, 64, 16, 8, 4), conv(64, 1), nn.ReLU(),
                         conv(64, 3), nn.ConvTranspose1d(64, 32, 16, 8, 4), conv(32, 1), nn.ReLU(), conv(32, 5),
                         nn.Conv1d(32, 1, 7, padding=3), nn.Tanh())


def models():
    seed = nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(10)])
    token = lambda *shape: torch.randint(0, 1000, shape)
    rows = {
        "10 × Linear(1024), batch 128": (seed, torch.randn(128, 1024), False),
        "the same, a training step": (seed, torch.randn(128, 1024), True),
        "transformer, 1 × 64 tokens": (Decoder(), token(1, 64), False),
        "transformer, a training step, 4 × 64": (Decoder(), token(4, 64), True),
        "convolutions, 8 × 3 × 64 × 64": (image_net(), torch.randn(8, 3, 64, 64), False),
        "the same, a training step ": (image_net(), torch.randn(8, 3, 64, 64), True),
        "vocoder, 80 × 100 frames": (vocoder(), torch.randn(1, 80, 100), False),
        "LSTM, 2 layers of 256, 32 × 16": (nn.LSTM(64, 256, 2), torch.randn(32, 16, 64), False),
    }
    print(f"\n{'model, ms (medians)':>38} {'device':>8} {'cpu':>8} {'ratio':>6}")
    ratios = []
    for name, (model, inputs, training) in rows.items():
        runs = []
        for device in ("cuda", "cpu"):
            net, x = copy.deepcopy(model).to(device), inputs.to(device)
            step = torch.optim.AdamW(net.parameters())

            def run(net=net, x=x, step=step):
                if not training:
                    with torch.inference_mode():
                        result = net(x)
                        result = result[0] if isinstance(result, tuple) else result
                        return result.flatten()[0].item()
                step.zero_grad()
                net(x).square().mean().backward()
                step.step()
                return None

            runs.append(run)
        times = [[], []]
        for run in runs:
            run()
        for _ in range(7):
            for position, run in enumerate(runs):
                begin = time.perf_counter()
                run()
                times[position].append(time.perf_counter() - begin)
        device, cpu = map(statistics.median, times)
        ratios.append(device / cpu)
        print(f"{name:>38} {device * 1e3:8.1f} {cpu * 1e3:8.1f} {device / cpu:6.2f}")
    print(f"geometric mean of the models: {math.exp(statistics.fmean(map(math.log, ratios))):.2f} × the CPU's time")


small_operators()
models()
