"""However a program starts: the layer attaches once, before the first operator, and only where PyTorch is."""

import json
import textwrap

import pytest

from lab import environment_of, run_python

PROGRAM = """
import torch
x = torch.arange(4.0).cuda()
assert ((x + 1) * 2).sum().item() == 20 and (x @ x).item() == 14
print("ok")
"""


def active_lines(result):
    return [line for line in result.err.splitlines() if line.startswith("gpucompat: active")]


def test_as_a_module(tmp_path):
    package = tmp_path / "app"
    package.mkdir()
    (package / "__init__.py").write_text("import torch\n")
    (package / "__main__.py").write_text(PROGRAM)
    result = run_python("-m", "app", PYTHONPATH=str(tmp_path))
    assert result.status == 0 and result.out == "ok\n" and len(active_lines(result)) == 1, result


def test_under_torchrun(tmp_path):
    program = tmp_path / "train.py"
    program.write_text(
        PROGRAM
        + textwrap.dedent(
            """
            import torch.distributed as dist
            from torch.nn.parallel import DistributedDataParallel
            dist.init_process_group("gloo")
            rank = dist.get_rank()
            torch.manual_seed(0)
            model = DistributedDataParallel(torch.nn.Linear(3, 2).cuda())
            model(torch.full((4, 3), float(rank)).cuda()).sum().backward()
            gradient = model.module.weight.grad
            assert torch.equal(gradient.cpu(), torch.full((2, 3), 2.0)), gradient
            import sys
            sys.stdout.write(f"rank {rank}\\n")
            dist.destroy_process_group()
            """
        )
    )
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    result = run_python(*launcher, str(program), OMP_NUM_THREADS="1")
    assert result.status == 0 and "rank 0" in result.out and "rank 1" in result.out, result
    assert len(active_lines(result)) == 2, result


def test_in_a_notebooks_kernel(tmp_path):
    client = pytest.importorskip("jupyter_client", reason="jupyter_client is not installed")
    import jupyter_client.kernelspec

    spec = tmp_path / "kernels" / "gpucompat-test"
    spec.mkdir(parents=True)
    import sys

    argv = [sys.executable, "-W", "ignore", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "test", "language": "python"}))
    specs = jupyter_client.kernelspec.KernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")])
    manager = client.KernelManager(kernel_name="gpucompat-test", kernel_spec_manager=specs)
    environment = environment_of(JUPYTER_RUNTIME_DIR=str(tmp_path), IPYTHONDIR=str(tmp_path))
    manager.start_kernel(env=environment)
    try:
        kernel = manager.blocking_client()
        kernel.start_channels()
        kernel.wait_for_ready(timeout=120)
        said = []
        for cell in ("import torch", PROGRAM, "print(x + 1)"):
            reply = kernel.execute_interactive(
                cell,
                timeout=120,
                output_hook=lambda message: said.append(message["content"].get("text", "")),
            )
            assert reply["content"]["status"] == "ok", reply
        assert "ok" in "".join(said) and "device='cuda:0'" in "".join(said), said
        kernel.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)


def test_first_from_many_threads_at_once():
    result = run_python(
        "-c",
        textwrap.dedent(
            """
            import threading, torch
            barrier, failures = threading.Barrier(8), []
            def work(seed):
                try:
                    barrier.wait()
                    x = torch.full((64,), float(seed)).cuda()
                    for _ in range(200):
                        assert ((x + 1) * 2 - 2).sum().item() == 128.0 * seed
                except BaseException as error:
                    failures.append(error)
            threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            assert not failures, failures
            print("ok")
            """
        ),
    )
    assert result.status == 0 and result.out == "ok\n" and len(active_lines(result)) == 1, result


def test_without_pytorch_or_without_the_device_nothing_is_said():
    for program in ("print('ok')", "import torch; print('ok')", "import torch; torch.ones(3) + 1; print('ok')"):
        result = run_python("-c", program)
        assert (result.status, result.out, result.err) == (0, "ok\n", ""), result
