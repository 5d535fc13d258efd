"""Random numbers: host generators at the state of the device's, so that seeds and restored states repeat."""


def host_generator(generator, device):
    """A host generator at the state of a CUDA one, which moves on: seeds repeat, and so do restored states."""
    if generator is None:
        index = device.index if device.index is not None else torch.cuda.current_device()
        generator = torch.cuda.default_generators[index]
    offset = generator.get_offset()
    generator.set_offset(offset + 4)
    host = torch.Generator("cpu")
    host.manual_seed((generator.initial_seed() * 0x9E3779B97F4A7C15 + offset) & 0x7FFF_FFFF_FFFF_FFFF)
    return host


_default_generator = threading.RLock()


@contextlib.contextmanager
def _seeded(generator):
    """Lends the host's default generator, for operators that take none, another's state; put back after."""
    with _default_generator:
        state = torch.default_generator.get_state()
        torch.default_generator.set_state(generator.get_state())
        try:
            yield
        finally:
            torch.default_generator.set_state(state)
