"""`torch.compile`: what the inductor would make of a graph with device tensors are kernels for the device. Such a graph
runs as it is, operator by operator, and one warning says so; graphs of host tensors are compiled as ever."""


def _uses_device(graph, inputs):
    held = [*graph.parameters(), *graph.buffers(), *inputs]
    if any(isinstance(item, torch.Tensor) and item.device.type == "cuda" for item in held):
        return True
    return any(_makes_device_tensors(node) for node in graph.graph.nodes)


def _makes_device_tensors(node):
    example = node.meta.get("example_value", node.meta.get("val"))
    if isinstance(example, torch.Tensor) and example.device.type == "cuda":
        return True
    if node.op == "call_method" and node.target == "cuda":
        return True
    words = (str(item) for item in (*node.args, *node.kwargs.values()) if isinstance(item, (str, torch.device)))
    return any(word.startswith("cuda") for word in words)


def _keep_device_graphs_eager():
    wrapper = getattr(torch, "_TorchCompileInductorWrapper", None)
    if wrapper is None:
        return
    compile_graph = wrapper.__call__

    def call(self, model_, inputs_):
        if not _uses_device(model_, inputs_):
            return compile_graph(self, model_, inputs_)
        if not _told_of_compile:
            _told_of_compile.append(True)
            warnings.warn(
                "gpucompat: torch.compile leaves this program's CUDA graphs uncompiled, since compiled kernels are not "
                "known to run on this device; results are the same, and operators run one by one",
                stacklevel=2,
            )
        return model_.forward

    wrapper.__call__ = call


_told_of_compile = []
