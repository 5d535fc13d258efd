"""What every test of the tools gets: the simulated GPU of the end-to-end tests."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

from lab import run  # noqa: E402


@pytest.fixture
def on_simgpu():
    """The function that runs a script."""
    return run
