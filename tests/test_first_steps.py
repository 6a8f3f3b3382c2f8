"""Typical mistakes in first programs: the error says what to do instead."""

import ctypes
import functools

import numpy as np
import pytest

import fastbp

X = np.random.default_rng(0).normal(size=(40, 2))
Y = X[:, 0]


def said(call, kind):
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


# ---------------------------------------------------------------- tables

@pytest.fixture
def frame():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("sklearn")
    return pandas.DataFrame({"a": Y, "b": np.where(X[:, 1] > 0, "one", "two"), "y": np.where(Y > 0, "yes", "no")})


def models():
    from fastbp.tabular import TabularClassifier, TabularRegressor
    return TabularClassifier(n_estimators=1, epochs=1), TabularRegressor(n_estimators=1, epochs=1)


@pytest.mark.parametrize("name", ["y", "sample_weight", "groups"])
def test_fault_79_the_name_of_a_column_is_no_column(frame, name):
    for model in models():
        given = {"y": Y > 0, name: "a"}
        text = said(lambda model=model, given=given: model.fit(frame, **given), TypeError)
        assert text.startswith(f"{name} must hold a value for each row; got the string 'a'. ")
        assert "pass X['a']" in text
        assert ("drop it from X" in text) == (name == "y")


@pytest.mark.parametrize("gap", [None, float("nan"), "NaT", "NA"])
def test_fault_79_rows_without_a_target_are_counted_and_the_first_is_named(frame, gap):
    pandas = pytest.importorskip("pandas")
    gap = {"NaT": pandas.NaT, "NA": pandas.NA}.get(gap, gap) if isinstance(gap, str) else gap
    labels, numbers = frame["y"].astype(object), frame["a"].astype(object)
    labels[[7, 9]] = numbers[[7, 9]] = gap
    for model, y in zip(models(), (labels, numbers), strict=True):
        for given in (y, y.tolist()):
            text = said(lambda model=model, given=given: model.fit(frame[["a", "b"]], given), ValueError)
            assert text == ("Input y contains NaN. 2 of 40 rows have no target, row 7 first; leave these rows out of X "
                            "and y")
    two = np.column_stack([Y, np.where(np.arange(40) == 3, np.nan, Y)])
    assert "1 of 40 rows have no target, row 3 first" in said(lambda: models()[1].fit(X, two), ValueError)


def test_fault_79_rows_of_json_point_to_a_dataframe(frame):
    model = models()[1].fit(frame[["b"]], Y)
    for call in (model.predict, lambda rows: model.fit(rows, Y)):
        assert said(lambda call=call: call(frame[["b"]].to_dict("records")), TypeError).endswith(
            "got a list of dicts. Pass pandas.DataFrame(X)")
        assert "got a dict. Pass pandas.DataFrame(X), or pandas.DataFrame([X])" in said(
            lambda call=call: call({"b": "one"}), TypeError)


# ---------------------------------------------------------------- networks

def test_fault_79_examples_of_one_input_point_to_a_column():
    net = fastbp.Network([1, 3, 1], output="identity", seed=0)
    for call in (lambda: fastbp.train(net, Y, Y, epochs=1), lambda: fastbp.minimize(net, Y, Y), lambda: net.predict(Y)):
        assert said(call, ValueError) == ("X has 40 columns, but the network has 1 input; shape (40,). For 40 examples "
                                          "pass X[:, np.newaxis]")
    two = fastbp.Network([2, 1], output="identity", seed=0)
    assert said(lambda: two.predict(Y), ValueError) == "X has 40 columns, but the network has 2 inputs; shape (40,)"


def test_fault_79_a_compiled_function_without_its_wrapper_is_refused():
    f = ctypes.CFUNCTYPE(ctypes.c_double)(lambda: 0.0)

    class OfNumba:
        ctypes = f

        def __call__(self, K, z, y, delta, user):
            """An object like that of numba.cfunc."""

    for loss, name in ((f, "f"), (OfNumba(), "f.ctypes")):
        text = said(lambda loss=loss: fastbp.Network([2, 1], loss=loss), TypeError)
        assert text.startswith(f"loss is a compiled function; wrap it: loss=scipy.LowLevelCallable({name})")


def of_keras(y_true, y_pred):
    return ((y_true - y_pred) ** 2).mean()


@pytest.mark.parametrize(("loss", "name"), [
    (of_keras, "of_keras(y_true, y_pred)"), (lambda z, Y, w, q: None, "<lambda>(z, Y, w, q)"),
    (lambda z, Y, w, *, q: None, "<lambda>(z, Y, w, *, q)"), (functools.partial(of_keras, 1), "partial(y_pred)"),
])
def test_fault_79_a_loss_with_other_arguments_is_refused_at_once(loss, name):
    text = said(lambda: fastbp.Network([2, 1], loss=loss), TypeError)
    assert text.startswith("loss must be a function f(z, Y, w) that returns costs (m,) and their derivatives with ")
    assert f"{name} cannot be called so: " in text


@pytest.mark.parametrize("loss", [
    lambda *args: None, lambda z, Y, w=None: None, functools.partial(lambda z, Y, w, q: None, q=1), np.add])
def test_fault_79_other_signatures_that_take_three_arguments_are_fine(loss):
    assert fastbp.Network([2, 1], loss=loss).loss is loss


def test_fault_79_a_gradient_check_is_one_line():
    check = fastbp.check_gradient(fastbp.Network([2, 8, 1], seed=0), X, Y > 0)
    assert repr(check) == str(check)
    assert repr(check).startswith("GradientCheck(relative_difference=")
    assert repr(check).endswith(", analytic and numeric: 33 values)")
    assert len(check) == 3


# ---------------------------------------------------------------- files

def test_fault_79_save_and_load_take_an_ensemble(tmp_path):
    ensemble = fastbp.Ensemble([fastbp.Network([2, h, 1], seed=h, dtype=d) for h, d in ((2, "f4"), (3, "f8"))])
    fastbp.save(tmp_path / "a", ensemble)
    ensemble.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for again in (fastbp.load(tmp_path / "a"), fastbp.Ensemble.load(tmp_path / "a")):
        assert isinstance(again, fastbp.Ensemble)
        assert (again.predict(X).mean == ensemble.predict(X).mean).all()
    assert "this one holds an ensemble" in said(lambda: fastbp.load(tmp_path / "a", loss=len), ValueError)


def test_fault_79_what_cannot_be_saved_is_told_what_can(tmp_path):
    text = said(lambda: fastbp.save(tmp_path / "a", fastbp.Standardise(X)), TypeError)
    assert text.startswith("net must be a fastbp.Network, a fitted estimator of fastbp.sklearn or fastbp.tabular, a ")
    assert text.endswith("Laplace or an Ensemble; got Standardise(2 columns)")
