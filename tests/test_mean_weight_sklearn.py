"""class_weight of the estimators counts equally in batches of any size, sample_weight as in scikit-learn (fault 64)."""

import pickle
import warnings

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

import scipy.sparse as sp  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import make_classification  # noqa: E402

import fastbp  # noqa: E402
from fastbp.files import container  # noqa: E402
from fastbp.sklearn import MLPClassifier, fitting, inputs  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = make_classification(403, 8, n_informative=5, weights=[0.9], flip_y=0.05, random_state=0)
S = np.random.RandomState(0).rand(403) + 0.1      # sample_weight
FACTORS = {0: 1.0, 1: 7.0}
C = np.where(y == 1, 7.0, 1.0)
OPTIONS = {"hidden_layer_sizes": 6, "solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05, "alpha": 0.0,
           "shuffle": False, "random_state": 0, "max_iter": 1}


def weights(estimator):
    return np.concatenate([a.ravel() for a in estimator.coefs_ + estimator.intercepts_])


def started(estimator):
    """The network at the start of the fit"""
    twin = clone(estimator).set_params(max_iter=1, learning_rate_init=1e-300, momentum=0.0, solver="sgd")
    return twin.fit(X, y)._model_of_weights().net


def by_hand(net, rows, batch_size, s=None, alpha=0.0):
    """theta and the loss after an epoch over these rows, batch by batch:
    D = sum of c s delta / (mean of c by s . sum of s) + alpha / (sum of c s) Theta"""
    s = np.ones(len(X)) if s is None else s
    factor = (C * s)[rows].sum() / s[rows].sum()
    trainer, loss = fastbp.Trainer(net, fastbp.SGD(0.05), mean_weight=1), 0.0
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        w = (C * s)[batch]
        share = w / (factor * s[batch].sum())   # sums to what the costs of the batch count
        trainer.weight_decay = alpha / w.sum()
        penalty = alpha / w.sum() / 2 * sum((T[:, 1:] ** 2).sum() for T in net.Theta)
        cost = trainer.step(X[batch], y[batch].astype(float), share * len(batch)) - penalty
        loss += len(batch) * (cost * share.sum() + penalty)
    return net.theta, loss / len(rows)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("s", [None, S, S * 1e3])
@pytest.mark.parametrize("batch_size", [1, 32, 200])
def test_fault_64_class_factors_count_over_the_training_and_sample_weight_by_the_batch(batch_size, s, alpha):
    fitted = MLPClassifier(**{**OPTIONS, "alpha": alpha}, class_weight=FACTORS, batch_size=batch_size)
    fitted.fit(X, y, sample_weight=s)
    theta, loss = by_hand(started(fitted), np.arange(len(X)), batch_size, s, alpha)
    np.testing.assert_allclose(fitted._model_of_weights().net.theta, theta, rtol=1e-10, atol=1e-13)
    assert fitted.loss_ == pytest.approx(loss, rel=1e-10)


@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("same", [{0: 1.0, 1: 1.0}, {0: 3.0, 1: 3.0}, "balanced"])
def test_fault_64_equal_factors_are_none(same, batch_size):
    labels = y if same != "balanced" else np.arange(len(y) - 1) % 2
    rows = X[: len(labels)]
    by_class, plain = (
        MLPClassifier(**OPTIONS, class_weight=each, batch_size=batch_size).fit(rows, labels) for each in (same, None))
    assert weights(by_class).tobytes() == weights(plain).tobytes()
    by_class, plain = (MLPClassifier(**OPTIONS, class_weight=each, batch_size=batch_size).fit(
        rows, labels, sample_weight=S[: len(labels)]) for each in (same, None))
    np.testing.assert_allclose(weights(by_class), weights(plain), rtol=1e-12)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_fault_64_a_class_of_one_in_a_hundred_weighted_99_has_probability_one_half(batch_size, solver):
    rare = np.arange(2000) % 100 == 0
    rate = {("sgd", 1): 2e-4, ("sgd", 32): 1e-2, ("adam", 1): 1e-4, ("adam", 32): 1e-3}[solver, batch_size]
    options = {**OPTIONS, "hidden_layer_sizes": (), "solver": solver, "learning_rate_init": rate, "shuffle": True,
               "batch_size": batch_size, "max_iter": 60, "n_iter_no_change": 60}
    for class_weight in ({False: 1, True: 99}, "balanced"):
        fitted = MLPClassifier(**options, class_weight=class_weight).fit(np.zeros((2000, 1)), rare)
        assert fitted.predict_proba([[0.0]])[0, 1] == pytest.approx(0.5, abs=0.05)
        assert fitted.loss_ == pytest.approx(np.log(2), rel=0.02)


def test_fault_64_only_the_rows_to_train_on_count():
    options = {**OPTIONS, "early_stopping": True, "validation_fraction": 0.4, "n_iter_no_change": 5}
    fitted = MLPClassifier(**options, class_weight=FACTORS, batch_size=20).fit(X, y)
    twin = clone(fitted).set_params(max_iter=1)
    twin._random_state = np.random.RandomState(0)
    started_twin = started(clone(fitted).set_params(early_stopping=False))
    twin._random_state.uniform(size=started_twin.n_parameters)    # the start values
    rows, _ = fitting.split(twin, y, y, len(X), True)
    expected = C[rows].mean()
    assert fitted._optimizer.trainer.mean_weight == pytest.approx(expected, rel=1e-14)
    assert abs(expected - C.mean()) > 1e-4


@pytest.mark.parametrize("batch_size", [4, "auto"])
def test_fault_64_each_call_of_partial_fit_is_a_training(batch_size):
    going = MLPClassifier(**OPTIONS, class_weight=FACTORS, batch_size=batch_size)
    going.partial_fit(X[:10], y[:10], classes=[0, 1])
    for rows in (np.arange(10, 50), np.arange(50, 61), np.arange(61, 66)):
        net = going._model_of_weights().net.copy()
        going.partial_fit(X[rows], y[rows], sample_weight=S[rows])
        theta, _ = by_hand(net, rows, len(rows) if batch_size == "auto" else batch_size, S)
        np.testing.assert_allclose(going._model_of_weights().net.theta, theta, rtol=1e-11, atol=1e-14)
    going.set_params(class_weight=None, batch_size=1)       # and it leaves no trace
    plain = pickle.loads(pickle.dumps(going))
    for rows in (slice(66, 67), slice(67, 68), slice(68, 80)):
        for each in (going, plain):
            each.partial_fit(X[rows], y[rows])      # the first takes the quick way
    np.testing.assert_allclose(weights(going), weights(plain), rtol=1e-12)
    assert going._optimizer.trainer.mean_weight is None


def test_fault_64_sparse_rows_a_few_at_a_time_have_the_same_bits(monkeypatch):
    options = {**OPTIONS, "class_weight": FACTORS, "batch_size": 7, "max_iter": 3}
    dense = MLPClassifier(**options).fit(X, y, sample_weight=S)
    monkeypatch.setattr(inputs, "DENSE", 8 * 8 * 50)
    sparse = MLPClassifier(**options).fit(sp.csr_matrix(X), y, sample_weight=S)
    assert weights(dense).tobytes() == weights(sparse).tobytes()
    assert sparse.loss_curve_ == pytest.approx(dense.loss_curve_, rel=1e-14)


@pytest.mark.parametrize("s", [None, S])
@pytest.mark.parametrize("batch_size", [403, 1000, 32])
def test_fault_64_a_full_batch_keeps_its_bits_and_sample_weight_alone_too(batch_size, s):
    if batch_size > 32:
        options = {**OPTIONS, "batch_size": batch_size, "max_iter": 3}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Got `batch_size`")
            one = MLPClassifier(**options, class_weight=FACTORS).fit(X, y, sample_weight=s)
            other = MLPClassifier(**options).fit(X, y, sample_weight=C if s is None else C * s)
        assert weights(one).tobytes() == weights(other).tobytes()
        assert one.loss_curve_ == other.loss_curve_
    else:
        fitted = MLPClassifier(**OPTIONS, batch_size=batch_size).fit(X, y, sample_weight=s)
        assert fitted._optimizer.trainer.mean_weight is None


@pytest.mark.parametrize("old", [False, True])
def test_fault_64_a_fit_resumed_ends_with_the_same_bits_by_the_rule_it_began_with(tmp_path, monkeypatch, old):
    path = tmp_path / "fit"
    options = {**OPTIONS, "shuffle": True, "class_weight": FACTORS, "batch_size": 16, "max_iter": 4}
    new = MLPClassifier(**options).fit(X, y, sample_weight=S)
    with monkeypatch.context() as patch:
        if old:     # as an older fastbp wrote it, in version 1
            patch.setattr(fitting, "by_class", lambda *_: (None, None))
        whole = MLPClassifier(**options).fit(X, y, sample_weight=S)
        MLPClassifier(**{**options, "max_iter": 2}).fit(X, y, sample_weight=S, checkpoint=path)
    meta = container.read(path)[1]
    assert (meta["version"], "mean_weight" in meta) == ((1, False) if old else (2, True))
    resumed = MLPClassifier(**options).fit(X, y, sample_weight=S, checkpoint=path, resume=True)
    assert weights(resumed).tobytes() == weights(whole).tobytes()
    assert resumed.loss_curve_ == whole.loss_curve_
    assert (weights(new).tobytes() == weights(whole).tobytes()) != old


@pytest.mark.parametrize("rows", [slice(0, 40), slice(7, 8)])
@pytest.mark.parametrize("factors", [{1: 3.0}, {0: 2.0, 1: 3.0}, {0: 0.5}, {"b": 2.0}, {2: 4.0, 0: 1.0}, {}])
def test_fault_64_a_batch_without_some_class_takes_the_factors_of_the_others(factors, rows):
    names = np.array(["a", "b", "c"]) if "b" in factors else np.arange(3)
    labels = names[np.arange(403) % 3]
    only = np.flatnonzero(labels == names[0])[rows]     # of the first class alone
    for batch in (only, np.append(only, 1)):            # and with an example of the second
        by_class, by_sample = (MLPClassifier(**OPTIONS, class_weight=each) for each in (factors, None))
        for estimator in (by_class, by_sample):
            estimator.set_params(class_weight=None).partial_fit(X, labels, classes=names)
        by_class.set_params(class_weight=factors)
        w = np.array([factors.get(name, 1.0) for name in names.tolist()])[np.searchsorted(names, labels[batch])]
        by_class.partial_fit(X[batch], labels[batch])
        by_sample.partial_fit(X[batch], labels[batch], sample_weight=w)
        np.testing.assert_allclose(weights(by_class), weights(by_sample), rtol=1e-12, atol=1e-15)
        assert by_class.loss_ == pytest.approx(by_sample.loss_, rel=1e-12)


def test_fault_64_columns_without_some_label_take_the_factors_too():
    Y = np.column_stack([np.arange(60) % 2, np.zeros(60, int), np.ones(60, int)])
    rows, several = X[:60], [{0: 1.0, 1: 3.0}, {0: 2.0, 1: 9.0}, {1: 0.5}]
    expected = np.where(Y[:, 0] == 1, 3.0, 1.0) * 2.0 * 0.5
    for call in ("fit", "partial_fit"):
        by_class = MLPClassifier(**OPTIONS, class_weight=several)
        by_sample = MLPClassifier(**OPTIONS)
        first = {} if call == "fit" else {"classes": [0, 1, 2]}
        getattr(by_class, call)(rows, Y, **first)
        getattr(by_sample, call)(rows, Y, sample_weight=expected, **first)
        np.testing.assert_allclose(weights(by_class), weights(by_sample), rtol=1e-12, atol=1e-15)
    for wrong, words in (([{0: 1.0}] * 2, "number of elements in class_weight"), ({0: 1.0}, "list of dicts"),
                         ([{0: 1.0}, {2: 1.0}, {1: 1.0}], r"The classes, \[0, 1\], are not in class_weight")):
        with pytest.raises(ValueError, match=rf"^class_weight=.*{words}"):
            MLPClassifier(**OPTIONS, class_weight=wrong).partial_fit(rows, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="class_weight='balanced' needs all of y"):
        MLPClassifier(**OPTIONS, class_weight=[{0: 1.0}, "balanced", {1: 1.0}]).partial_fit(rows, Y, classes=[0, 1, 2])
    MLPClassifier(**OPTIONS, class_weight=[{0: 1.0}, "balanced", {1: 1.0}]).fit(rows, Y)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
@pytest.mark.parametrize(("factors", "s", "words"), [
    ({0: 0}, None, r"class_weight=\{0: 0\} gives the examples of y weights from 0 to 0; they must be finite"),
    ({0: 0}, np.ones(20), r"class_weight=\{0: 0\} times sample_weight gives the examples of y weights from 0 to 0"),
    ({0: 1e300}, np.full(20, 1e300), r"class_weight=\{0: 1e\+300\} times sample_weight .* to inf; they must be finite"),
    ({0: 1.0}, np.zeros(20), "^[Ss]ample.weight"), ({5: 1.0}, None, r"class_weight=\{5: 1.0\}: The classes, \[0, 1\]"),
    ([{0: 1.0}], None, r"class_weight=\[\{0: 1.0\}\]: a list is for several labels"),
])
def test_fault_64_factors_that_leave_no_weight_are_refused_by_their_name(factors, s, words, solver):
    only = np.flatnonzero(y == 0)[:20]
    going = MLPClassifier(**OPTIONS).fit(X, y).set_params(class_weight=factors, warm_start=False, solver=solver)
    before, n_iter = weights(going), going.n_iter_
    calls = [going.partial_fit] if hasattr(going, "partial_fit") else []
    for call in [*calls, clone(going).fit]:
        with pytest.raises(ValueError, match=words):
            call(X[only], np.append(y[only][:-1], 1) if "5" in words else y[only], sample_weight=s)
    np.testing.assert_array_equal(weights(going), before)
    assert going.n_iter_ == n_iter
