"""python -m fastbp: the main job, run as a newcomer runs it."""

import os
import re
import subprocess
import sys

import pytest

BLOCKED = "import sys, runpy; sys.modules.update(tqdm=None, matplotlib=None); sys.argv[0] = 'fastbp'; "
BLOCKED += "runpy.run_module('fastbp', run_name='__main__', alter_sys=True)"
ACCURACY = r"held-out accuracy: (\d+\.\d) %"


def run(*arguments, cwd, code=None):
    """stdout and stderr of python -m fastbp; nothing on the way may fail or warn"""
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
