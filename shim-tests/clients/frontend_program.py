"""nvidia-cudnn-frontend, which opens libcudnn and looks its functions up, on CuPy's arrays."""

import time

import numpy as np
from cases import case

rng = np.random.default_rng(time.time_ns())
x = rng.standard_normal((2, 8, 9, 11)).astype(np.float32)
w = rng.standard_normal((4, 8, 3, 3)).astype(np.float32)
b = rng.standard_normal((1, 4, 1, 1)).astype(np.float32)
padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
expected = np.maximum(np.einsum("nchwij,kcij->nkhw", windows, w.astype(np.float64)) + b, 0)


def conv_bias_relu():
    import cudnn
    import cupy

    number = cudnn.data_type.FLOAT
    graph = cudnn.pygraph(
        handle=cudnn.create_handle(), io_data_type=number, compute_data_type=number, intermediate_data_type=number
    )
    arrays = [cupy.asarray(values) for values in (x, w, b)]
    tensors = [
        graph.tensor(name=name, dim=list(values.shape), stride=[step // 4 for step in values.strides], data_type=number)
        for name, values in zip("xwb", arrays)
    ]
    sums = graph.conv_fprop(image=tensors[0], weight=tensors[1], padding=[1, 1], stride=[1, 1], dilation=[1, 1])
    y = graph.relu(name="relu", input=graph.bias(name="bias", input=sums, bias=tensors[2]))
    y.set_output(True).set_dim([2, 4, 9, 11]).set_stride([396, 99, 11, 1])
    graph.build([cudnn.heur_mode.A])
    result, workspace = cupy.empty(expected.shape, np.float32), cupy.empty(graph.get_workspace_size() + 1, np.uint8)
    graph.execute({**dict(zip(tensors, arrays)), y: result}, workspace)
    return result.get()


case("convolution + bias + ReLU as one graph", conv_bias_relu, expected, 1e-5)
