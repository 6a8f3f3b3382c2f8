"""Where files are saved: odd places, permissions, links, and many that write and read at once."""

import errno
import os
import signal
import stat
import threading
import time

import pytest
from children import run
from test_interrupted_saves import descriptors, temporaries, version, whole

import fastbp
from fastbp.files import container


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
