"""Saving that is killed, cut short, refused by the system or done by many at once leaves a complete old or new file."""

import errno
import os
import random
import signal
import stat
import subprocess
import threading
import time

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


# ---------------------------------------------------------------- places


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null", "/dev/zero"])
def test_fault_47_devices_are_no_files_and_stay(device):
    if not os.path.exists(device):
        pytest.skip(f"no {device} here")
    before = os.stat(device)
    with pytest.raises(OSError, match="Not a regular file"):
        fastbp.save(device, version(1))
    with pytest.raises(OSError, match="Not a regular file"):
        fastbp.load(device)
    assert (os.stat(device).st_mode, os.stat(device).st_ino) == (before.st_mode, before.st_ino)
    assert temporaries("/dev") == []


def test_fault_47_places_where_no_file_can_be_are_oserrors(tmp_path):
    net = version(1)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for path, error in (
        (tmp_path / "folder", IsADirectoryError), (tmp_path, IsADirectoryError), (tmp_path / "fifo", OSError),
        (tmp_path / "no" / "net", FileNotFoundError), (tmp_path / "file" / "net", NotADirectoryError),
        (tmp_path / ("n" * 256), OSError), ("", OSError), (str(tmp_path / "folder") + "/", OSError),
        ("/proc/net", OSError),
    ):
        for call in (lambda path=path: fastbp.save(path, net), lambda path=path: fastbp.load(path)):
            started = time.monotonic()
            with pytest.raises(error):
                call()
            assert time.monotonic() - started < 5       # it does not wait for a FIFO
    assert sorted(os.listdir(tmp_path)) == ["fifo", "file", "folder"]
    assert os.listdir(tmp_path / "folder") == []


def test_fault_47_a_folder_without_write_permission_is_an_oserror(tmp_path):
    code = """
import os, sys, fastbp
path, folder = sys.argv[1], os.path.dirname(sys.argv[1])
net = fastbp.Network([2, 1], seed=0)
fastbp.save(path, net)
os.chmod(folder, 0o555)
if os.getuid() == 0:
    os.chown(folder, 65534, 65534)
    os.setgid(65534), os.setuid(65534)
try:
    fastbp.save(path, net)
except PermissionError as error:
    assert error.filename == path, error
    print(os.listdir(folder), (fastbp.load(path).theta == net.theta).all())
"""
    folder = tmp_path / "folder"
    folder.mkdir()
    for place in [folder, *folder.parents]:
        if not os.stat(place).st_mode & stat.S_IXOTH and os.getuid() == 0:
            if str(place).startswith(str(tmp_path.parent.parent)):
                place.chmod(0o755)
            else:
                pytest.skip("another user cannot reach the folder of this test")
    try:
        assert run(code, folder / "net") == "['net'] True"
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_fault_46_the_mode_of_a_new_file_is_of_the_umask_and_that_of_an_old_one_is_kept(mask, tmp_path):
    path, before = tmp_path / "net", os.umask(mask)
    try:
        fastbp.save(path, version(1))
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
        for mode in (0o600, 0o644, 0o664, 0o640, 0o444, 0o755, 0o400):
            path.chmod(mode)
            fastbp.save(path, version(2))
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")
def test_fault_46_the_owner_of_an_old_file_is_kept(tmp_path):
    path = tmp_path / "net"
    fastbp.save(path, version(1))
    os.chown(path, 65534, 65533)
    fastbp.save(path, version(2))
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65533)


def test_fault_46_the_file_behind_a_symbolic_link_is_replaced_and_the_link_stays(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    real = tmp_path / "there" / "real"
    (tmp_path / "link").symlink_to("there/real")
    (tmp_path / "second").symlink_to(tmp_path / "link")
    for i, link in enumerate(["link", "second"]):       # the first makes the file
        fastbp.save(tmp_path / link, version(i))
        assert (tmp_path / link).is_symlink()
        assert not real.is_symlink()
        assert whole(real) == whole(tmp_path / link) == i
    monkeypatch.chdir(tmp_path / "there")
    fastbp.save(b"../link", version(5))
    assert whole(real) == 5
    assert temporaries(tmp_path) == temporaries(tmp_path / "there") == []
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError) as raised:
        fastbp.save(tmp_path / "round", version(1))
    assert raised.value.errno == errno.ELOOP
    assert (tmp_path / "round").is_symlink()


def test_a_hard_link_keeps_the_old_file(tmp_path):
    fastbp.save(tmp_path / "a", version(1))
    os.link(tmp_path / "a", tmp_path / "b")
    fastbp.save(tmp_path / "a", version(2))
    assert (whole(tmp_path / "a"), whole(tmp_path / "b")) == (2, 1)


# ---------------------------------------------------------------- many at once


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fault_48_a_reader_sees_one_whole_version_while_a_writer_replaces_a_thousand(quick_folder):
    path, enough = quick_folder / "net", quick_folder / "enough"
    fastbp.save(path, version(0))
    writer = os.fork()
    if writer == 0:
        code, i = 1, 0
        try:
            while i < 1000 or not enough.exists():
                i += 1
                fastbp.save(path, version(i))
            code = 0
        finally:
            os._exit(code)
    seen, versions, ended = [0], {0}, (0, 0)
    while ended == (0, 0):
        seen.append(whole(path))
        versions.add(seen[-1])
        if len(versions) > 20 and not enough.exists():
            enough.touch()
        ended = os.waitpid(writer, os.WNOHANG)
    assert ended == (writer, 0)
    assert whole(path) >= 1000
    assert seen == sorted(seen)
    assert len(versions) > 20


def test_fault_48_many_writers_at_once_leave_one_whole_version_of_the_last(quick_folder):
    path, failed = quick_folder / "net", []
    fastbp.save(path, version(0))

    def save(first):
        try:
            for i in range(first, first + 60):
                fastbp.save(path, version(i))
                whole(path)
        except BaseException as error:
            failed.append(error)
            raise

    writers = [threading.Thread(target=save, args=(first,)) for first in (1000, 2000, 3000, 4000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failed
    assert whole(path) in (1059, 2059, 3059, 4059)
    assert os.listdir(quick_folder) == ["net"]


def test_a_file_that_shrinks_or_grows_while_it_is_read_is_refused_or_whole(tmp_path, monkeypatch):
    path = tmp_path / "net"
    fastbp.save(path, version(1))
    data, parse = path.read_bytes(), container.parse

    def shrinking(file, size, fixed):
        os.truncate(path, size - 100)
        return parse(file, size, fixed)

    monkeypatch.setattr(container, "parse", shrinking)
    with pytest.raises(fastbp.FormatError, match="the file was cut while it was read: 68 bytes are missing"):
        fastbp.load(path)

    def growing(file, size, fixed):
        with open(path, "ab") as end:
            end.write(b"more")
        return parse(file, size, fixed)

    path.write_bytes(data)
    monkeypatch.setattr(container, "parse", growing)
    assert whole(path) == 1


def test_fault_10_signals_a_thousand_times_a_second_change_nothing(quick_folder):
    """A Python handler runs between the system calls, which are interrupted and continue"""
    path, ticks = quick_folder / "net", []
    old = signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    try:
        for i in range(40):
            fastbp.save(path, version(i, 100_000))
            assert whole(path) == i
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(ticks) > 10
    assert os.listdir(quick_folder) == ["net"]


def test_no_descriptor_and_no_memory_is_kept(quick_folder):
    path, before = quick_folder / "net", descriptors()
    for _ in range(50):
        fastbp.save(path, version(1))
        whole(path)
        path.write_bytes(b"no")
        with pytest.raises(fastbp.FormatError):
            fastbp.load(path)
    assert descriptors() == before


