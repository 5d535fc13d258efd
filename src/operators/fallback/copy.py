"""`copy_`: equal layouts are one copy of bytes, asynchronous where PyTorch's own is; all else goes by the host."""


def copy_(self, source, non_blocking=False):
    """`self.copy_(source)`: equal layouts are one copy of bytes; all else is converted on the host."""
    plain = (
        self.dtype == source.dtype
        and self.size() == source.size()
        and self.stride() == source.stride()
        and self.is_conj() == source.is_conj()
        and self.is_neg() == source.is_neg()
    )
    if plain and not source._is_zerotensor() and _is_dense(self):
        _refuse_partial_overlap(self, source)
        _copy_bytes(self, source, self.numel() * self.element_size(), non_blocking)
        return self
    host = to_host(source) if source.is_cuda else source
    if not self.is_cuda:
        self.copy_(host)
        return self
    target = to_host(self, read=False)
    target.copy_(host)
    write_back(self, target)
    return self


def copy_structure_(self, source, non_blocking=False):
    """`self.copy_(source)` of sparse and nested tensors, to or from a device."""
    host = to_host(source) if source.is_cuda else source
    if not self.is_cuda:
        return self.copy_(host)
    target = to_host(self)
    target.copy_(host)
    write_back(self, target)
    return self


def _refuse_partial_overlap(target, source):
    """PyTorch's own error for a copy onto a part of its source: which elements would be read first is open."""
    distance = abs(target.data_ptr() - source.data_ptr())
    if target.device == source.device and 0 < distance < target.numel() * target.element_size():
        raise RuntimeError(
            "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single "
            "memory location. Please clone() the tensor before performing the operation."
        )


# Page-locked tensors of copies that may still run, with the event after each: kept until it has passed.
_in_flight = []
_flying = threading.Lock()


def _copy_bytes(target, source, size, non_blocking):
    if size == 0:
        return
    if target.is_cuda and source.is_cuda:
        if target.device != source.device:
            # In the order of both devices' streams, as PyTorch's own peer copies are.
            torch.cuda.current_stream(source.device).synchronize()
        copy_within(target.data_ptr(), source.data_ptr(), size, target.device)
        if target.device != source.device:
            torch.cuda.current_stream(target.device).synchronize()
        return
    device = target.device if target.is_cuda else source.device
    host = source if target.is_cuda else target
    if non_blocking and host.is_pinned():
        copy_within(target.data_ptr(), source.data_ptr(), size, device)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(device))
        with _flying:
            _in_flight[:] = [row for row in _in_flight if not row[0].query()]
            _in_flight.append((event, host))
    elif target.is_cuda:
        copy_out(target.data_ptr(), source.data_ptr(), size, device)
    else:
        copy_in(target.data_ptr(), source.data_ptr(), size, device)
