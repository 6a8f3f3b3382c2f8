"""Every program in examples/ runs within seconds and prints what it promises."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import own_losses
import pytest

import fastbp

FOLDER = Path(__file__).parent.parent / "examples"
SAYS = {
    "many_networks.py": r"held-out accuracy 9[7-9]\.\d %\nthe 20 best together: 9[7-9]",
    "bootstrap.py": r"hold [7-9]\d % of the true curve\nspread where there are points 0\.0\d, beyond them 0\.[12]\d",
    "xor.py": r"0 xor 1 = 0\.9\d\d  \(1\)",
    "digits.py": r"test accuracy: 9[5-9]\.\d %",
    "regression.py": r"huber: .* test r2 0\.9\d",
    "online.py": r"examples  16000 \.\.: online +(8[5-9]|9\d)\.\d % right",
    "scipy_optimizers.py": r"trust-constr +J = \d\.\d{4}\nby hand   J = 0\.\d{4}",
    "larger_than_memory.py": r"the same bits from the stream: True",
    "levenberg_marquardt.py": r"lm +rmse (1\.0e-06|\d\.\de-07) after \d+ steps",
    "error_bars.py": r"4 units; 95 % of the points within two standard deviations",
    "tables.py": r"R\^2: 0\.[89]\d+ of held-out rows, 0\.[89]\d+ of new .*\n90 % .* hold (8[5-9]|9\d) % .*\n.*: True",
    "sklearn_search.py": r"held-out accuracy: 9[6-9]\.\d %",
    "sklearn_learning_curves.py": r"adam +loss 0\.0\d+, held out 0\.\d+, accuracy 9[6-9]\.\d %",
    "reinforce.py": r"seed 0: mean return (4[5-9]\d|500) of 500",
    "dqn.py": r"seed 0: mean return (4[5-9]\d|500) of 500",
    "cox_regression.py": r"linear: concordance 0\.7\d\d\n16 hidden units: concordance 0\.7[5-9]\d",
    "autoencoder.py": r"by 2 numbers: [6-9]\d\.\d % right",
}
NEEDS = {"mnist_nielsen.py": None, "cartpole.py": None}  # data, minutes; a part of others
PICTURES = ("xor.py", "digits.py", "many_networks.py", "bootstrap.py", "error_bars.py", "sklearn_learning_curves.py",
            "autoencoder.py")
OWN = ("reinforce.py", "dqn.py", "cartpole.py", "cox_regression.py", "autoencoder.py")     # own losses

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no examples/ beside the tests")


def run(name, *arguments, cwd):
    if name.startswith(("sklearn", "tables")):
        pytest.importorskip("sklearn", minversion="1.7")
    if name.startswith("tables"):
        pytest.importorskip("pandas")
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
    assert max(lines for name, lines in found.items() if name not in OWN) < 60
    assert max(found[name] for name in OWN) < 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reinforce.py", "dqn.py"])
def test_the_pole_stays_up_in_4_of_5_seeds(name, tmp_path):
    returns = re.findall(r"mean return (\d+) of 500", run(name, "5", cwd=tmp_path))
    assert len(returns) == 5
    assert sum(int(value) >= 450 for value in returns) >= 4


def cox_example(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("cox_regression")


def test_the_partial_likelihood_of_the_example_is_the_sum_over_all_pairs(monkeypatch):
    example = cox_example(monkeypatch)
    rng = np.random.default_rng(0)
    for m in (1, 2, 60):
        z, Y = rng.standard_normal((m, 1)), np.column_stack([rng.integers(0, 20, m), rng.integers(0, 2, m)])
        for mine, theirs in zip(example.partial_likelihood(z, Y, None), own_losses.cox(z, Y, None), strict=True):
            assert np.abs(mine - theirs).max() < 1e-13


def test_the_coefficients_of_the_example_are_those_of_lifelines(monkeypatch):
    example, lifelines = cox_example(monkeypatch), pytest.importorskip("lifelines")
    pandas = pytest.importorskip("pandas")
    X, Y = example.patients(500, np.random.default_rng(1))
    net = fastbp.Network([5, 1], loss=example.partial_likelihood, seed=0)
    fastbp.minimize(net, X, Y, options={"gtol": 1e-10, "ftol": 1e-16})
    frame = pandas.DataFrame(np.hstack([X, Y]))
    theirs = lifelines.CoxPHFitter().fit(frame, duration_col=5, event_col=6).params_.to_numpy()
    assert np.abs(net.Theta[0][0, 1:] - theirs).max() < 1e-5
