"""CUDA graphs (`torch.cuda.CUDAGraph`) of operators that run on the host.

While a graph is captured a replaced operator is recorded instead of run: its results are allocated, from the graph's own
memory, in the form that the operator gives on `meta` tensors, and hold nothing yet. A replay runs what was recorded, in its
order, on the data of then, and puts the results where they were promised. Native work in the same capture (a library call, a
copy by another extension) would lose its place between the operators: such a graph is refused when its capture ends.
"""

_recordings = {}  # by the number of the capture
_recording_now = threading.Lock()


class _Recording:
    """What one capture has asked for."""

    def __init__(self):
        self.steps = []

    def replay(self):
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd(), torch.autocast("cuda", enabled=False):
            for step in self.steps:
                step()


def _current_recording():
    if not _recordings:
        return None
    device = torch.cuda.current_device()
    return _recordings.get(_capture(device, _raw_stream(device)))


def _mapped_values(value, tensor, device, generator):
    """An argument with its tensors, devices and generators exchanged."""
    if isinstance(value, torch.Tensor):
        return tensor(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped_values(item, tensor, device, generator) for item in value)
    if isinstance(value, torch.Generator):
        return generator(value)
    return device(value) if isinstance(value, torch.device) else value


def _itself(value):
    return value


def _frozen(value):
    """An argument as it is now: views and sizes that the program changes later do not change it, nor do numbers on the
    host, which a kernel would have been given by value."""

    def frozen(tensor):
        return tensor.clone() if tensor.device.type == "cpu" and tensor.dim() == 0 else tensor.detach()

    return _mapped_values(value, frozen, _itself, _itself)


def _of_form(tensor, device, make):
    made = make(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=device)
    return _flags(made, tensor)


def _zeros(size, stride, **options):
    return torch.empty_strided(size, stride, **options).zero_()


def _depends_on_data(op, args):
    """Whether the form of the results, or a result itself, is not known before the data is."""
    if op._schema.name == "aten::index":  # by places its form is known, by truths it is not
        return any(item is not None and item.dtype in (torch.bool, torch.uint8) for item in args[1])
    return torch.Tag.dynamic_output_shape in op.tags or torch.Tag.data_dependent_output in op.tags


def _forms(op, function, args, kwargs):
    """The operator's results in form alone: on meta tensors, or, where it has no such kernel, on zeros on the host."""
    outcome = "its size depends on the data"
    ways = (("meta", op, torch.empty_strided), ("cpu", function or op, _zeros))
    for device, compute, make in () if _depends_on_data(op, args) else ways:
        known = {}

        def stand_in(tensor, device=device, make=make, known=known):
            return known.setdefault(id(tensor), _of_form(tensor, device, make))

        place = torch.device(device)
        given = [_mapped_values(list(args), stand_in, lambda _: place, lambda _: None)]
        given.append({name: _mapped_values(value, stand_in, lambda _: place, lambda _: None)
                      for name, value in kwargs.items()})
        given[1].pop("pin_memory", None)
        try:
            with torch.no_grad():
                result = compute(*given[0], **given[1])
            return result, known
        except (NotImplementedError, RuntimeError, TypeError) as error:
            outcome = error if device == "meta" else outcome
    raise NotImplementedError(
        f"gpucompat: what {op._schema.name} returns is not known before it is computed, so a CUDA graph cannot contain it "
        f"({outcome}); run it outside of torch.cuda.graph"
    )


def _device_of(op, args, kwargs):
    tensors = [item for item in _tensors([*args, *kwargs.values()]) if item.is_cuda]
    if tensors:
        return tensors[0].device
    named = [torch.device(value) for value in (*args, *kwargs.values()) if isinstance(value, (str, torch.device))]
    found = next((device for device in named if device.type == "cuda"), None)
    if found is None or found.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return found


def _promised(form, device):
    """Device memory for a result."""
    if isinstance(form, torch.Tensor):
        if form.layout is not torch.strided or form.is_nested:
            raise NotImplementedError("gpucompat: sparse and nested results inside a CUDA graph; compute them outside of it")
        form = form if _is_dense(form) else torch.empty(form.size(), dtype=form.dtype, device="meta")
        return torch.empty_strided(form.size(), form.stride(), dtype=form.dtype, device=device)
    if isinstance(form, (list, tuple)):
        return type(form)(_promised(item, device) for item in form)
    return form


def _keep_promise(promised, result):
    if isinstance(promised, torch.Tensor):
        if promised.size() != result.size() or promised.dtype != result.dtype:
            raise RuntimeError(
                f"gpucompat: an operator of a CUDA graph gave {tuple(result.size())} of {result.dtype}, and "
                f"{tuple(promised.size())} of {promised.dtype} when it was captured; capture it again with operands of this form"
            )
        copy_(promised, result)
    elif isinstance(promised, (list, tuple)):
        for item, part in zip(promised, result):
            _keep_promise(item, part)


def _record(recording, op, function, host_function, args, kwargs):
    """Notes a call for each replay; its results, which nothing has computed."""
    forms, known = _forms(op, host_function, args, kwargs)
    schema = op._schema
    names = [argument.name for argument in schema.arguments]
    given = {**dict(zip(names, args)), **kwargs}
    device = _device_of(op, args, kwargs)
    # An `out` takes the result's size when it is captured.
    for argument in schema.arguments:
        value = given.get(argument.name)
        if argument.kwarg_only and argument.alias_info is not None and isinstance(value, torch.Tensor):
            size = known[id(value)].size()
            if value.size() != size:
                value.resize_(size)
    written = [
        next((given[item.name] for item in schema.arguments
              if item.alias_info is not None and item.alias_info.before_set & result.alias_info.before_set), None)
        if result.alias_info is not None and result.alias_info.is_write else None
        for result in schema.returns
    ]
    several = len(schema.returns) > 1
    forms = list(forms) if several else [forms] if schema.returns else []
    results = [_promised(form, device) if given is None else given for form, given in zip(forms, written)]
    fresh = [None if given is not None else _frozen(result) for result, given in zip(results, written)]
    compute = _counted(op.name(), function)
    held_args, held_kwargs = _frozen(list(args)), {name: _frozen(value) for name, value in kwargs.items()}

    def step():
        outcome = compute(*held_args, **held_kwargs)
        for promised, result in zip(fresh, outcome if several else (outcome,)):
            if promised is not None:
                _keep_promise(promised, result)

    recording.steps.append(step)
    if not results:
        return None
    return tuple(results) if several else results[0]


def recordable(op, function, host_function=None):
    """`function`, which stands in for `op`, recorded instead of run while a graph is captured; `host_function` computes the
    same on host tensors. A replay calls `function`, or what `replayed_by` was told."""
    replays = [function]

    def run(*args, **kwargs):
        recording = _current_recording()
        if recording is not None:
            return _record(recording, op, replays[0], host_function, args, kwargs)
        return function(*args, **kwargs)

    def replayed_by(faster):
        replays[0] = faster
        return faster

    run.replayed_by = replayed_by
    return run


def recordable_copy(function):
    """`copy_`, recorded while a graph is captured; a copy that the host would have to wait for is refused, as PyTorch's is."""

    def copy(self, source, non_blocking=False):
        recording = _current_recording()
        if recording is None:
            return function(self, source, non_blocking)
        if self.is_cuda != source.is_cuda:
            host = source if self.is_cuda else self
            if not (non_blocking and host.is_pinned()) and not (self.is_cuda and source.dim() == 0):
                raise RuntimeError(
                    "gpucompat: a copy between host and device inside a CUDA graph needs page-locked memory and "
                    "non_blocking=True; copy outside of torch.cuda.graph"
                )
        by_value = not source.is_cuda and source.dim() == 0 and not source.is_pinned()
        target, origin = self.detach(), source.clone() if by_value else source.detach()
        recording.steps.append(lambda: function(target, origin, non_blocking))
        return self

    return copy


def _watch_graphs():
    """Begins and ends a recording with each capture of PyTorch's, and replays it with the graph."""
    graph = torch.cuda.CUDAGraph
    begin, end, replay, reset = graph.capture_begin, graph.capture_end, graph.replay, graph.reset

    def capture_begin(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        device = torch.cuda.current_device()
        number = _capture(device, _raw_stream(device))
        if number:
            with _recording_now:
                self._gpucompat = (number, _Recording())
                _recordings[number] = self._gpucompat[1]
                _recording(1)

    def capture_end(self):
        number, recording = getattr(self, "_gpucompat", (0, None))
        device = torch.cuda.current_device()
        nodes = _captured_nodes(device, _raw_stream(device)) if number else 0
        with _recording_now:
            _recordings.pop(number, None)
            if not _recordings:
                _recording(0)
        with warnings.catch_warnings():
            if recording is not None and recording.steps:
                # What it contains, PyTorch does not see.
                warnings.filterwarnings("ignore", message="The CUDA Graph is empty")
            end(self)
        if recording is not None and recording.steps and nodes:
            # Not reset: old versions of PyTorch abort when such a graph goes.
            self._gpucompat = (0, None)
            self._gpucompat_refused = (
                f"gpucompat: this CUDA graph has {nodes} nodes of native work beside operators that run on the host, whose "
                "order a replay could not keep; set GPU_COMPAT_PRODUCTS=cpu and GPU_COMPAT_CUDNN=cpu, leave out= forms of "
                "matrix products out of it, or run without CUDA graphs"
            )
            raise RuntimeError(self._gpucompat_refused)

    def replaying(self):
        refused = getattr(self, "_gpucompat_refused", None)
        if refused is not None:
            raise RuntimeError(refused)
        replay(self)
        _, recording = getattr(self, "_gpucompat", (0, None))
        if recording is not None:
            recording.replay()

    def resetting(self):
        self._gpucompat, self._gpucompat_refused = (0, None), None
        reset(self)

    graph.capture_begin, graph.capture_end, graph.replay, graph.reset = capture_begin, capture_end, replaying, resetting
