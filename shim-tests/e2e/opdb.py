"""PyTorch's own operator database on the device against the CPU: forward, in-place, out= and gradients.

usage: opdb.py [--dtypes float32,int64,…] [--match TEXT] [--samples N] [--verbose]

Prints one line a finding and, at the end, the counts: equal, documented error (an error on the device only, that
names gpucompat or NotImplementedError), wrong, other error. Exits with 1 if anything is wrong.
"""

import argparse
import collections
import sys
import warnings

import torch
from torch.testing._internal.common_methods_invocations import op_db

warnings.simplefilter("ignore")

# Their results are not a function of their inputs: uninitialised memory, or random numbers of another sequence.
RANDOM = {
    "bernoulli", "cauchy", "empty", "empty_like", "empty_permuted", "empty_strided", "exponential", "geometric",
    "log_normal", "multinomial", "nn.functional.multi_head_attention_forward", "new_empty", "new_empty_strided", "nn.functional.alpha_dropout",
    "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d",
    "nn.functional.feature_alpha_dropout", "nn.functional.fractional_max_pool2d",
    "nn.functional.fractional_max_pool3d", "nn.functional.rrelu", "normal", "pca_lowrank", "rand_like", "randint",
    "randint_like", "randn", "randn_like", "svd_lowrank", "uniform", "nn.functional.scaled_dot_product_attention",
    "torch.ops.aten._efficient_attention_forward", "torch.ops.aten._flash_attention_forward",
    "torch.ops.aten._safe_softmax.default",
}

# Their results are on the host by definition, or where their argument says.
ON_HOST = {"cpu", "to", "item", "tolist", "equal"}


def to(value, device):
    if isinstance(value, torch.Tensor):
        if value.device.type == "meta":
            return value
        if value.layout is not torch.strided:
            return value.detach().to(device).requires_grad_(value.requires_grad)
        span = 1 + sum((s - 1) * t for s, t in zip(value.size(), value.stride())) if value.numel() else 0
        if value.is_conj() or value.is_neg() or span == 0:
            moved = value.detach().to(device)
        else:
            # The same strides: the database has views on purpose.
            room = value.detach().as_strided((span,), (1,), value.storage_offset()).clone().to(device)
            moved = room.as_strided(value.size(), value.stride())
        return moved.requires_grad_(value.requires_grad)
    if isinstance(value, (list, tuple)):
        return type(value)(to(item, device) for item in value) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        return {key: to(item, device) for key, item in value.items()}
    if isinstance(value, (torch.device, str)) and str(value) == "cpu":
        return device
    return value


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in tensors(item)]
    return []


def differs(op_name, got, want, random, rounded_often=False):
    """None if equal (in shape and type only, if random), else what differs. `rounded_often`: the half results of several
    operators stand beside one that was rounded once."""
    got, want = tensors(got), tensors(want)
    if len(got) != len(want):
        return f"{len(got)} results instead of {len(want)}"
    for position, (a, b) in enumerate(zip(got, want)):
        if a.layout is not b.layout:
            return f"result {position} has the layout {a.layout} instead of {b.layout}"
        if a.layout is not torch.strided:
            a, b = a.detach().to_dense(), b.detach().to_dense()
        if b.device.type == "cpu" and a.device.type == "cpu" and b.numel() and op_name not in ON_HOST:
            return f"result {position} is on {a.device}"
        a, b = a.detach().cpu(), b.detach().cpu()
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"result {position}: {a.dtype} {tuple(a.shape)} instead of {b.dtype} {tuple(b.shape)}"
        if random:
            continue
        loose = (3e-2 if rounded_often else 1e-2) if b.dtype in (*HALF, torch.complex32) else 1e-4
        if b.dtype is torch.complex32:
            a, b = a.to(torch.complex64), b.to(torch.complex64)
        if b.is_floating_point() or b.is_complex():
            if not torch.allclose(a, b, rtol=loose, atol=loose, equal_nan=True):
                return f"result {position} differs by {(a - b).abs().max().item()}"
        elif not torch.equal(a, b):
            return f"result {position} differs"
    return None


HALF = (torch.float16, torch.bfloat16)


def converted(value, convert):
    if isinstance(value, torch.Tensor):
        return convert(value)
    if type(value) in (list, tuple):
        return type(value)(converted(item, convert) for item in value)
    if isinstance(value, dict):
        return {key: converted(item, convert) for key, item in value.items()}
    return torch.float32 if value in HALF and isinstance(value, torch.dtype) else value


def widened(value):
    return converted(value, lambda t: t.float() if t.dtype in HALF else t)


def narrowed(value, dtype):
    into = {torch.float32: dtype, torch.complex64: torch.complex32 if dtype is torch.float16 else torch.complex64}
    return converted(value, lambda t: t.to(into.get(t.dtype, t.dtype)))


def attempt(function):
    try:
        return function(), None
    except Exception as error:  # noqa: BLE001 - any error is a finding
        return None, error


def variants(op, sample):
    """Name and function of each variant: called with input, args, kwargs of one device."""
    yield "forward", lambda i, a, k: op.op(i, *a, **k)
    if op.inplace_variant is not None and not sample.broadcasts_input:
        def in_place(i, a, k):
            fresh = i.detach().clone()
            op.inplace_variant(fresh, *a, **k)
            return fresh
        yield "in-place", in_place
    if op.supports_out:
        def out(i, a, k):
            result = op.op(i, *a, **k)
            if not isinstance(result, torch.Tensor):
                return result
            into = torch.empty(0, dtype=result.dtype, device=result.device)
            with torch.no_grad():
                op.op(i, *a, **k, out=into)
            return into
        yield "out", out


def gradients(op, dtype):
    def run(i, a, k):
        results = [t for t in tensors(op.op(i, *a, **k)) if t.requires_grad and t.dtype == dtype]
        inputs = [t for t in tensors([i, list(a), list(k.values())]) if t.requires_grad]
        if not results or not inputs:
            return []
        total = sum((t.abs() ** 2).sum() for t in results)
        return [g if g is not None else torch.zeros((), device=t.device) for g, t in
                zip(torch.autograd.grad(total, inputs, allow_unused=True), inputs)]
    return run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dtypes", default="float32,int64,bool,bfloat16")
    parser.add_argument("--match", default="")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--shard", default="0/1")
    options = parser.parse_args()
    counts = collections.Counter()
    shard, shards = map(int, options.shard.split("/"))
    for index, op in enumerate(op_db):
        name = op.name + ("." + op.variant_test_name if op.variant_test_name else "")
        if options.match not in name or index % shards != shard:
            continue
        for dtype in (getattr(torch, text) for text in options.dtypes.split(",")):
            # A half type that only CUDA kernels know is compared with float32.
            only_there = dtype in HALF and dtype not in op.supported_dtypes("cpu")
            if dtype not in op.supported_dtypes("cuda") or dtype not in op.supported_dtypes("cpu") and not only_there:
                continue
            outcome = "equal"
            with_grad = dtype == torch.float32 and op.supports_autograd
            samples, error = attempt(lambda: list(op.sample_inputs("cpu", dtype, requires_grad=with_grad)))
            if error is not None:
                counts["no samples"] += 1
                continue
            for sample in samples[: options.samples]:
                runs = list(variants(op, sample))
                if with_grad:
                    runs.append(("gradient", gradients(op, dtype)))
                for variant, run in runs:
                    on = lambda device: (to(sample.input, device), to(sample.args, device), to(sample.kwargs, device))
                    torch.manual_seed(0)
                    host_inputs = widened(on("cpu")) if only_there else on("cpu")
                    want, refused = attempt(lambda: run(*host_inputs))
                    if refused is not None:
                        continue
                    torch.manual_seed(0)
                    inputs = on("cuda")
                    got, failed = attempt(lambda: run(*inputs))
                    again = None
                    if failed is None:
                        # What an operator's result looks like is remembered, and the next one computed in its place.
                        torch.manual_seed(0)
                        inputs = on("cuda")
                        again, failed = attempt(lambda: run(*inputs))
                    if failed is not None:
                        stated = isinstance(failed, NotImplementedError) or "gpucompat" in str(failed)
                        found = "documented error" if stated else "other error"
                        text = f"{type(failed).__name__}: {str(failed).splitlines()[0] if str(failed) else ''}"
                    else:
                        if only_there:
                            want, host_inputs = narrowed(want, dtype), narrowed(host_inputs, dtype)
                        text = differs(op.name, got, want, op.name in RANDOM, only_there)
                        text = text or differs(op.name, again, want, op.name in RANDOM, only_there)
                        if text and variant == "out" and not only_there:
                            # PyTorch's own CPU out= is wrong for mean in half types: then what it returns counts.
                            text = differs(op.name, got, runs[0][1](*on("cpu")), False)
                        if not text and op.name not in RANDOM:
                            # What an operator does to its arguments counts as well, whatever its schema says.
                            text = differs("to", list(inputs), list(host_inputs), False, only_there)
                            text = text and f"arguments afterwards: {text}"
                        found = "wrong" if text else "equal"
                    if found != "equal" and outcome != "wrong":
                        if outcome == "equal" or found == "wrong":
                            print(f"{found}: {name} {dtype} {variant}: {text}"[:200], flush=True)
                        outcome = found
            counts[outcome] += 1
    total = sum(counts.values()) - counts["no samples"]
    for key in ("equal", "documented error", "other error", "wrong"):
        print(f"{key}: {counts[key]} ({100 * counts[key] / max(total, 1):.2f} %)")
    print(f"entries: {total} (operator and type; {counts['no samples']} without samples)")
    sys.exit(1 if counts["wrong"] else 0)


if __name__ == "__main__":
    main()
