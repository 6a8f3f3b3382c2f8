"""Every program in examples/ runs, in seconds, and says what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
SAYS = {
    "xor.py": r"0 xor 1 = 0\.9\d\d  \(1\)",
    "digits.py": r"test accuracy: 9[5-9]\.\d %",
    "regression.py": r"huber: .* test r2 0\.9\d",
    "online.py": r"examples  16000 \.\.: online +(8[5-9]|9\d)\.\d % right",
    "scipy_optimizers.py": r"trust-constr +J = \d\.\d{4}\nby hand   J = 0\.\d{4}",
    "larger_than_memory.py": r"the same bits from the stream: True",
    "levenberg_marquardt.py": r"lm +rmse (1\.0e-06|\d\.\de-07) after \d+ steps",
    "error_bars.py": r"4 units; 95 % of the points within two standard deviations",
    "sklearn_search.py": r"held-out accuracy: 9[6-9]\.\d %",
    "sklearn_learning_curves.py": r"adam +loss 0\.0\d+, held out 0\.\d+, accuracy 9[6-9]\.\d %",
}
NEEDS = {"mnist_nielsen.py": None}  # data, minutes
PICTURES = ("xor.py", "digits.py", "error_bars.py", "sklearn_learning_curves.py")

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no examples/ beside the tests")


def run(name, *arguments, cwd):
    if name.startswith("sklearn"):
        pytest.importorskip("sklearn", minversion="1.7")
    command = [sys.executable, "-W", "error", str(FOLDER / name), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=cwd, env=os.environ | {"MPLBACKEND": "Agg"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SAYS)
def test_example_runs_and_says_what_it_promises(name, tmp_path):
    assert re.search(SAYS[name], run(name, cwd=tmp_path))


@pytest.mark.parametrize("name", PICTURES)
def test_example_draws_its_picture(name, tmp_path):
    pytest.importorskip("matplotlib")
    run(name, "picture.png", cwd=tmp_path)
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_every_example_is_run_here_and_short():
    found = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in FOLDER.glob("*.py")}
    assert found.keys() == SAYS.keys() | NEEDS.keys()
    assert max(found.values()) < 60
