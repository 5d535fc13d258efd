# Small computations on every device, compared with the CPU's, one line of JSON each behind a mark.
import sys

if sys.path and sys.path[0] == "":
    del sys.path[0]

import json


def say(**what):
    sys.stdout.write("\ngpucompat-doctor: " + json.dumps(what) + "\n")
    sys.stdout.flush()


import torch
import torch.nn.functional as F

torch.manual_seed(0)
x = torch.randn(1000)
a, b, bias = torch.randn(48, 64), torch.randn(64, 64), torch.randn(64)
image, window = torch.randn(2, 3, 16, 16), torch.randn(8, 3, 3, 3)
OPERATIONS = [
    ("add", lambda x: x + 1, [x]),
    ("matmul", lambda a, b: a @ b, [a, b]),
    ("linear", F.linear, [a, b, bias]),
    ("conv2d", F.conv2d, [image, window]),
]

for device in range(max(1, torch.cuda.device_count())):
    for name, operation, operands in OPERATIONS:
        expected = operation(*operands)
        error = None
        try:
            result = operation(*[operand.to("cuda:%d" % device) for operand in operands]).cpu()
            # The device may multiply with fewer digits (TF32).
            status = "right" if torch.allclose(result, expected, rtol=1e-2, atol=2e-2) else "wrong"
        except Exception as caught:
            status, error = "error", "%s: %s" % (type(caught).__name__, str(caught).strip().partition("\n")[0])
        say(device=device, name=name, status=status, error=error)
say(done=True)
