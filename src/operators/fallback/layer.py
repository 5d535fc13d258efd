"""The layer: what happens to each operator, and attaching it all through `torch.library`.

Every `aten` operator that has a CUDA kernel is native, written out (`EQUIVALENTS`), run on its CPU kernel
(`replacement`) or refused by name; found by introspection of the wheel, not by a list.
"""

# Launch no kernel themselves: allocation, views, metadata, one scalar to the host. And the products that are one
# library call, which the library layer serves; `products.py` takes them from here.
NATIVE = frozenset(
    """
    empty.memory_format empty_strided as_strided view _reshape_alias resize_ set_ set_.source_Storage
    set_.source_Storage_storage_offset set_.source_Tensor view_as_complex view_as_real unfold is_set_to
    _nested_view_from_buffer _efficientzerotensor _local_scalar_dense record_stream is_pinned _pin_memory alias lift
    mm.out bmm.out addmm_ baddbmm_
    """.split()
)


# The same for sparse and nested tensors.
NATIVE_STRUCTURE = frozenset(
    """
    _nnz _indices _values indices values crow_indices col_indices ccol_indices row_indices sparse_dim dense_dim _dimI _dimV
    is_coalesced _coalesced_ empty.memory_format _sparse_coo_tensor_with_dims _sparse_coo_tensor_with_dims_and_tensors
    _nested_tensor_size _nested_tensor_strides _nested_tensor_storage_offsets _nested_view_from_buffer alias detach
    """.split()
)

# Views of a nested tensor's buffer.
NATIVE_NESTED = frozenset(
    """
    unbind.int select.int transpose.int view squeeze squeeze.dim unsqueeze narrow chunk split_with_sizes
    _nested_get_values
    """.split()
)

# Replaced by functions of device tensors, made of the overload: copies, and products by whoever is faster.
DIRECT = {
    "copy_": lambda op: recordable_copy(copy_),
    "mm": lambda op: product(op, chosen_product),
    "bmm": lambda op: product(op, chosen_product),
    "addmm": lambda op: product(op, chosen_added_product),
    "baddbmm": lambda op: product(op, chosen_added_product),
}

# What cuDNN computes, or decides to: left to it where it is chosen. Its attention is not.
CUDNN = ("convolution", "convolution_backward", "cudnn_", "_cudnn_rnn", "_cudnn_ctc", "_cudnn_init", "_use_cudnn_ctc")


def leaves_to_cudnn():
    """Whether this version's operators can be left to cuDNN: old ones cannot be called beyond a replacement."""
    return hasattr(torch._ops.OpOverload, "redispatch")


def _is_cudnns(name):
    return name in CUDNN[:2] or name.startswith(CUDNN[2:])


# Composite operators that call native kernels below the dispatcher: replaced whole.
WHOLE = frozenset(["conj_physical_", "nanmean.out"])


# Why operators are refused, by what their names begin with, and what to do instead.
_REFUSALS = (
    ("miopen_", "is computed by AMD's library", "it is not reached on an NVIDIA device"),
    ("_triton_", "is computed by a Triton kernel", "use torch.nn.functional.scaled_dot_product_attention"),
    ("_fused_adam", "has a CUDA kernel only in this version", "make the optimizer with fused=False"),
    ("_cslt_", "takes weights packed for tensor cores", "keep the weights dense"),
    ("_sparse_semi_structured_", "takes weights packed for tensor cores", "keep the weights dense"),
    ("_to_sparse_semi_structured", "packs weights for tensor cores", "keep the weights dense"),
    ("_convert_weight_to_int4pack", "packs weights for tensor cores", "load the model in float16 or bfloat16"),
    ("_weight_int4pack_mm", "takes weights packed for tensor cores", "load the model in float16 or bfloat16"),
    ("_mixed_dtypes_linear", "takes weights packed for tensor cores", "load the model in float16 or bfloat16"),
    ("", "has a CUDA kernel only", "use another operator, or a PyTorch build whose kernels support this device"),
)


def refusal(name, namespace="aten"):
    """The function for an operator that no host kernel and no equivalent here can compute."""
    why, instead = next((why, instead) for start, why, instead in _REFUSALS if name.startswith(start))

    def refuse(*_args, **_kwargs):
        raise NotImplementedError(f"gpucompat: {namespace}::{name} {why}, and this device cannot run it; {instead}")

    return refuse


def _registrations(key, namespace="aten"):
    names = torch._C._dispatch_get_registrations_for_dispatch_key(key)
    return {name[len(namespace) + 2 :] for name in names if name.startswith(namespace + "::")}


def treatments(by_cudnn=False):
    """Every aten operator with a CUDA kernel, and those replaced beside them: native, equivalent, measured (by cuBLAS or
    by the CPU kernel), cpu or refused. `by_cudnn`: what cuDNN computes is native, convolutions where it can ("cudnn")."""
    on_host = _registrations("CPU") | _registrations("CompositeExplicitAutograd")
    on_host |= _registrations("CompositeImplicitAutograd") | _registrations("CompositeExplicitAutogradNonFunctional")
    table = {}
    for name in sorted(_registrations("CUDA") | set(EQUIVALENTS) | set(DIRECT) | WHOLE):
        if by_cudnn and _is_cudnns(name):
            table[name] = "cudnn" if name in CUDNN[:2] else "native"
        elif name in EQUIVALENTS or name == "copy_":
            table[name] = "equivalent"
        elif name in DIRECT:
            table[name] = "measured"
        elif name in NATIVE:
            table[name] = "native"
        else:
            table[name] = "cpu" if name in on_host else "refused"
    return table


def _overload(name, namespace="aten"):
    base, _, overload = name.partition(".")
    return getattr(getattr(getattr(torch.ops, namespace), base), overload or "default")


_libraries = {}

# Libraries of operators beside PyTorch whose CPU kernels mean the same as their CUDA kernels.
EXTENSIONS = ("torchvision", "torchaudio")


def attach_extensions():
    """Replaces the operators of the extensions that are loaded and were not yet replaced."""
    for namespace in EXTENSIONS:
        names, on_host = _registrations("CUDA", namespace), _registrations("CPU", namespace)
        if not names or namespace in _libraries:
            continue
        _libraries[namespace] = torch.library.Library(namespace, "IMPL")
        for name in sorted(names):
            known = name in on_host
            function = replacement(_overload(name, namespace)) if known else refusal(name, namespace)
            function = _heard(f"{namespace}::{name}", "cpu" if known else "refused", function)
            _libraries[namespace].impl(name, function, "CUDA")


def _watch_extensions():
    """Extensions register their operators when their library is loaded, which may be after us."""
    load = torch.ops.load_library

    def load_library(path):
        load(path)
        attach_extensions()

    torch.ops.load_library = load_library


# Dispatch keys of sparse and nested tensors, with the host's.
STRUCTURES = {"SparseCUDA": "SparseCPU", "SparseCsrCUDA": "SparseCsrCPU", "NestedTensorCUDA": "NestedTensorCPU"}


# Who is told of calls: the log of first ones, the report and the trace of each.
_listeners = {"told": False, "counted": False}


def _heard(name, treatment, function):
    """The function, whose calls are told and counted if anybody listens."""
    return _counted(name, _noted(name, treatment, function))


def _noted(name, treatment, function):
    """The function, which tells its first call."""
    if not _listeners["told"]:
        return function
    told = []

    def run(*args, **kwargs):
        if not told:
            told.append(_note(f"{name} treatment={treatment}"))
        return function(*args, **kwargs)

    return run


def _counted(name, function):
    """The function, each of whose calls is counted, those that fail too."""
    if not _listeners["counted"]:
        return function

    def run(*args, **kwargs):
        if _current_recording() is not None:
            return function(*args, **kwargs)  # nothing is computed now
        place = _begin()
        try:
            return function(*args, **kwargs)
        finally:
            _end(name, place)

    return run


def _by_backend(op, host):
    """A convolution, or its gradients, for PyTorch to compute as it chooses if it chooses cuDNN; else by `host`: the
    choice may fall on kernels below the dispatcher that are missing. Any other backend's key leads to PyTorch's code."""
    cudnn = (torch._C._ConvBackend.Cudnn, torch._C._ConvBackend.CudnnTranspose)
    beyond = torch._C.DispatchKeySet(torch._C.DispatchKey.PrivateUse1)
    backward = op is aten.convolution_backward.default

    def convolve(*arguments):
        if backward:
            _, input, weight, bias, *sizes = arguments[:10]
            backend = torch._C._select_conv_backend(input, weight, None, *sizes, bias)
        else:
            backend = torch._C._select_conv_backend(*arguments)
        return op.redispatch(beyond, *arguments) if backend in cudnn else host(*arguments)

    return convolve


def _function(name, treatment, op, key):
    if treatment == "refused":
        return refusal(name)
    if key != "CUDA":
        return copy_structure_ if name == "copy_" else replacement(op)
    host = DIRECT[name](op) if name in DIRECT else replacement(op, EQUIVALENTS.get(name))
    return recordable(op, _by_backend(op, host)) if treatment == "cudnn" else host


def _replace(library, key, table):
    """Puts the functions of a table of treatments under a dispatch key; how many there are."""
    count = 0
    for name, treatment in table.items():
        try:
            op = _overload(name)
        except AttributeError:  # an operator that this version does not have
            continue
        if treatment == "native":
            continue
        function = _function(name, treatment, op, key)
        library.impl(name, _heard(f"aten::{name}", treatment, function), key)
        count += 1
    return count


def _replace_whole(library):
    """Puts composite operators that the host computes in one call in the place of their compositions; how many there are."""
    count = 0
    for name in WHOLE_ON_HOST:
        op = _overload(name)
        if not hasattr(op, "_op_dk"):  # this version cannot call the composition beyond a replacement
            continue
        function = _heard(f"aten::{name}", "cpu", whole_on_host(op))
        for key in ("CUDA", "AutogradCUDA"):
            library.impl(name, function, key)
        count += 1
    return count


def structure_treatments(key):
    """What happens to each operator of sparse or nested tensors."""
    on_host = _registrations(STRUCTURES[key])
    native = NATIVE_STRUCTURE | NATIVE_NESTED if key == "NestedTensorCUDA" else NATIVE_STRUCTURE
    rank = lambda name: "native" if name in native else "cpu" if name in on_host else "refused"
    return {name: rank(name) for name in sorted(_registrations(key))}


def _keep_cudnn_off():
    """Where PyTorch's CPU kernels compute, PyTorch must not take cuDNN, whatever the program wishes: some operators ask it
    for a handle before any replacement is reached. What the program reads back is its wish."""
    wish = [torch._C._get_cudnn_enabled()]
    torch._C._set_cudnn_enabled(False)

    def get_enabled():
        return wish[0]

    def set_enabled(enabled):
        wish[0] = enabled

    torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled = get_enabled, set_enabled
    flag = type(torch.backends.cudnn).__dict__.get("enabled")
    if hasattr(flag, "getter") and hasattr(flag, "setter"):
        flag.getter, flag.setter = get_enabled, set_enabled


def _let_threads_finish():
    """Before the interpreter ends: a thread of autograd's may be waiting for Python's lock to drop what it holds, and
    Python ends such a thread in the middle of C++ that does not allow it, which aborts the process. While this sleeps
    the lock is free."""
    time.sleep(0.01)


def attach(told, counted, products, by_cudnn):
    """Replaces the operators; the number that were. `told`: the log gets the first call of each; `counted`: the report or
    the trace gets all; `products`: who multiplies matrices, auto, library or cpu; `by_cudnn`: whether cuDNN computes what
    it can."""
    _listeners.update(told=told, counted=counted)
    _wishes["products"] = products
    _tell_fast_path()
    by_cudnn = by_cudnn and leaves_to_cudnn()
    library = _libraries["aten"] = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        # PyTorch warns of replaced kernels; replacing them is what was asked for.
        warnings.simplefilter("ignore")
        count = _replace(library, "CUDA", treatments(by_cudnn))
        for key in STRUCTURES:
            count += _replace(library, key, structure_treatments(key))
        attach_extensions()
        if not by_cudnn:
            count += _replace_whole(library)
    if not by_cudnn:
        _keep_cudnn_off()
    # The fused attention kernels are missing as well; without them PyTorch takes operators that are replaced above.
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    if hasattr(torch.backends.cuda, "enable_cudnn_sdp"):
        torch.backends.cuda.enable_cudnn_sdp(False)
    atexit.register(_let_threads_finish)
    _watch_extensions()
    _watch_graphs()
    _keep_device_graphs_eager()
    return count


def kernels_cover(capability):
    """Whether the wheel carries kernels for a device: SASS of its major version, or PTX it can compile."""
    major, minor = capability // 10, capability % 10
    for arch in torch.cuda.get_arch_list():
        kind, _, number = arch.partition("_")
        number = int("".join(filter(str.isdigit, number)) or 0)
        if kind == "sm" and number // 10 == major and number % 10 <= minor:
            return True
        if kind == "compute" and number <= capability:
            return True
    return False
