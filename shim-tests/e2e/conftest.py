"""What every end-to-end test gets."""

import pytest

from lab import run


@pytest.fixture
def on_simgpu():
    """The function that runs a script."""
    return run
