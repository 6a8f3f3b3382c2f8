"""Callbacks that watch values which are no numbers."""

import pickle

import numpy as np
import pytest
from helpers import problem
from test_callbacks import curve, train
from test_checks import refused

import fastbp
from fastbp.callbacks import Callback, EarlyStopping, ReduceOnPlateau

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("values", "options", "stops", "best"),
    [
        ([5, NAN, NAN, 3], {"patience": 1}, None, 4),
        ([5, NAN, NAN, NAN, 6, NAN, 7], {"patience": 1}, 7, 1),
        ([NAN, 4, 3, NAN], {"patience": 0}, None, 3),
        ([-INF, 4, 3, 2], {"patience": 0}, None, 4),
        ([INF, 4, 5, 6, 7], {"patience": 2, "mode": "max"}, None, 5),
        ([NAN] * 4, {"patience": 1}, None, None),
        ([-INF, INF, NAN], {"patience": 0}, None, None),
    ],
)
def test_fault_63_an_epoch_without_a_number_is_neither_progress_nor_its_lack(values, options, stops, best):
    p, thetas, last = problem(m=20), [], stops or len(values)
    stopping, unusable = EarlyStopping(curve(values), **options), int((~np.isfinite(values)).sum())
    with pytest.warns(UserWarning, match=f"EarlyStopping could not compare {unusable} of {last} epochs: <lambda> was "
                                         "NaN or infinite") as caught:
        net, history = train(p, epochs=len(values), callbacks=[stopping, lambda t: thetas.append(t.net.theta.copy())])
    assert len(caught) == 1
    assert len(history) == last
    assert net.theta.tobytes() == thetas[(best or last) - 1].tobytes()
    assert stopping.best_epoch == (best or 0)


def test_fault_63_a_plateau_is_not_made_of_what_is_no_number():
    rates, p = [], problem(m=20)
    values = [3, 3, NAN, NAN, -INF, NAN, 3, 3]
    with pytest.warns(UserWarning, match="ReduceOnPlateau could not compare 4 of 8 epochs: <lambda> was NaN"):
        train(p, epochs=8, optimizer=fastbp.SGD(0.4), callbacks=[
            ReduceOnPlateau(curve(values), 1, 0.5), lambda training: rates.append(training.optimizer.learning_rate)])
    assert rates == [0.4] * 6 + [0.2] * 2


@pytest.mark.parametrize(("monitor", "metrics"), [("val_r2", ["r2"]), ("val_auc", None)])
def test_fault_63_measures_that_are_never_numbers_are_named_and_the_last_weights_stay(monitor, metrics):
    """R^2 of one row; the caller's own metric of one class"""
    def auc(h, Y):
        return np.nan

    p = problem((4, 6, 1), "tanh", "identity", "squared_error", m=21)
    held, settings = (p.X[20:], p.Y[20:]), {"epochs": 30, "optimizer": fastbp.SGD(0.01), "seed": 0}
    plain, watched = p.network(), p.network()
    fastbp.train(plain, p.X[:20], p.Y[:20], **settings)
    with pytest.warns(UserWarning, match=f"30 of 30 epochs: {monitor} was NaN or infinite. theta is that of the last"):
        fastbp.train(watched, p.X[:20], p.Y[:20], metrics=metrics or [auc], validation_data=held,
                     callbacks=[EarlyStopping(monitor, patience=3)], **settings)
    assert plain.theta.tobytes() == watched.theta.tobytes()
    with pytest.warns(UserWarning, match=f"ReduceOnPlateau .* {monitor}"):
        fastbp.train(watched, p.X[:20], p.Y[:20], metrics=metrics or [auc], validation_data=held,
                     callbacks=[plateau := ReduceOnPlateau(monitor, patience=0, mode="max")],
                     **{**settings, "optimizer": (rule := fastbp.SGD(0.01))})
    assert rule.learning_rate == 0.01
    assert plateau.waited == 0


@pytest.mark.parametrize("make", [lambda m: EarlyStopping(m, patience=2), lambda m: ReduceOnPlateau(m, patience=1)])
def test_fault_63_a_resumed_training_warns_of_all_epochs(make, tmp_path):
    values = [NAN, 4, 3, NAN, 3.4, 3.3, 2.9, 2.8]
    p, path = problem(m=20), tmp_path / "c"
    with pytest.warns(UserWarning, match="2 of 8 epochs") as whole:
        expected, _ = train(p, epochs=8, callbacks=[make(curve(values))])
    with pytest.warns(UserWarning, match="2 of 5 epochs"):
        train(p, epochs=5, callbacks=[make(curve(values))], checkpoint=path)
    net = p.network()
    with pytest.warns(UserWarning, match="2 of 8 epochs") as resumed:
        train(p, net, epochs=8, callbacks=[make(curve(values))], checkpoint=path, resume=True)
    assert len(whole) == len(resumed) == 1
    assert net.theta.tobytes() == expected.theta.tobytes()


def test_fault_63_states_of_older_files_are_loaded():
    class Resume(Callback):
        def __init__(self, callback, state):
            self.callback, self.given = callback, state

        def on_train_begin(self, training):
            self.callback.load_state(self.given)

    for callback, more in ((EarlyStopping("J"), {"theta": None}), (ReduceOnPlateau("J"), {"cooling": 0})):
        old = {"best": 1e9, "best_epoch": 1, "waited": 0, **more}
        train(problem(m=20), epochs=2, callbacks=[callback, Resume(callback, old)])
        assert callback.unusable == 0
        assert callback.state().keys() == old.keys()
        for bad in (-1, 1.5, "x"):
            refused(lambda bad=bad, callback=callback, old=old: train(
                problem(m=20), callbacks=[callback, Resume(callback, {**old, "unusable": bad})]), "unusable")


@pytest.mark.parametrize("callback", [EarlyStopping("J"), ReduceOnPlateau("J")], ids=repr)
def test_fault_63_pickles_of_0_1_0_which_lack_the_count_have_a_state(callback):
    train(problem(m=20), epochs=2, callbacks=[callback])
    kept = {name: value for name, value in vars(callback).items() if name != "unusable"}    # as 0.1.0 pickled it
    older = type(callback).__new__(type(callback))
    older.__dict__.update(pickle.loads(pickle.dumps(kept)))
    np.testing.assert_equal(older.state(), callback.state())
