"""The three tests and the benchmark of the guide that gpucompat takes over from, without the Python patch they imported.

    scripts/demo.sh examples/guide.py
"""

import sys
import time

import torch
import torch.nn as nn

failed = 0

print("Test 1: Linear layer")
try:
    layer = nn.Linear(100, 50).cuda()
    input_tensor = torch.randn(10, 100).cuda()
    output = layer(input_tensor)
    want = layer.cpu()(input_tensor.cpu())
    assert output.is_cuda and torch.allclose(output.cpu(), want, atol=1e-5)
    print(f"SUCCESS! Output shape: {output.shape}, on device: {output.device}")
except Exception as e:
    failed += 1
    print(f"FAILED: {e}")

print("Test 2: Conv1d")
try:
    conv = nn.Conv1d(in_channels=3, out_channels=10, kernel_size=3).cuda()
    input_tensor = torch.randn(1, 3, 1000).cuda()
    output = conv(input_tensor)
    want = conv.cpu()(input_tensor.cpu())
    assert output.is_cuda and torch.allclose(output.cpu(), want, atol=1e-5)
    print(f"SUCCESS! Output shape: {output.shape}, on device: {output.device}")
except Exception as e:
    failed += 1
    print(f"FAILED: {e}")

print("Test 3: Multiple operations")
try:
    model = nn.Sequential(
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 32)
    ).cuda()
    input_tensor = torch.randn(32, 128).cuda()
    output = model(input_tensor)
    want = model.cpu()(input_tensor.cpu())
    assert output.is_cuda and torch.allclose(output.cpu(), want, atol=1e-5)
    print(f"SUCCESS! Final shape: {output.shape}, device: {output.device}")
except Exception as e:
    failed += 1
    print(f"FAILED: {e}")

iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 100
model = torch.nn.Sequential(*[
    torch.nn.Linear(1024, 1024),
    torch.nn.ReLU()
] * 10).cuda()
input_data = torch.randn(128, 1024).cuda()
start = time.time()
for _ in range(iterations):
    output = model(input_data)
    torch.cuda.synchronize()  # Wait for GPU to finish
end = time.time()
print(f"{iterations} iterations: {end - start:.2f} seconds")
print(f"Per iteration: {(end - start) / iterations * 1000:.1f} ms")
sys.exit(1 if failed else 0)
