"""The scenario people meet first: a linear layer on a card that PyTorch has no kernels for."""

import torch
import torch.nn as nn

torch.manual_seed(0)
print("device:", torch.cuda.get_device_name(0), "compute capability", torch.cuda.get_device_capability(0))

layer = nn.Linear(100, 50)
inputs = torch.randn(10, 100)
expected = layer(inputs)

output = layer.cuda()(inputs.cuda())
print("output:", tuple(output.shape), "on", output.device)

difference = (output.detach().cpu() - expected.detach()).abs().max().item()
print("largest difference from the CPU's result:", difference)
assert difference < 1e-5
print("the linear layer works")
