"""What the tests of faults share."""

import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def quick_folder(tmp_path):
    """A folder in memory where the system has one: thousands of files, and fsync at no cost"""
    try:
        folder = tempfile.TemporaryDirectory(dir="/dev/shm", prefix="fastbp-")
    except OSError:
        yield tmp_path
        return
    with folder:
        yield Path(folder.name)
