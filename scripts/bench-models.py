"""Whole models on the device beside what a user would do instead, each in a process of its own, in turns: medians, ratios
to the CPU, peaks of memory, and a plot. `scripts/bench.sh models` runs it.

  cpu         device="cpu"
  gpucompat   the device, as it comes
  patch       the device with the Python patch that people pass around: each nn.Linear and nn.Conv moves its weights and its
              input to the CPU and its result back. The rest is gpucompat's with memory on the device: alone, the patch
              leaves every other operator failing
  before      another libgpucompat.so (--before), such as that of the last release
"""

import argparse
import glob
import json
import math
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
MODELS = ("linear", "gpt2", "resnet50", "vocoder", "unet")
TITLES = {
    "linear": "10 × Linear(1024), batch 128",
    "gpt2": "GPT-2 small, 32 tokens decoded",
    "resnet50": "ResNet-50, batch 8",
    "vocoder": "HiFi-GAN V1, 2 s of audio",
    "unet": "diffusion UNet, one step",
}


def build(name):
    """The model and a function of model and device that runs it once."""
    import torch

    torch.manual_seed(0)
    if name == "linear":
        model = torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(10)])
        inputs = [torch.randn(128, 1024)]
    elif name == "gpt2":
        from transformers import GPT2Config, GPT2LMHeadModel

        model = GPT2LMHeadModel(GPT2Config()).eval()
        prompt = torch.randint(0, 50257, (1, 16))

        def decode(net, prompt):
            return net.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=32, min_new_tokens=32,
                                do_sample=False, pad_token_id=0).double()

        return model, [prompt], decode
    elif name == "resnet50":
        from torchvision.models import resnet50

        model, inputs = resnet50().eval(), [torch.randn(8, 3, 224, 224)]
    elif name == "vocoder":
        from hifigan import HOP, MELS, RATE, Generator

        model, inputs = Generator(512).eval(), [torch.randn(1, MELS, 2 * RATE // HOP)]
    else:
        from diffusers import UNet2DConditionModel

        model = UNet2DConditionModel(sample_size=32, layers_per_block=1, block_out_channels=(128, 256, 256),
                                     down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                                     up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                                     cross_attention_dim=512).eval()
        inputs = [torch.randn(2, 4, 32, 32), torch.tensor([10, 10]), torch.randn(2, 77, 512)]
        return model, inputs, lambda net, *x: net(*x).sample
    return model, inputs, lambda net, *x: net(*x)


def patch_layers():
    """The patch: weights and input to the CPU at every call, the result back."""
    import torch
    import torch.nn.functional as F

    def linear(self, x):
        bias = None if self.bias is None else self.bias.cpu()
        return F.linear(x.cpu(), self.weight.cpu(), bias).to(x.device)

    torch.nn.Linear.forward = linear
    for layer in (torch.nn.Conv1d, torch.nn.Conv2d):
        inner = layer._conv_forward
        layer._conv_forward = lambda self, x, weight, bias, inner=inner: inner(
            self, x.cpu(), weight.cpu(), None if bias is None else bias.cpu()).to(x.device)


def work(name, variant, threads):
    """Runs the model for each line on standard input, for half a second at least; answers with the median of its times,
    in the end with a check and the peak."""
    sys.path.insert(0, str(HERE))
    import torch

    torch.set_num_threads(threads)
    if variant == "patch":
        patch_layers()
    model, inputs, run = build(name)
    device = "cpu" if variant == "cpu" else "cuda"
    model, inputs = model.to(device), [item.to(device) for item in inputs]
    for line in sys.stdin:
        if line.strip() == "end":
            break
        times = []
        with torch.inference_mode():
            while sum(times) < 0.5:
                begin = time.perf_counter()
                result = run(model, *inputs)
                check = result.double().abs().mean().item()  # waits for the result
                times.append(time.perf_counter() - begin)
        print(json.dumps({"seconds": statistics.median(times)}), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"check": check, "peak_mib": peak}), flush=True)


class Worker:
    """A process that runs one model in one way."""

    def __init__(self, name, variant, options):
        env = dict(os.environ, GPU_COMPAT_QUIET="1", TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1")
        if variant != "cpu":
            shim = options.before if variant == "before" else options.shim
            env["LD_PRELOAD"] = " ".join([shim, *glob.glob(f"{options.simgpu}/libcudart.so.*")])
            env["LD_LIBRARY_PATH"] = options.simgpu
        if variant == "patch":
            env["GPU_COMPAT_MEMORY"] = "device"
        command = [sys.executable, "-W", "ignore", __file__, "--work", f"{name}:{variant}", "--threads", str(options.threads)]
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"a worker ended with status {self.process.wait()}")
        return json.loads(answer)


def measure(name, variants, options):
    workers = {variant: Worker(name, variant, options) for variant in variants}
    for worker in workers.values():
        worker.ask("run")
    times = {variant: [] for variant in variants}
    for _ in range(options.rounds):
        for variant, worker in workers.items():
            time.sleep(0.1)  # until the threads of the one before have ceased to wait for more
            times[variant].append(worker.ask("run")["seconds"])
    ends = {variant: worker.ask("end") for variant, worker in workers.items()}
    for variant, end in ends.items():
        if abs(end["check"] - ends["cpu"]["check"]) > 1e-3 * abs(ends["cpu"]["check"]):
            raise SystemExit(f"{name}: {variant} computes {end['check']}, the CPU {ends['cpu']['check']}")
    return {variant: (statistics.median(times[variant]), ends[variant]["peak_mib"]) for variant in variants}


def plot(table, variants, path, bus):
    """Bars of the ratios to the CPU, one group a model."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"], plt.rcParams["svg.fonttype"] = "gpucompat", "none"
    shown = [variant for variant in variants if variant != "cpu"]
    figure, axes = plt.subplots(figsize=(9, 4))
    for place, variant in enumerate(shown):
        ratios = [row[variant][0] / row["cpu"][0] for row in table.values()]
        width = 0.8 / len(shown)
        bars = axes.bar([group + (place - (len(shown) - 1) / 2) * width for group in range(len(table))], ratios, width,
                        label=variant)
        axes.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], fontsize=8)
    axes.axhline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(table)), [TITLES[name].replace(", ", ",\n") for name in table], fontsize=8)
    axes.set_ylabel("time, device=\"cpu\" is 1")
    axes.set_title(f"simulated device, bus of {bus} GB/s" if bus else "simulated device, copies as fast as memory")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--shim", help="libgpucompat.so")
    parser.add_argument("--simgpu", help="the simulated GPU's folder")
    parser.add_argument("--before", help="an older libgpucompat.so")
    parser.add_argument("--plot", help="where the plot goes, an .svg")
    options = parser.parse_args()
    if options.work:
        return work(*options.work.split(":"), options.threads)
    variants = ["cpu", "gpucompat", "patch", *(["before"] if options.before else [])]
    print(f"{'model, s (medians)':>32} " + " ".join(f"{variant:>9}" for variant in variants) + "   ratios to cpu; peak MiB")
    table = {}
    for name in options.models.split(","):
        table[name] = row = measure(name, variants, options)
        print(f"{TITLES[name]:>32} " + " ".join(f"{row[variant][0]:9.4f}" for variant in variants) + "   "
              + " ".join(f"{row[variant][0] / row['cpu'][0]:5.2f}" for variant in variants[1:]) + "; "
              + " ".join(f"{row[variant][1]:.0f}" for variant in variants), flush=True)
    for variant in variants[1:]:
        ratios = [row[variant][0] / row["cpu"][0] for row in table.values()]
        print(f"geometric mean {variant}: {math.exp(statistics.fmean(map(math.log, ratios))):.2f} × the CPU's time")
    if options.plot:
        plot(table, variants, options.plot, os.environ.get("SIMGPU_PCIE_GBPS"))
    return None


if __name__ == "__main__":
    main()
