"""Real processes under mpiexec, which agree to the bit and end together."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastbp

pytest.importorskip("mpi4py", reason="mpi4py is not installed (pip install 'fastbp[mpi]')")
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
if MPIEXEC is None:
    pytest.skip("there is no mpiexec (pip install 'fastbp[mpi]')", allow_module_level=True)
HERE = Path(__file__).parent / "mpi"
SAYING = ("-prepend-rank", "-print-all-exitcodes")  # MPICH: show the rank of each line, and how each rank has ended
ENDED = 10  # seconds after a fault within which all processes end


def start(n, script, *arguments, runner=("-m", "mpi4py"), saying=SAYING):
    command = [MPIEXEC, *saying, "-n", str(n), sys.executable, "-W", "error", *runner, str(HERE / script),
               *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})


def output(n, form, folder):
    process = start(n, "train.py", folder, form, saying=())
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return out


@pytest.mark.parametrize("form", ["train", "minimize"])
def test_1_2_and_4_processes_have_the_same_bits(form, tmp_path):
    outputs = []
    for n in (1, 2, 4):
        folder = tmp_path / str(n)
        folder.mkdir()
        outputs.append(output(n, form, folder))
    assert outputs[0] == outputs[1] == outputs[2]
    assert len(outputs[0].split()) > 3


def test_a_paused_training_goes_on_to_the_same_bits_on_another_number_of_processes(tmp_path):
    expected = output(2, "train", tmp_path)
    output(4, "pause", tmp_path)
    shutil.copy(tmp_path / "pause", tmp_path / "train")
    assert output(2, "train", tmp_path) == expected


def test_local_steps_end_with_the_same_theta_on_both():
    assert len(output(2, "sync", "-").split()) == 6


def test_the_command_learns_the_digits_on_two_processes(tmp_path):
    command = [MPIEXEC, "-n", "2", sys.executable, "-W", "error", "-m", "mpi4py", "-m", "fastbp", "--mpi"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path,
                          env=os.environ | {"MPLBACKEND": "Agg"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("processes: 2") == 1
    assert float(re.search(r"held-out accuracy: (\d+\.\d) %\n$", done.stdout)[1]) >= 96
    assert len(re.findall(r"^epoch +1/200", done.stderr, re.M)) == 1


def ends(process, folder, began=None):
    """The output of a run that must end, and leave no process

    began: the time of the fault; without it, the time when the last process began
    """
    try:
        out, err = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode != 0
    there = list(folder.glob("pid *"))
    began = began or max(name.stat().st_mtime for name in there)
    for name in there:
        while alive(name.read_text()):
            assert time.time() - began < ENDED, f"process of {name} is left"
            time.sleep(0.02)
    assert time.time() - began < ENDED
    return err + out


def says(err, text):
    """mpiexec puts the rank before each piece it reads, even in the middle of a line"""
    rank = re.match(r"\[\d\] ", text)
    return (rank is None or rank[0] in err) and (text[4:] if rank else text) in re.sub(r"\[\d\] ", "", err)


def alive(pid):
    """Is the process running? A zombie, which its parent has not yet collected, is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("fault", "words"), [
    ("input", ["rank 1 of 2 failed: ValueError: Input X contains NaN. First at X[7, 5].", "[1] on rank 1 of 2"]),
    ("callback", ["rank 1 of 2 failed: RuntimeError: something is wrong in a callback", "[1] on rank 1 of 2"]),
    ("network", ["the ranks differ in layer_sizes"]),
    ("dtype", ["the ranks differ in dtype"]),
    ("optimizer", ["the ranks differ in optimizer"]),
])
@pytest.mark.parametrize("runner", [(), ("-m", "mpi4py")], ids=["python", "python -m mpi4py"])
def test_what_fails_inside_fastbp_on_one_process_ends_all_and_says_where(fault, words, runner, tmp_path):
    err = ends(start(2, "fault.py", tmp_path, fault, runner=runner), tmp_path)
    for text in words:
        assert says(err, text)


@pytest.mark.parametrize(("fault", "words"), [
    ("outside", ["[1] RuntimeError: something is wrong outside"]), ("gone", ["[1] rank 1 has nothing to do"]),
    ("killed", ["0,9\n", "signal 9"]), ("exit", [f"0,{3 << 8}\n"]),     # how ranks 0 and 1 have ended, as of wait()
])
def test_fault_52_a_process_that_fails_elsewhere_is_killed_or_exits_ends_all(fault, words, tmp_path):
    err = ends(start(2, "fault.py", tmp_path, fault), tmp_path)
    for text in words:
        assert says(err, text)
    if fault in ("killed", "exit"):
        assert fastbp.load(tmp_path / "kept").layer_sizes == (64, 30, 10)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_all_and_leaves_a_whole_checkpoint(which, tmp_path):
    process = start(2, "fault.py", tmp_path, "none")
    deadline = time.monotonic() + 30
    while not (tmp_path / "running 0").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    began = time.time()
    process.send_signal(which)
    ends(process, tmp_path, began)
    assert fastbp.load(tmp_path / "kept").layer_sizes == (64, 30, 10)


@pytest.mark.parametrize("runner", [(), ("-m", "mpi4py")], ids=["python", "python -m mpi4py"])
def test_an_interrupt_of_one_process_ends_the_other_too(runner, tmp_path):
    process = start(2, "fault.py", tmp_path, "none", runner=runner)
    deadline = time.monotonic() + 30
    while not (tmp_path / "running 1").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    began = time.time()
    os.kill(int((tmp_path / "pid 1").read_text()), signal.SIGINT)
    assert says(ends(process, tmp_path, began), "[1] KeyboardInterrupt")
