"""cuDNN's recurrent networks, by PyTorch's own on the host.

The backward pass computes the network once more, under autograd: what cuDNN keeps in its reserve is one number here, the
seed of the dropout.
"""

# What cuDNN numbers its modes: relu, tanh, LSTM, GRU.
_RNN_MODES = ("rnn_relu", "rnn_tanh", "lstm", "gru")


def _on_thread(function):
    """Runs a function on a thread of its own, where autograd is as in a fresh program: operators run below it."""
    outcome = []

    def run():
        try:
            with torch.enable_grad():
                outcome.append((function(), None))
        except BaseException as error:  # noqa: BLE001 - raised again below
            outcome.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


def _run_rnn(input, weights, per_layer, hx, cx, mode, num_layers, batch_first, dropout, train, bidirectional, batch_sizes,
             seed):
    """Output, hy and cy (None but for the LSTM)."""
    name = _RNN_MODES[mode]
    states = [hx, cx] if name == "lstm" else hx
    rest = (per_layer == 4, num_layers, dropout, train, bidirectional)
    function = getattr(aten, name)
    with _seeded(torch.Generator("cpu").manual_seed(seed)):
        if batch_sizes:
            sizes = torch.tensor(batch_sizes, dtype=torch.int64, device="cpu")
            results = function.data(input, sizes, states, weights, *rest)
        else:
            results = function.input(input, states, weights, *rest, batch_first)
    return (*results, None)[:3]


def _refuse_projection(name, proj_size):
    if proj_size:
        raise NotImplementedError(
            f"gpucompat: aten::{name} with projections; set torch.backends.cudnn.enabled = False for this network"
        )


@equivalent("_cudnn_rnn")
def cudnn_rnn(input, weight, weight_stride0, weight_buf, hx, cx, mode, hidden_size, proj_size, num_layers, batch_first,
              dropout, train, bidirectional, batch_sizes, dropout_state):
    """Output, hy, cy, the reserve and the weights."""
    _refuse_projection("_cudnn_rnn", proj_size)
    seed = int(torch.randint(1 << 62, (), device="cpu"))
    output, hy, cy = _run_rnn(input, list(weight), weight_stride0, hx, cx, mode, num_layers, batch_first, dropout, train,
                              bidirectional, batch_sizes, seed)
    reserve = torch.tensor([seed], dtype=torch.int64, device="cpu").view(torch.uint8)
    weights = weight_buf if weight_buf is not None else torch.cat([item.reshape(-1) for item in weight])
    return output, hy, cy if cy is not None else torch.empty(0, dtype=hy.dtype, device="cpu"), reserve, weights


@equivalent("_cudnn_rnn_backward")
def cudnn_rnn_backward(input, weight, weight_stride0, weight_buf, hx, cx, output, grad_output, grad_hy, grad_cy, mode,
                       hidden_size, proj_size, num_layers, batch_first, dropout, train, bidirectional, batch_sizes,
                       dropout_state, reserve, output_mask):
    """The gradients of input, hx, cx and each weight."""
    _refuse_projection("_cudnn_rnn_backward", proj_size)
    seed = int(reserve.view(torch.int64))

    def gradients():
        leaves = [tensor.detach().requires_grad_() for tensor in (input, hx, *weight)]
        cell = None if cx is None or cx.numel() == 0 else cx.detach().requires_grad_()
        results = _run_rnn(leaves[0], leaves[2:], weight_stride0, leaves[1], cell, mode, num_layers, batch_first, dropout,
                           train, bidirectional, batch_sizes, seed)
        pairs = [(result, grad) for result, grad in zip(results, (grad_output, grad_hy, grad_cy))
                 if result is not None and grad is not None and grad.numel()]
        if cell is not None:
            leaves.append(cell)
        found = torch.autograd.grad([pair[0] for pair in pairs], leaves, [pair[1] for pair in pairs], allow_unused=True)
        return [item if item is not None else torch.zeros_like(leaf) for item, leaf in zip(found, leaves)]

    found = _on_thread(gradients)
    d_cell = found.pop() if cx is not None and cx.numel() else None
    d_input, d_hidden, *d_weights = found
    return d_input, d_hidden, d_cell, d_weights


@equivalent("_cudnn_rnn_flatten_weight")
def cudnn_rnn_flatten_weight(weight_arr, weight_stride0, input_size, mode, hidden_size, proj_size, num_layers, batch_first,
                             bidirectional):
    """The weights one after the other; they stay where they are, which the equivalent of `_cudnn_rnn` does not mind."""
    return torch.cat([item.reshape(-1) for item in weight_arr])


@equivalent("_cudnn_init_dropout_state")
def cudnn_init_dropout_state(dropout, train, dropout_seed, *, dtype=None, layout=None, device=None, pin_memory=False):
    """No state: the seed of each call is drawn from the device's generator."""
    return torch.empty(0, dtype=torch.uint8, device="cpu")
