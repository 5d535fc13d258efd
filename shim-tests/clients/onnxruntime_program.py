"""onnxruntime's CUDA provider, each model against the same model on onnxruntime's CPU provider."""

import time

import numpy as np
import onnxruntime
from cases import case
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(time.time_ns())
CUDA = [("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})]


def weights(name, *shape):
    return numpy_helper.from_array((rng.standard_normal(shape) * 0.2).astype(np.float32), name)


def session(model, providers):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    made = onnxruntime.InferenceSession(model, options, providers=providers)
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if made.get_providers()[0] != wanted:
        raise RuntimeError(f"{wanted} could not be started")
    return made


def model(name, nodes, shape, *initial):
    nodes = [helper.make_node(kind, inputs, outputs, **attributes) for kind, inputs, outputs, attributes in nodes]
    place = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "case", place, result, list(initial))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    text, x = made.SerializeToString(), rng.standard_normal(shape).astype(np.float32)
    expected = session(text, ["CPUExecutionProvider"]).run(None, {"x": x})[0]
    case(name, lambda: session(text, CUDA).run(None, {"x": x})[0], expected, 1e-5)


conv = ("Conv", ["x", "w", "b"], ["t"], {"pads": [1, 1, 1, 1]})
pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
norm = ["x", "s", "b", "m", "v"]
ones = numpy_helper.from_array(np.ones(3, np.float32), "v")

model("MatMul", [("MatMul", ["x", "w"], ["y"], {})], [5, 7], weights("w", 7, 3))
model("MatMul batched", [("MatMul", ["x", "w"], ["y"], {})], [2, 5, 7], weights("w", 2, 7, 3))
model("Gemm", [("Gemm", ["x", "w"], ["y"], {"alpha": 0.5, "transB": 1})], [5, 7], weights("w", 3, 7))
model("Gemm with C", [("Gemm", ["x", "w", "c"], ["y"], {"beta": 2.0})], [5, 7], weights("w", 7, 3), weights("c", 5, 3))
model("Gemm with a bias", [("Gemm", ["x", "w", "b"], ["y"], {})], [5, 7], weights("w", 7, 3), weights("b", 3))
model("Conv", [("Conv", ["x", "w", "b"], ["y"], {"strides": [2, 1]})], [2, 3, 9, 8], weights("w", 4, 3, 3, 3), weights("b", 4))
model("Conv 1-D", [("Conv", ["x", "w"], ["y"], {"dilations": [2]})], [2, 3, 18], weights("w", 4, 3, 3))
model("Conv grouped", [("Conv", ["x", "w"], ["y"], {"group": 2})], [2, 4, 8, 8], weights("w", 6, 2, 3, 3))
model("ConvTranspose", [("ConvTranspose", ["x", "w"], ["y"], {"strides": [2, 2]})], [2, 3, 8, 8], weights("w", 3, 4, 3, 3))
model("MaxPool", [("MaxPool", ["x"], ["y"], pool)], [2, 3, 8, 8])
model("GlobalAveragePool", [("GlobalAveragePool", ["x"], ["y"], {})], [2, 3, 8, 8])
model("BatchNormalization", [("BatchNormalization", norm, ["y"], {})], [2, 3, 8, 8], weights("s", 3), weights("b", 3), weights("m", 3), ones)
model("ReduceMean", [("ReduceMean", ["x"], ["y"], {"axes": [1]})], [2, 3, 8])
model("LSTM", [("LSTM", ["x", "w", "r", "b"], ["y"], {"hidden_size": 6})], [5, 2, 4], weights("w", 1, 24, 4), weights("r", 1, 24, 6), weights("b", 1, 48))
model("Relu", [("Relu", ["x"], ["y"], {})], [5, 7])
model("Softmax", [("Softmax", ["x"], ["y"], {"axis": 1})], [2, 3])
model(
    "network of Conv MaxPool Conv MatMul",
    [
        conv,
        ("MaxPool", ["t"], ["p"], pool),
        ("Conv", ["p", "w2"], ["q"], {}),
        ("Flatten", ["q"], ["f"], {}),
        ("MatMul", ["f", "w3"], ["y"], {}),
    ],
    [2, 3, 8, 8],
    *(weights("w", 4, 3, 3, 3), weights("b", 4), weights("w2", 6, 4, 3, 3), weights("w3", 24, 10)),
)
