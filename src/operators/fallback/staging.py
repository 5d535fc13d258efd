"""Tensors between device and host: copies with the same sizes and strides, and the way back; where the device's memory
lies on the host, a host tensor on that very memory, and no way back.

What lives here: the first of the files that `operators::attach` runs, in order, in one namespace: `staging`, `random`,
`survey`, `replacement`, `copy`, `equivalents`, `attention`, `recurrent`, `whole`, `compile`,
`products`, `layer`. Each may use what the ones before it define, and the functions of
`operators::functions`, by which alone device memory is touched. Host tensors have no CUDA key, so no CPU result is
ever routed back through a replacement.
"""

import atexit
import contextlib
import ctypes
import functools
import sys
import threading
import time
import warnings

import torch


try:
    torch.is_autocast_enabled("cpu")
    _host_autocasts = functools.partial(torch.is_autocast_enabled, "cpu")
except TypeError:  # before 2.4
    _host_autocasts = torch.is_autocast_cpu_enabled
_any_autocasts = getattr(torch._C, "_is_any_autocast_enabled", _host_autocasts)


def _check(code):
    if code == 900:
        raise RuntimeError(
            "gpucompat: this operator runs on the host, which a CUDA graph cannot contain; "
            "run it outside of torch.cuda.graph"
        )
    if code:
        raise RuntimeError(f"CUDA error: a copy between host and device failed with driver error {code}")


def copy_in(host, device, size, place):
    """Device memory of the device `place` to host memory; the bytes are there on return."""
    _check(_read(host, device, size, place.index, _stream(place)))


def copy_out(device, host, size, place):
    """Host memory to device memory; the host's bytes may be reused on return."""
    _check(_write(device, host, size, place.index, _stream(place)))


def copy_within(target, source, size, place):
    """Between any two addresses, in the order of the device's stream; returns at once."""
    _check(_move(target, source, size, place.index, _stream(place)))


_raw_stream = torch._C._cuda_getCurrentRawStream


def _stream(device):
    return _raw_stream(device.index)


def _span(tensor):
    """Elements from a tensor's first to its last in memory; 0 if it has none."""
    if tensor.is_contiguous():
        return tensor.numel()
    if tensor.numel() == 0:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.size(), tensor.stride()))


def _is_dense(tensor):
    """Whether every place between a tensor's first and last element belongs to exactly one element."""
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted((stride, size) for size, stride in zip(tensor.size(), tensor.stride()) if size != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def _flags(host, tensor):
    """Carries the lazy conjugation and negation of a tensor over to its host copy."""
    if tensor.is_conj():
        host = torch.ops.aten._conj(host)
    if tensor.is_neg():
        host = torch.ops.aten._neg_view(host)
    return host


def _host_room(tensor):
    """Uninitialised host memory laid out like a tensor."""
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")


def _mapped(tensor, move):
    """A sparse or nested tensor of the same structure, its parts moved by `move`; None for a plain tensor."""
    if tensor.is_nested:
        structure = (tensor._nested_tensor_size(), tensor._nested_tensor_strides(), tensor._nested_tensor_storage_offsets())
        return torch.ops.aten._nested_view_from_buffer.default(move(tensor.values()), *structure)
    if tensor.layout is torch.sparse_coo:
        indices, values = move(tensor._indices()), move(tensor._values())
        result = torch.sparse_coo_tensor(indices, values, tensor.size(), check_invariants=False)
        return result._coalesced_(tensor.is_coalesced())
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        parts = [move(part) for part in (tensor.crow_indices(), tensor.col_indices(), tensor.values())]
    elif tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        parts = [move(part) for part in (tensor.ccol_indices(), tensor.row_indices(), tensor.values())]
    elif tensor.is_quantized or tensor.layout is not torch.strided:
        what = "quantised" if tensor.is_quantized else tensor.layout
        raise NotImplementedError(
            f"gpucompat: {what} tensors on a device that cannot run PyTorch's kernels; keep them on the CPU"
        )
    else:
        return None
    return torch.sparse_compressed_tensor(*parts, tensor.size(), layout=tensor.layout, check_invariants=False)


def _parts(tensor):
    """The plain tensors that a sparse or nested tensor consists of; a nested one's size must not have changed."""
    if tensor.is_nested:
        return [tensor.values()]
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]


def _bytes_on_host(address, size, place):
    """The bytes of device memory as a host tensor, where they lie on the host; None elsewhere. What is queued has run."""
    if not size or not _on_host(address, size):
        return None
    _check(_await(place.index, _stream(place)))
    return torch.frombuffer((ctypes.c_char * size).from_address(address), dtype=torch.uint8)


def _own_memory(tensor, span):
    """A host tensor on a device tensor's own memory, or None. It must not outlive the device tensor."""
    found = _bytes_on_host(tensor.data_ptr(), span * tensor.element_size(), tensor.device)
    return None if found is None else found.view(tensor.dtype).as_strided(tensor.size(), tensor.stride())


def to_host(tensor, read=True, own=True):
    """A host tensor with the same sizes, strides and contents: on the device tensor's own memory where that lies on the
    host and `own` allows it, which a tensor that may be resized does not; else a copy. `read=False` leaves a dense copy's
    contents open."""
    mapped = _mapped(tensor, to_host)
    if mapped is not None:
        return mapped
    if tensor._is_zerotensor():
        return torch.zeros(tensor.size(), dtype=tensor.dtype, device="cpu")
    span = _span(tensor)
    host = _own_memory(tensor, span) if own else None
    if host is not None:
        return _flags(host, tensor) if tensor.is_conj() or tensor.is_neg() else host
    host = _host_room(tensor)
    if span and (read or not _is_dense(tensor)):
        copy_in(host.data_ptr(), tensor.data_ptr(), span * tensor.element_size(), tensor.device)
    return _flags(host, tensor) if tensor.is_conj() or tensor.is_neg() else host


def to_device(host, device):
    """A device tensor with a host tensor's sizes, strides and contents."""
    mapped = _mapped(host, lambda part: to_device(part, device))
    if mapped is not None:
        return mapped
    if host.is_conj() or host.is_neg():
        host = host.resolve_conj().resolve_neg()
    if not _is_dense(host):
        host = host.clone()
    span = host.numel()
    result = torch.empty_strided(host.size(), host.stride(), dtype=host.dtype, device=device)
    if span:
        copy_out(result.data_ptr(), host.data_ptr(), span * host.element_size(), device)
    return result


def write_back(tensor, host):
    """Puts a mutated host copy back, resizing the original as the operator resized the copy."""
    if tensor.layout is not torch.strided or tensor.is_nested:
        parts, host_parts = _parts(tensor), _parts(host)
        if tensor.layout == host.layout and all(part.size() == other.size() for part, other in zip(parts, host_parts)):
            # The same structure: what shares the parts sees the writes.
            for part, other in zip(parts, host_parts):
                write_back(part, other)
            if tensor.layout is torch.sparse_coo and tensor.is_coalesced() != host.is_coalesced():
                tensor._coalesced_(host.is_coalesced())
        else:
            tensor.data = to_device(host, tensor.device)
        return
    # What is stored are the bytes behind the lazy flags, which the original keeps.
    if host.is_conj() != tensor.is_conj():
        host = host.resolve_conj() if host.is_conj() else host.conj_physical()
    elif host.is_conj():
        host = torch.ops.aten._conj(host)
    if host.is_neg() != tensor.is_neg():
        host = host.resolve_neg() if host.is_neg() else host.neg()
    elif host.is_neg():
        host = torch.ops.aten._neg_view(host)
    if host.size() != tensor.size() or host.stride() != tensor.stride():
        tensor.resize_(host.size())
        if host.stride() != tensor.stride():
            needed = (tensor.storage_offset() + _span(host)) * host.element_size()
            if tensor.untyped_storage().nbytes() < needed:
                tensor.untyped_storage().resize_(needed)
            tensor.as_strided_(host.size(), host.stride(), tensor.storage_offset())
    span = _span(host)
    if span and host.data_ptr() != tensor.data_ptr():
        copy_out(tensor.data_ptr(), host.data_ptr(), span * host.element_size(), tensor.device)
