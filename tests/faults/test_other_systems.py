"""Code for Windows and macOS in place of POSIX, as far as Linux can run it: files replaced by name, disk flushes, names
of libraries with their separators."""

import errno
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_interrupted_saves import FATAL, Failing, descriptors, kill_while_saving, temporaries, version, whole

import fastbp
from fastbp.engine import blas
from fastbp.files import atomic, container, folder


@pytest.fixture
def by_name(monkeypatch):
    """A system that cannot open folders"""
    monkeypatch.setattr(folder, "BY_DESCRIPTOR", False)
    assert isinstance(folder.folder(""), folder.NamedFolder)


@pytest.mark.usefixtures("by_name")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_by_name_too_the_newest_finished_file_loads_after_any_kill(quick_folder):
    assert kill_while_saving(quick_folder / "net", 60) > 3


@pytest.mark.usefixtures("by_name")
@pytest.mark.parametrize("error", FATAL)
@pytest.mark.parametrize("old", [True, False], ids=["over an old file", "a new file"])
def test_by_name_too_each_system_call_may_fail_and_the_old_file_is_whole(old, error, quick_folder, monkeypatch):
    path, before, failures = quick_folder / "net", descriptors(), {}
    with monkeypatch.context() as patch:
        calls = Failing(patch)
        patch.setattr(folder, "_move", calls.counted("replace", os.replace))
        fastbp.save(path, version(0))
    for at in range(calls.count + 2):
        path.unlink(missing_ok=True)
        if old:
            fastbp.save(path, version(1))
        with monkeypatch.context() as patch:
            calls, told = Failing(patch, at, error), None
            patch.setattr(folder, "_move", calls.counted("replace", os.replace))
            try:
                fastbp.save(path, version(2))
            except OSError as raised:
                told = raised.errno
        assert told == (error if calls.failed else None)
        failures.setdefault(calls.failed, []).append(whole(path) if path.exists() else None)
        assert temporaries(quick_folder) == []
        assert descriptors() == before
    for name in ("open", "write", "replace", "fsync", "close"):
        assert set(failures[name]) == ({1} if old else {None}), name
    assert set(failures[None]) == {2}


@pytest.mark.usefixtures("by_name")
def test_by_name_too_links_folders_and_names_in_bytes_are_what_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("place")
    fastbp.save("place/net", version(1))
    os.symlink("place/net", "link")
    for name in ("link", b"link", tmp_path / "link"):
        fastbp.save(name, version(2))
        assert whole("place/net") == 2
        assert os.path.islink("link")
        fastbp.save("place/net", version(1))
    for name, error in (("place", IsADirectoryError), ("no/net", FileNotFoundError), ("", FileNotFoundError),
                        ("place/net/net", NotADirectoryError)):
        with pytest.raises(error) as raised:
            fastbp.save(name, version(3))
        assert raised.value.filename in (name, None)
    assert sorted(os.listdir()) == ["link", "place"]
    assert os.listdir("place") == ["net"]


@pytest.mark.usefixtures("by_name")
@pytest.mark.parametrize("code", [5, 32])
@pytest.mark.parametrize("tries", [3, 10**9])
def test_a_file_that_somebody_has_open_is_replaced_as_soon_as_it_can_be(code, tries, tmp_path, monkeypatch):
    """Windows refuses to replace it; after a second that is an error, and the old file is whole"""
    path, calls = tmp_path / "net", []
    fastbp.save(path, version(1))

    def move(old, new):
        calls.append(new)
        if len(calls) <= tries:
            error = PermissionError(errno.EACCES, "Access is denied")
            error.winerror = code
            raise error
        os.replace(old, new)

    monkeypatch.setattr(folder, "_move", move)
    monkeypatch.setattr(folder, "PATIENCE", 60 if tries == 3 else 0.1)
    if tries == 3:
        fastbp.save(path, version(2))
        assert len(calls) == 4
    else:
        with pytest.raises(PermissionError):
            fastbp.save(path, version(2))
        assert len(calls) > 1
    assert whole(path) == (2 if tries == 3 else 1)
    assert os.listdir(tmp_path) == ["net"]


@pytest.mark.parametrize("has", [True, False])
def test_the_disk_is_flushed_by_the_call_that_the_system_has_for_it(has, tmp_path, monkeypatch):
    """F_FULLFSYNC of macOS for the file and its folder; fsync if the file system does not support it"""
    flushed, synced, fsync = [], [], os.fsync

    def flush(file):
        flushed.append(stat.S_ISDIR(os.fstat(file).st_mode))
        if not has:
            raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(folder, "_flush_disk", flush)
    monkeypatch.setattr(folder.os, "fsync", lambda file: [synced.append(file), fsync(file)])
    fastbp.save(tmp_path / "net", version(3))
    assert whole(tmp_path / "net") == 3
    assert flushed == [False, True]
    assert len(synced) == (0 if has else 2)


def test_files_are_opened_as_bytes_where_text_is_the_default():
    """O_BINARY of Windows, without O_NONBLOCK"""
    assert folder.NEW & os.O_EXCL
    for flags in (folder.NEW, folder.READ):
        assert flags & folder.BINARY == folder.BINARY == getattr(os, "O_BINARY", 0)
    assert folder.READ & getattr(os, "O_NONBLOCK", 0) == getattr(os, "O_NONBLOCK", 0)
    for module in (atomic, container):      # no other place opens a file
        source = Path(module.__file__).read_text(encoding="utf-8")
        assert "os.O_" not in source, module
        assert "os.open(" not in source.replace("os.open(path, folder.READ)", "")


@pytest.mark.parametrize("path", ["/site/scipy.libs/libopenblas.so", r"C:\site\scipy.libs\libopenblas.dll"])
def test_the_blas_of_scipy_is_found_by_its_folder_with_either_separator(path, monkeypatch):
    ours, other = (SimpleNamespace(filepath=each) for each in (path, path.replace("scipy", "numpy")))
    monkeypatch.setattr(blas, "_found", None)
    monkeypatch.setattr(blas, "_scan", lambda: [other, ours])
    assert blas.libraries() == [ours]
