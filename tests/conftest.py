"""Settings of the whole suite; shared helpers are in helpers.py, published.py and reference.py."""

import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from fastbp.engine import sums, threads
from fastbp.files import container
from fastbp.training import checkpoint

try:
    import hypothesis
except ImportError:  # the file that needs it skips itself
    pass
else:
    hypothesis.settings.register_profile("fastbp", deadline=None, max_examples=60, derandomize=True, database=None)
    hypothesis.settings.load_profile("fastbp")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:   # a shell's background job; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

if threading.gettrace():    # coverage.py follows only threads started by `threading`, which crews are not
    _start = threads.start_new_thread

    def _traced(function, *arguments):
        sys.settrace(threading.gettrace())
        function(*arguments)

    threads.start_new_thread = lambda function, arguments: _start(_traced, (function, *arguments))

if "asan" in os.environ.get("LD_PRELOAD", ""):      # no room after the end of a buffer, so that overruns are detected
    sums.aligned = np.empty


def pytest_collection_finish():
    """Keep twenty thousand collected tests out of every garbage collection, which would take half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def quick_folder(tmp_path):
    """A folder in memory, if the system has one, for thousands of files and free fsync"""
    try:
        folder = tempfile.TemporaryDirectory(dir="/dev/shm", prefix="fastbp-")
    except OSError:
        yield tmp_path
        return
    with folder:
        yield Path(folder.name)


@pytest.fixture
def every_file(monkeypatch, tmp_path):
    """Copies of all checkpoints written, in their order"""
    copies, write = [], container.write

    def keep(path, arrays, meta):
        write(path, arrays, meta)
        copies.append(shutil.copy(path, tmp_path / f"{len(copies)}.fastbp"))

    monkeypatch.setattr(container, "write", keep)
    return copies


@pytest.fixture
def each_state_is_copied(monkeypatch):
    """A checkpoint copies the state whenever it looks whether to"""
    monkeypatch.setattr(checkpoint, "LEAST", 0.0)
    monkeypatch.setattr(checkpoint, "TIMES", 0.0)


@pytest.fixture
def at_once(monkeypatch):
    """States of many networks are copied after every piece, and written with the next look"""
    monkeypatch.setattr("fastbp.many.under_way.UnderWay.due", True)
    monkeypatch.setattr("fastbp.many.keeper.Checkpoint.is_long", lambda self, operations: True)
