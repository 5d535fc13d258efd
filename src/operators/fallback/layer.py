"""The layer: what happens to each operator, and attaching it all through `torch.library`.

Every `aten` operator that has a CUDA kernel is native, written out (`EQUIVALENTS`), run on its CPU kernel
(`replacement`) or refused by name; found by introspection of the wheel, not by a list.
"""

# Launch no kernel themselves: allocation, views, metadata, one scalar to the host. And the products that are one
# library call, which the library layer serves.
NATIVE = frozenset(
    """
    empty.memory_format empty_strided as_strided view _reshape_alias resize_ set_ set_.source_Storage
    set_.source_Storage_storage_offset set_.source_Tensor view_as_complex view_as_real unfold is_set_to
    _nested_view_from_buffer _efficientzerotensor _local_scalar_dense record_stream is_pinned _pin_memory alias lift
    mm mm.out bmm bmm.out
    """.split()
)


# Composite operators that call native kernels below the dispatcher: replaced whole.
WHOLE = frozenset(["conj_physical_", "nanmean.out"])


def refusal(name):
    """The function for an operator that no host kernel and no equivalent here can compute."""

    def refuse(*_args, **_kwargs):
        raise NotImplementedError(
            f"gpucompat: aten::{name} has a CUDA kernel only, and this device cannot run it; "
            "use another operator, or a PyTorch build whose kernels support this device"
        )

    return refuse


def _registrations(key, namespace="aten"):
    names = torch._C._dispatch_get_registrations_for_dispatch_key(key)
    return {name[len(namespace) + 2 :] for name in names if name.startswith(namespace + "::")}


def treatments():
    """Every aten operator with a CUDA kernel, and those replaced beside them: native, equivalent, cpu or refused."""
    on_host = _registrations("CPU") | _registrations("CompositeExplicitAutograd")
    on_host |= _registrations("CompositeImplicitAutograd") | _registrations("CompositeExplicitAutogradNonFunctional")
    table = {}
    for name in sorted(_registrations("CUDA") | set(EQUIVALENTS) | WHOLE):
        if name in EQUIVALENTS:
            table[name] = "equivalent"
        elif name in NATIVE:
            table[name] = "native"
        else:
            table[name] = "cpu" if name in on_host else "refused"
    return table


def _overload(name, namespace="aten"):
    base, _, overload = name.partition(".")
    return getattr(getattr(getattr(torch.ops, namespace), base), overload or "default")


_libraries = {}

# Libraries of operators beside PyTorch whose every CUDA operator has a CPU kernel of the same meaning.
EXTENSIONS = ("torchvision", "torchaudio")


def attach_extensions():
    """Replaces the operators of the extensions that are loaded and were not yet replaced."""
    for namespace in EXTENSIONS:
        names = _registrations("CUDA", namespace) & _registrations("CPU", namespace)
        if not names or namespace in _libraries:
            continue
        _libraries[namespace] = torch.library.Library(namespace, "IMPL")
        for name in sorted(names):
            _libraries[namespace].impl(name, replacement(_overload(name, namespace)), "CUDA")


def _watch_extensions():
    """Extensions register their operators when their library is loaded, which may be after us."""
    load = torch.ops.load_library

    def load_library(path):
        load(path)
        attach_extensions()

    torch.ops.load_library = load_library


def _noted(name, treatment, function):
    """The function, which tells its first call."""
    told = []

    def run(*args, **kwargs):
        if not told:
            told.append(_note(f"aten::{name} treatment={treatment}"))
        return function(*args, **kwargs)

    return run


def attach(told):
    """Replaces the operators; the number that were. `told`: the log gets the first call of each."""
    library = _libraries["aten"] = torch.library.Library("aten", "IMPL")
    count = 0
    for name, treatment in treatments().items():
        if treatment == "native":
            continue
        if treatment == "equivalent":
            function = EQUIVALENTS[name]
        elif treatment == "cpu":
            function = replacement(_overload(name))
        else:
            function = refusal(name)
        if told:
            function = _noted(name, treatment, function)
        try:
            library.impl(name, function, "CUDA")
            count += 1
        except RuntimeError:
            if name not in EQUIVALENTS:  # an operator that this version does not have
                raise
    # cuDNN's kernels and the fused attention kernels are missing as well; without them PyTorch takes operators
    # that are replaced above.
    torch._C._set_cudnn_enabled(False)
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    if hasattr(torch.backends.cuda, "enable_cudnn_sdp"):
        torch.backends.cuda.enable_cudnn_sdp(False)
    attach_extensions()
    _watch_extensions()
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
