"""Saving that is killed, cut short, refused by the system or done by many at once leaves a complete old or new file."""

import errno
import os
import random
import signal
import stat
import subprocess

import numpy as np
import pytest
from children import Moments, run

import fastbp
from fastbp.files import atomic, container

CALLS = ["open", "write", "fsync", "fchmod", "replace", "close", "stat", "readlink", "urandom"]
FATAL = [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES]


def version(i, n=4000):
    """A network of n parameters, all equal to i; its file also has n start values"""
    net = fastbp.Network([n // 2 - 1, 2], dtype=np.float64, init=np.zeros(n))
    net.theta[:] = i
    return net


def whole(path):
    """The number of the version in the file, which must be the same everywhere"""
    theta = fastbp.load(path).theta
    assert theta.min() == theta.max()
    return int(theta[0])


def temporaries(folder):
    return [name for name in os.listdir(folder) if name.startswith(".fastbp-")]


def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


# ---------------------------------------------------------------- killed


def save_for_ever(path, pipe):
    """Save version after version, and report each finished one"""
    for i in range(1, 10**6):
        fastbp.save(path, version(i, 70_000))
        os.write(pipe, i.to_bytes(4, "little"))


def saving(path):
    """Fork a process that runs the function; returns its number and the pipe for its reports"""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            save_for_ever(path, writer)
        finally:
            os._exit(1)
    os.close(writer)
    return child, reader


def kill_while_saving(path, times):
    """SIGKILL at random moments of saving, many times; returns the number of kills in the middle of a save"""
    moments, caught, fastest = Moments(random.Random(0)), 0, None
    fastbp.save(path, version(0, 70_000))
    for _ in range(times):
        child, reader = saving(path)
        told = moments.wait(reader, 4)
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        with os.fdopen(reader, "rb") as pipe:
            told += pipe.read()
        finished = int.from_bytes(told[-4:], "little")
        found = whole(path)
        assert found in (finished, finished + 1) or (finished == 0 and found == fastest), "a finished version is lost"
        fastest = found
        left = temporaries(path.parent)
        assert len(left) <= 1
        for name in left:       # what a killed process may leave behind
            caught += 1
            (path.parent / name).unlink()
    return caught


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fault_46_the_newest_finished_file_loads_after_any_kill(quick_folder):
    assert kill_while_saving(quick_folder / "net", 200) > 20


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fault_46_the_newest_finished_file_loads_after_any_of_20000_kills(quick_folder, tmp_path):
    assert kill_while_saving(quick_folder / "net", 19000) > 1900
    assert kill_while_saving(tmp_path / "net", 1000) > 10


# ---------------------------------------------------------------- refused by the system


class Failing:
    """Count the system calls of a save; call number `at` fails with `error` before it does anything"""

    def __init__(self, monkeypatch, at=None, error=errno.EIO):
        self.count, self.at, self.error, self.failed = 0, at, error, None
        for name in CALLS:
            monkeypatch.setattr(atomic.os, name, self.counted(name, getattr(os, name)))

    def counted(self, name, call):
        def counting(*args, **kwargs):
            self.count += 1
            if self.count - 1 == self.at:
                self.failed = name
                if name == "close":     # the descriptor is closed even so
                    call(*args, **kwargs)
                raise OSError(self.error, os.strerror(self.error))
            return call(*args, **kwargs)

        return counting


def test_a_file_under_way_in_the_place_of_a_private_one_is_private(quick_folder):
    (quick_folder / "net").write_bytes(b"old")

    def chunks():
        temporary, = temporaries(quick_folder)
        seen.append(stat.S_IMODE((quick_folder / temporary).stat().st_mode))
        yield b"new"

    seen = []
    atomic.replace(quick_folder / "net", chunks())
    assert seen == [0o600]


@pytest.mark.parametrize("error", FATAL)
@pytest.mark.parametrize("old", [True, False], ids=["over an old file", "a new file"])
def test_fault_47_each_system_call_may_fail_and_the_old_file_is_whole(old, error, quick_folder, monkeypatch):
    path, before, failures = quick_folder / "net", descriptors(), {}
    with monkeypatch.context() as patch:
        calls = Failing(patch)
        fastbp.save(path, version(0))
    for at in range(calls.count + 4):
        path.unlink(missing_ok=True)
        if old:
            fastbp.save(path, version(1))
            path.chmod(0o640)
        with monkeypatch.context() as patch:
            calls, told = Failing(patch, at, error), (None, None)
            try:
                fastbp.save(path, version(2))
            except OSError as raised:
                told = raised.errno, raised.filename
        assert told[0] == (error if calls.failed else None)
        assert at < 2 or told[1] in (os.fspath(path), None)     # before: the folder; None: of closing it
        failures.setdefault(calls.failed, []).append(whole(path) if path.exists() else None)
        assert temporaries(quick_folder) == []
        assert descriptors() == before
    for name in ("open", "write", "replace"):
        assert set(failures[name]) == ({1} if old else {None}), name
    assert failures["fsync"] == [1 if old else None, 2]         # of the file; of the folder, after the rename
    assert {"close", "urandom", "stat"} <= failures.keys()
    assert 2 in failures[None]


def test_fault_47_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    sync = os.fsync

    def refusing(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(file)

    monkeypatch.setattr(atomic.os, "fsync", refusing)
    fastbp.save(tmp_path / "net", version(3))
    assert whole(tmp_path / "net") == 3


def test_fault_47_short_writes_and_interrupted_ones_are_continued(tmp_path, monkeypatch):
    write, dice, calls = os.write, random.Random(0), []

    def sparing(file, data):
        calls.append(len(data))
        if dice.random() < 0.3:
            raise InterruptedError(errno.EINTR, "Interrupted system call")
        return write(file, data[: dice.randrange(1, 4000)])

    monkeypatch.setattr(atomic.os, "write", sparing)
    fastbp.save(tmp_path / "net", version(3, 20_000))
    assert whole(tmp_path / "net") == 3
    assert len(calls) > 80


class Reading:
    """A file whose reads return at most `most` bytes, and whose read number `at` fails"""

    def __init__(self, file, most, at=None):
        self.file, self.most, self.at, self.count = file, most, at, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def readinto(self, buffer):
        self.count += 1
        if self.count == self.at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self.file.readinto(buffer[: self.most])

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_fault_47_short_reads_are_continued_and_each_that_fails_is_an_oserror(tmp_path, monkeypatch):
    fastbp.save(tmp_path / "net", version(3))
    before, made = descriptors(), []

    def reads(most, at=None):
        def opened(*args, **kwargs):
            made.append(Reading(open(*args, **kwargs), most, at))     # noqa: SIM115
            return made[-1]

        monkeypatch.setattr(container, "open", opened, raising=False)

    reads(777)
    assert whole(tmp_path / "net") == 3
    count = made[-1].count
    assert count > 80
    for at in range(1, count + 1):
        reads(777, at)
        with pytest.raises(OSError, match="Input/output error") as raised:
            fastbp.load(tmp_path / "net")
        assert raised.value.errno == errno.EIO
        assert descriptors() == before


def test_fault_47_a_write_that_writes_nothing_is_an_error_and_no_endless_loop(tmp_path, monkeypatch):
    fastbp.save(tmp_path / "net", version(1))
    monkeypatch.setattr(atomic.os, "write", lambda file, data: 0)
    with pytest.raises(OSError, match="Nothing was written"):
        fastbp.save(tmp_path / "net", version(2))
    assert whole(tmp_path / "net") == 1
    assert temporaries(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_fault_46_an_exception_of_any_kind_leaves_the_old_file(name, error, tmp_path, monkeypatch):
    fastbp.save(tmp_path / "net", version(1))

    def raising(*args, **kwargs):
        raise error

    monkeypatch.setattr(atomic.os, name, raising)
    before = descriptors()
    with pytest.raises(error):
        fastbp.save(tmp_path / "net", version(2))
    monkeypatch.undo()
    assert whole(tmp_path / "net") == 1
    assert temporaries(tmp_path) == []
    assert descriptors() == before


def test_fault_47_a_limit_on_the_size_of_files_leaves_the_old_file(tmp_path):
    """The kernel itself cuts the write short, then refuses the rest"""
    code = """
import errno, resource, sys, fastbp, os
path = sys.argv[1]
fastbp.save(path, fastbp.Network([100, 10], seed=0))
before = open(path, "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    fastbp.save(path, fastbp.Network([1000, 1000], seed=0))
except OSError as error:
    assert error.errno == errno.EFBIG and error.filename == path, error
assert open(path, "rb").read() == before
assert os.listdir(os.path.dirname(path)) == ["net"]
print("whole")
"""
    assert run(code, tmp_path / "net") == "whole"


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 256 KiB"""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "fastbp-test", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_fault_47_a_disk_that_is_full_leaves_the_old_file(full_disk):
    fastbp.save(full_disk / "net", version(1, 6_000))      # 96 KB
    for _ in range(3):
        with pytest.raises(OSError) as raised:
            fastbp.save(full_disk / "net", version(2, 20_000))
        assert raised.value.errno == errno.ENOSPC
        assert raised.value.filename == os.fspath(full_disk / "net")
        assert os.listdir(full_disk) == ["net"]
        assert whole(full_disk / "net") == 1
    fastbp.save(full_disk / "net", version(3, 6_000))      # the space is free again
    assert whole(full_disk / "net") == 3
