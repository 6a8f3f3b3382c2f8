"""python -m fastbp: the main job, run as a newcomer would."""

import os
import re
import subprocess
import sys

import pytest

from fastbp import __main__

BLOCKED = "import sys, runpy; sys.modules.update(tqdm=None, matplotlib=None); sys.argv[0] = 'fastbp'; "
BLOCKED += "runpy.run_module('fastbp', run_name='__main__', alter_sys=True)"
ACCURACY = r"held-out accuracy: (\d+\.\d) %"


def run(*arguments, cwd, code=None):
    """stdout and stderr of python -m fastbp; nothing may fail or warn"""
    command = [sys.executable, "-W", "error", *(["-c", code] if code else ["-m", "fastbp"]), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, cwd=cwd, env=os.environ | {"MPLBACKEND": "Agg"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_default_run_learns_the_digits(tmp_path):
    out, err = run(cwd=tmp_path)
    lines = out.strip().splitlines()
    assert float(re.fullmatch(ACCURACY, lines[-1])[1]) >= 96
    text = out + err
    for part in (
        "64",
        "10",
        "(?i)gradient",
        "(?i)training accuracy",
        r"(?i)examples ?(/|per) ?s",
        r"\bJ\b",
    ):
        assert re.search(part, text), part


def test_picture_of_the_learning_curve_is_saved_where_matplotlib_is(tmp_path):
    pytest.importorskip("matplotlib")
    run("--epochs", "2", cwd=tmp_path)
    assert [path for path in tmp_path.iterdir() if path.suffix in (".png", ".svg", ".pdf")]


def test_without_tqdm_and_matplotlib_lines_are_printed_and_nothing_else_happens(tmp_path):
    text, _ = run("--epochs", "2", cwd=tmp_path, code=BLOCKED)
    assert re.fullmatch(ACCURACY, text.strip().splitlines()[-1])
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_saved_is_said_and_the_rest_goes_on(tmp_path):
    pytest.importorskip("matplotlib")
    out, _ = run("--epochs", "1", "--layers", "5", "--picture", "curve.nonsense", cwd=tmp_path)
    assert "learning curve: not drawn" in out
    assert re.fullmatch(ACCURACY, out.strip().splitlines()[-1])


@pytest.mark.parametrize(("arguments", "said"), [
    (["--picture", "no/such/curve.png"], "there is no folder"), (["--layers", "0"], "fastbp: "),
    (["--layers", "5", "--optimizer", "sgd", "--learning-rate", "nan"], "learning.rate"),
])
def test_what_cannot_be_done_is_said_in_a_line(arguments, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fastbp", *arguments], capture_output=True, text=True, timeout=100, cwd=tmp_path
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert re.search(said, done.stderr.splitlines()[-1])


def test_mpi_without_mpi4py_names_the_extra(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import sys; sys.modules['mpi4py'] = None\n"
                           "from fastbp.__main__ import main; main(['--mpi'])"], capture_output=True, text=True,
                          timeout=100, cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'fastbp[mpi]'" in done.stderr.splitlines()[-1]


def test_config_is_shown_and_nothing_trained(capsys):
    from fastbp.__main__ import main

    assert main(["--config"]) == 0
    assert "instruction set" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_seed_prints_the_same_accuracy(dtype, tmp_path):
    first, second = (
        run("--epochs", "2", "--seed", "3", "--dtype", dtype, cwd=tmp_path, code=BLOCKED)[0].splitlines()[-1]
        for _ in range(2)
    )
    assert first == second


def test_help_explains_every_option(tmp_path):
    text, _ = run("--help", cwd=tmp_path)
    for option in ("layers", "optimizer", "epochs", "seed", "dtype"):
        assert f"--{option}" in text


@pytest.mark.parametrize(
    "arguments", [["--epochs", "-1"], ["--dtype", "float16"], ["--optimizer", "nonsense"], ["--nonsense"],
                  ["--layers", "8,x"], ["--batch-size", "0"], ["--patience", "0"], ["--seed", "-1"]]
)
def test_wrong_options_are_refused_without_a_traceback(arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fastbp", *arguments], capture_output=True, text=True, timeout=100, cwd=tmp_path
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert arguments[0].strip("-") in done.stderr


def test_a_fifth_of_the_digits_is_held_out():
    (X, y), (held_X, held_y) = __main__.split(0)
    assert (len(X), len(y), len(held_X), len(held_y)) == (1797 - 360, 1797 - 360, 360, 360)
