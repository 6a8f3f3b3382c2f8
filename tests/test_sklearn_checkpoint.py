"""A long fit, killed and resumed, ends at the bits of one that was never stopped."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression  # noqa: E402

import fastbp  # noqa: E402
from fastbp.files import container  # noqa: E402
from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402
from fastbp.training import trainer_file  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_iris, y_iris = load_iris(return_X_y=True)
X_iris = (X_iris - X_iris.mean(axis=0)) / X_iris.std(axis=0)
X_reg, y_reg = make_regression(200, 6, noise=5, random_state=0)
y_reg = y_reg / y_reg.std()
X_labels, y_labels = make_multilabel_classification(120, random_state=0)
CASES = {
    "adam": (MLPClassifier, X_iris, y_iris, {}),
    "float32": (MLPClassifier, X_iris.astype(np.float32), y_iris, {"early_stopping": True, "n_iter_no_change": 100}),
    "sgd, adaptive": (MLPRegressor, X_reg, y_reg, {
        "solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1, "learning_rate_init": 0.01}),
    "sgd, invscaling": (MLPRegressor, X_reg, y_reg, {"solver": "sgd", "learning_rate": "invscaling", "batch_size": 33}),
    "early stopping": (MLPClassifier, X_iris, y_iris, {"early_stopping": True, "n_iter_no_change": 3, "tol": 1e-2}),
    "several labels": (MLPClassifier, X_labels, y_labels, {"early_stopping": True, "n_iter_no_change": 100}),
    "unshuffled": (MLPRegressor, X_reg, y_reg, {"shuffle": False, "early_stopping": True, "n_iter_no_change": 100}),
    "dropout": (MLPRegressor, X_reg, y_reg, {"dropout": 0.3, "clip_norm": 1.0}),
    "rmsprop": (MLPRegressor, X_reg, y_reg, {"solver": "rmsprop"}),
    "own optimizer": (MLPRegressor, X_reg, y_reg, {"solver": fastbp.optimizers.Nadam(2e-3)}),
    "huber": (MLPRegressor, X_reg, y_reg, {"loss": "huber", "huber_delta": 0.5}),
}
KEPT = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_", "validation_loss_curve_",
        "best_validation_score_", "_no_improvement_count")


class Killed(Exception):
    """Stands for the end of a process"""


def killer(epoch):
    def kill(estimator):
        if estimator.n_iter_ == epoch:
            raise Killed

    return kill


def everything(estimator):
    theta = [a.tobytes() for a in estimator.coefs_ + estimator.intercepts_]
    state = {name: np.asarray(value).tobytes() for name, value in estimator._optimizer.state.items()}
    return theta, state, {name: getattr(estimator, name) for name in KEPT}, estimator._random_state.random(3).tolist()


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_fit_that_goes_on_ends_at_the_bits_of_one_that_was_never_stopped(case, every, tmp_path):
    cls, X, y, parameters = CASES[case]
    estimator = cls(**{"hidden_layer_sizes": (9, 5), "random_state": 0, "max_iter": 12, **parameters})
    whole = clone(estimator).fit(X, y)
    path = tmp_path / "fit"
    for epoch in (2, whole.n_iter_ - 2):
        with pytest.raises(Killed):
            clone(estimator).set_params(callbacks=killer(epoch)).fit(
                X, y, checkpoint=path, checkpoint_every=every, resume=True
            )
    resumed = clone(estimator).fit(X, y, checkpoint=path, checkpoint_every=every, resume=True)
    assert everything(resumed) == everything(whole)
    for goes_on in (whole, resumed):
        if not goes_on.early_stopping:
            goes_on.partial_fit(X[:40], y[:40])
    assert [a.tobytes() for a in resumed.coefs_] == [a.tobytes() for a in whole.coefs_]


def test_without_a_seed_it_goes_on_where_it_was_drawn(tmp_path):
    path = tmp_path / "fit"

    def estimator(seed, **parameters):
        return MLPRegressor(hidden_layer_sizes=9, max_iter=8, random_state=np.random.RandomState(seed),
                            early_stopping=True, **parameters)

    whole = estimator(5).fit(X_reg, y_reg)
    with pytest.raises(Killed):
        estimator(5, callbacks=killer(4)).fit(X_reg, y_reg, checkpoint=path)
    resumed = estimator(99).fit(X_reg, y_reg, checkpoint=path, resume=True)
    assert everything(resumed) == everything(whole)


def test_a_finished_fit_is_read_and_may_be_made_longer(tmp_path):
    path, estimator = tmp_path / "fit", MLPRegressor(hidden_layer_sizes=9, max_iter=4, random_state=0)
    first = clone(estimator).fit(X_reg, y_reg, checkpoint=path)
    again = clone(estimator).fit(X_reg, y_reg, checkpoint=path, resume=True)
    np.testing.assert_array_equal(again.coefs_[0], first.coefs_[0])
    longer = clone(estimator).set_params(max_iter=9).fit(X_reg, y_reg, checkpoint=path, resume=True)
    whole = clone(estimator).set_params(max_iter=9).fit(X_reg, y_reg)
    np.testing.assert_array_equal(longer.coefs_[0], whole.coefs_[0])
    assert longer.loss_curve_ == whole.loss_curve_
    with pytest.raises(ValueError, match="has reached epoch 9; max_iter is 4"):
        clone(estimator).fit(X_reg, y_reg, checkpoint=path, resume=True)
    stopped = MLPRegressor(hidden_layer_sizes=9, max_iter=50, tol=1e9, n_iter_no_change=2, random_state=0)
    n = clone(stopped).fit(X_reg, y_reg, checkpoint=path, resume=False).n_iter_
    assert n < 50
    assert clone(stopped).set_params(max_iter=60).fit(X_reg, y_reg, checkpoint=path, resume=True).n_iter_ == n


def test_how_often_it_is_written(tmp_path, monkeypatch):
    written, real = [], container.write
    monkeypatch.setattr(container, "write", lambda path, *a: (written.append(1), real(path, *a))[1])
    estimator = MLPRegressor(hidden_layer_sizes=9, max_iter=10, random_state=0)
    for every, times in [(1, 11), (4, 4), ((4, "epochs"), 4), ((1e9, "seconds"), 2), ((0, "seconds"), 11)]:
        written.clear()
        estimator.fit(X_reg, y_reg, checkpoint=tmp_path / "fit", checkpoint_every=every, resume=False)
        assert len(written) == times, every


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"alpha": 0.5}, "alpha"), ({"learning_rate_init": 0.1}, "learning_rate"), ({"solver": "sgd"}, "optimizer"),
     ({"hidden_layer_sizes": (8,)}, "layer_sizes"), ({"batch_size": 7}, "batch_size"), ({"shuffle": False}, "shuffle"),
     ({"early_stopping": True}, "early_stopping"), ({"random_state": 1}, "random_state"), ({"loss": "huber"}, "loss")],
)
def test_a_checkpoint_of_another_fit_is_refused(changes, words, tmp_path):
    path, estimator = tmp_path / "fit", MLPRegressor(hidden_layer_sizes=(9,), max_iter=3, random_state=0)
    estimator.fit(X_reg, y_reg, checkpoint=path)
    with pytest.raises(ValueError, match=rf"is of another \w+: it was made with .*{words}"):
        clone(estimator).set_params(**changes).fit(X_reg, y_reg, checkpoint=path, resume=True)
    clone(estimator).set_params(max_iter=4, n_threads=1, verbose=False).fit(X_reg, y_reg, checkpoint=path, resume=True)


def test_other_data_are_refused(tmp_path):
    path, estimator = tmp_path / "fit", MLPRegressor(hidden_layer_sizes=(9,), max_iter=3, random_state=0)
    estimator.fit(X_reg, y_reg, checkpoint=path)
    for X, y, w in [(X_reg[:50], y_reg[:50], None), (X_reg, y_reg, np.ones(200))]:
        with pytest.raises(ValueError, match="is of another fit: it was made with data"):
            clone(estimator).fit(X, y, w, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="is of another fit: it was made with data"):
        clone(estimator).fit(X_reg, y_reg, X_val=X_reg, y_val=y_reg, checkpoint=path, resume=True)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path, estimator = tmp_path / "fit", MLPRegressor(hidden_layer_sizes=(9,), max_iter=3, random_state=0)
    net = fastbp.Network([6, 9, 1], activation="relu", seed=0)
    fastbp.save(path, net)
    with pytest.raises(container.FormatError, match="kind is"):
        estimator.fit(X_reg, y_reg, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="exists and holds no fit"):
        estimator.fit(X_reg, y_reg, checkpoint=path)
    estimator.fit(X_reg, y_reg, checkpoint=path, resume=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(container.FormatError):
        clone(estimator).fit(X_reg, y_reg, checkpoint=path, resume=True)
    path.unlink()
    clone(estimator).fit(X_reg, y_reg, checkpoint=path, resume=True)     # nothing there: from the beginning
    assert path.exists()


NUMBERS = {"n_iter_": 1, "t_": 180, "loss_": 1.0, "best_loss_": None, "best_validation_score_": 0.5,
           "_no_improvement_count": 0}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("order", np.zeros(180, np.int64), "each example once"), ("order", np.arange(180.0), "each example once"),
     ("order", None, "each example once"), ("held", None, "each example once"), ("held", 3, "each example once"),
     ("best_theta", None, "best_theta"), ("best_theta", np.zeros(3), "best_theta"), ("stopped", 1, "stopped"),
     ("curves", {}, "curves"), ("curves", {"loss_curve_": None, "validation_scores_": 1, "validation_loss_curve_": 1},
                                "curves"),
     ("numbers", [], "numbers"), ("numbers", NUMBERS | {"t_": 1.5}, "counts must be whole"),
     ("numbers", NUMBERS | {"n_iter_": -1}, "counts must be whole"),
     ("numbers", NUMBERS | {"loss_": 1}, "floating-point"), ("draws", {"bit_generator": "PCG64"}, "generator"),
     ("draws", np.random.PCG64(1).state, "draws are of another"), ("parameters", 3, "parameters"),
     ("parameters", {}, "is of another fit"), ("data", None, "is of another fit"), ("more", 1, "fields")],
)
def test_a_file_that_makes_no_sense_is_refused(name, value, words, tmp_path):
    path = tmp_path / "fit"
    estimator = MLPRegressor(hidden_layer_sizes=(9,), max_iter=3, early_stopping=True, random_state=0)
    estimator.fit(X_reg, y_reg, checkpoint=path)
    trainer, before = estimator._optimizer.trainer, estimator.coefs_[0].copy()
    notes = trainer_file.read(path, trainer.steps).notes
    trainer.save(path, {**notes, name: value})
    with pytest.raises(ValueError, match=words):
        estimator.fit(X_reg, y_reg, checkpoint=path, resume=True)
    np.testing.assert_array_equal(estimator.coefs_[0], before)
    trainer.save(path, notes)
    estimator.fit(X_reg, y_reg, checkpoint=path, resume=True)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [({"checkpoint": 3}, TypeError, "path must be"), ({"resume": True}, ValueError, "got checkpoint=None"),
     ({"checkpoint": "x", "resume": 1}, TypeError, "resume"),
     ({"checkpoint": "x", "checkpoint_every": 0}, ValueError, "checkpoint_every"),
     ({"checkpoint": "x", "checkpoint_every": (3, "batches")}, ValueError, "checkpoint_every")],
)
def test_bad_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        MLPRegressor(hidden_layer_sizes=9).fit(X_reg, y_reg, **arguments)
    with pytest.raises(ValueError, match="a checkpoint is written between epochs; solver='lbfgs' has none"):
        MLPRegressor(solver="lbfgs").fit(X_reg, y_reg, checkpoint="x")


def test_fault_77_a_fit_is_not_overwritten_by_forgetting(tmp_path):
    path, estimator = tmp_path / "fit", MLPRegressor(hidden_layer_sizes=9, max_iter=4, random_state=0)
    clone(estimator).fit(X_reg, y_reg, checkpoint=path)
    before, again = path.read_bytes(), clone(estimator)
    with pytest.raises(ValueError, match="holds a fit of 4 finished epochs; resume=True resumes it"):
        again.fit(X_reg, y_reg, checkpoint=path)
    assert path.read_bytes() == before
    assert not hasattr(again, "coefs_")
    again.fit(X_reg, y_reg, checkpoint=path, resume=False)
    assert again.n_iter_ == 4
    path.write_bytes(b"my thesis")
    with pytest.raises(ValueError, match="exists and holds no fit"):
        again.fit(X_reg, y_reg, checkpoint=path)
    assert path.read_bytes() == b"my thesis"


PROGRAM = """
import sys
from sklearn.datasets import make_regression
from fastbp.sklearn import MLPRegressor
X, y = make_regression(2000, 20, random_state=0)
e = MLPRegressor(hidden_layer_sizes=50, max_iter=60, random_state=0, tol=0, n_iter_no_change=100)
e.set_params(callbacks=lambda e: print(e.n_iter_, flush=True))
e.fit(X, y / y.std(), checkpoint=sys.argv[1], resume=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_process_is_gone_on_from(tmp_path):
    path = str(tmp_path / "fit")
    for epoch in (5, 20, 40):
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, path], stdout=subprocess.PIPE, text=True, env=os.environ
        ) as process:
            for line in process.stdout:
                if int(line) >= epoch:
                    process.kill()
                    break
        assert process.returncode == -signal.SIGKILL
    X, y = make_regression(2000, 20, random_state=0)
    estimator = MLPRegressor(hidden_layer_sizes=50, max_iter=60, random_state=0, tol=0, n_iter_no_change=100)
    seen = []
    resumed = clone(estimator).set_params(callbacks=lambda e: seen.append(e.n_iter_))
    resumed.fit(X, y / y.std(), checkpoint=path, resume=True)
    assert seen[0] >= 40
    assert everything(resumed) == everything(estimator.fit(X, y / y.std()))
