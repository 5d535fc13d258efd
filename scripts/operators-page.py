"""Prints docs/operators.md: what happens to each operator. usage: operators-page.py PYTHON…

Each PYTHON is an interpreter with another version of torch; no device is needed.
"""

import collections
import json
import pathlib
import subprocess
import sys

FALLBACK = pathlib.Path(__file__).parents[1] / "src/operators/fallback"
NAMES = "staging random survey replacement copy equivalents attention recurrent whole compile products layer".split()
FILES = [str(FALLBACK / f"{name}.py") for name in NAMES]
ASK = f"""
import json, torch
scope = {{}}
for file in {FILES!r}:
    exec(compile(open(file).read(), file, "exec"), scope)
table = scope["treatments"]()
print(json.dumps([torch.__version__.split("+")[0], table]))
"""

columns = []
for python in sys.argv[1:]:
    answer = subprocess.run([python, "-W", "ignore", "-c", ASK], capture_output=True, text=True, check=True)
    columns.append(json.loads(answer.stdout.splitlines()[-1]))

print("# Operators\n")
print("Printed from `src/operators/fallback/` and the wheels' own registrations by `scripts/gen-docs.sh`: every `aten`")
print("operator that has a CUDA kernel, and what happens to it where the operator layer is attached.\n")
print("* **cpu**: runs on PyTorch's CPU kernel, operands staged by gpucompat.")
print("* **equivalent**: has no CPU kernel of that name; written out in `equivalents.py`.")
print("* **measured**: one cuBLAS call or the CPU kernel, whichever was faster when the first large product of its type came.")
print("* **native**: launches no kernel of PyTorch's (allocation, views), or is one cuBLAS call, which is served.")
print("* **refused**: NotImplementedError with the operator's name, the reason and what to do.\n")
print("`torchvision::` and `torchaudio::` operators with a CUDA kernel run on their CPU kernels; one without is refused. Sparse,")
print("compressed-sparse and nested tensors have their parts staged and run on PyTorch's CPU kernels for them.\n")
print("Composite operators that run whole on the host where neither gradients nor dropout are asked for, by one fused call of")
print("PyTorch's CPU implementation: `scaled_dot_product_attention` without a mask, `lstm`, `gru`, `rnn_tanh`, `rnn_relu`.\n")
print("| | " + " | ".join(f"torch {version}" for version, _ in columns) + " |")
print("|---|" + "---|" * len(columns))
for kind in ("cpu", "equivalent", "measured", "native", "refused"):
    print(f"| {kind} | " + " | ".join(str(collections.Counter(table.values())[kind]) for _, table in columns) + " |")
for kind in ("equivalent", "measured", "native", "refused"):
    names = sorted({name for _, table in columns for name, treatment in table.items() if treatment == kind})
    print(f"\n## {kind}\n")
    print(" ".join(f"`{name}`" for name in names))
names = sorted({name for _, table in columns for name, treatment in table.items() if treatment == "cpu"})
print("\n## cpu\n")
print(" ".join(f"`{name}`" for name in names))
