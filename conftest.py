"""What all tests and doctests need."""

import os

import pytest

# Before anything imports TensorFlow, which otherwise logs what the processor and the graphics card can do.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Pages and modules whose examples train for long; `make test-all` runs them.
SLOW_EXAMPLES = ("docs/training.md", "docs/tuning.md", "docs/your_own_cell.md")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks the slow ones among the examples, which cannot be marked where they are written."""
    for item in items:
        if item.nodeid.startswith(SLOW_EXAMPLES):
            item.add_marker(pytest.mark.slow)
