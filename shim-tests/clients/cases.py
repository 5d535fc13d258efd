"""How the programs say what became of a case: one line of JSON each, `["name", "right"]`, `["name", "wrong by 0.3"]`, or
the name of an error and its first line."""

import json

import numpy


def case(name, compute, expected, tolerance):
    """Runs `compute` and compares its host array with `expected`, by the largest magnitude that is expected."""
    try:
        got = numpy.asarray(compute())
    except Exception as error:  # whatever the client raises is what its user sees
        lines = str(error).splitlines() or [""]
        print(json.dumps([name, f"{type(error).__name__}: {lines[0][:200]}"]), flush=True)
        return
    expected = numpy.asarray(expected)
    if got.shape != expected.shape:
        print(json.dumps([name, f"wrong shape {got.shape}, expected {expected.shape}"]), flush=True)
        return
    wide = numpy.complex128 if numpy.iscomplexobj(expected) else numpy.float64
    scale = max(float(numpy.abs(expected).max(initial=0)), 1.0)
    off = float(numpy.abs(got.astype(wide) - expected.astype(wide)).max(initial=0)) / scale
    right = off <= tolerance  # a NaN is not
    print(json.dumps([name, "right" if right else f"wrong by {off}"]), flush=True)
