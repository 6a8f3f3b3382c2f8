"""Generated calls with one bad argument each are refused by its name, and nothing has changed.

bad_values.py, bad_calls.py, bad_trainings.py, bad_parts.py, bad_many.py and bad_estimators.py make the calls.
"""

import re
import warnings
from pathlib import Path

import bad_calls
import bad_many
import bad_parts
import bad_trainings
import numpy as np
import pytest

import fastbp

SHARE_OF_ESTIMATORS = 10  # one in this many calls: they take longer


def makers():
    """Of the core, and of the estimators where scikit-learn is installed"""
    core = [*bad_calls.MAKERS, *bad_trainings.MAKERS, *bad_parts.MAKERS]
    try:
        import bad_estimators
    except ImportError:
        return core, ()
    return core, bad_estimators.MAKERS


def faults(first, n):
    """The faults of the calls number first .. first + n"""
    core, estimators = makers()
    found = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer|lbfgs failed to converge|Got `batch_size`")
        for i in range(first, first + n):
            rng = np.random.default_rng([17, i])
            pool = estimators if estimators and i % SHARE_OF_ESTIMATORS == 0 else core
            wrong = bad_calls.fault(*pool[rng.integers(len(pool))](rng), rng)
            if wrong:
                found.append(f"call {i}: {wrong}")
    return found


def test_three_thousand_bad_calls_are_refused_by_name_and_change_nothing():
    found = faults(0, 3000)
    assert not found, f"{len(found)} of 3000:\n" + "\n".join(found[:20])


def test_six_hundred_bad_calls_of_many_networks_are_refused_by_name_and_change_nothing():
    for i in range(600):
        rng = np.random.default_rng([23, i])
        wrong = bad_calls.fault(*bad_many.MAKERS[rng.integers(len(bad_many.MAKERS))](rng), rng)
        assert not wrong, f"call {i}: {wrong}"


@pytest.mark.slow
def test_a_hundred_thousand_bad_calls_are_refused_by_name_and_change_nothing():
    found = faults(10**6, 100_000)
    print(f"100000 bad calls, {len(found)} not refused as they should be")
    assert not found, f"{len(found)} of 100000:\n" + "\n".join(found[:20])


def test_every_public_name_has_its_bad_calls():
    """A new function or class needs a maker"""
    source = "".join(Path(each.__file__).read_text() for each in (bad_calls, bad_trainings, bad_parts, bad_many))
    plain = {"DivergenceError", "Evaluation", "FormatError", "GradientCheck", "History", "__version__", "datasets",
             "many", "show_config", "selftest"}        # take no arguments that are checked
    for name in set(fastbp.__all__) - plain:
        assert re.search(rf"\b{name}\b", source), name
    for module in (fastbp.schedules, fastbp.callbacks, fastbp.optimizers):
        for name, thing in vars(module).items():
            if isinstance(thing, type) and thing.__module__ == module.__name__ and not name.startswith("_"):
                assert name in ("Schedule", "Callback") or re.search(rf"\b{name}\b", source), name


def test_good_calls_are_taken():
    """The makers' good arguments are accepted"""
    core, estimators = makers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(400):
            rng = np.random.default_rng([19, i])
            pool = estimators if estimators and i % 8 == 0 else core
            function, good, _, _ = pool[rng.integers(len(pool))](rng)
            if good and good.get("path") is None:
                function(**good)


def test_a_fault_is_found_by_these_calls():
    """A call that is accepted, refused for something else, refused too late or fails otherwise is reported"""
    net = fastbp.Network([2, 1], seed=0)

    def changes(n):
        net.theta[0] += 1
        raise ValueError("n is bad")

    def fails(n):
        raise IndexError("n")

    def elsewhere(n):
        raise ValueError("number")

    def right(n):
        raise ValueError("n must be 3")

    kinds = {"n": lambda rng: 3}
    for function, words in ((changes, "has changed"), (fails, "IndexError"), (elsewhere, "not named"),
                            (lambda n: None, "accepted")):
        assert words in bad_calls.fault(function, {}, kinds, [net], np.random.default_rng(0))
    assert bad_calls.fault(right, {}, kinds, [net], np.random.default_rng(0)) is None
