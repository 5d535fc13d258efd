"""A HiFi-GAN generator (Kong et al. 2020, V1's shape, random weights) makes 5 s of 22.05 kHz audio: on the device by
cuDNN or by PyTorch's CPU kernels as GPU_COMPAT_CUDNN says, and with device="cpu", in turns in one process.

usage: bench-vocoder.py [--threads N] [--channels C] [--seconds S]
"""

import argparse
import time

import torch

from hifigan import HOP, MELS, RATE, Generator

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
