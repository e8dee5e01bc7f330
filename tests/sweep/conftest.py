"""Fixtures of the sweep tests."""

from pathlib import Path

import pytest


@pytest.fixture
def logs(tmp_path: Path) -> str:
    """Return the override that writes sweeps into the test's own folder."""
    return f"paths.logs={tmp_path}"
