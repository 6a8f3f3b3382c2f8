"""Files of estimators: damage is found; files with a right checksum and wrong contents are refused or harmless."""

import copy
import io
import itertools
import json
import warnings

import numpy as np
import pytest
from test_forged_checkpoints import LESS, MORE, ODD, odd_arrays, places, replaced

sklearn = pytest.importorskip("sklearn", minversion="1.7")

import fastbp  # noqa: E402
from fastbp.files import container, estimator  # noqa: E402
from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402
from fastbp.tabular import TabularClassifier, TabularPreparation, TabularRegressor  # noqa: E402

ROWS = np.array([[1.5, "a", 0, "2024-01-01"], [2.5, "b", 1, "2024-03-01"], [None, "c", 1, "2024-09-01"],
                 [4.0, "a", 7, "2024-12-02"]] * 4, dtype=object)
NUMBERS = np.random.default_rng(0).normal(size=(16, 3))
WORDS, VALUES = np.array(["no", "yes", "may", "no"] * 4), np.arange(16.0) % 5


@pytest.fixture
def path(quick_folder):
    return quick_folder / "e"


def made():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solver = fastbp.SGD(fastbp.schedules.Cosine(0.1, 10), momentum=0.5)
        return {
            "TabularClassifier": (TabularClassifier(2, epochs=1, class_weight={"no": 2}).fit(ROWS, WORDS), ROWS),
            "TabularRegressor": (TabularRegressor(2, epochs=1, random_state=0).fit(ROWS, VALUES), ROWS),
            "TabularPreparation": (TabularPreparation(3).fit(ROWS), ROWS),
            "MLPClassifier": (MLPClassifier((2,), max_iter=2, random_state=0).fit(NUMBERS, WORDS), NUMBERS),
            "MLPRegressor": (
                MLPRegressor(hidden_layer_sizes=(2,), solver=solver, max_iter=2).fit(NUMBERS, VALUES), NUMBERS),
        }


ESTIMATORS = made()


def used(path, rows):
    """Load the estimator and call all its methods; returns True if it was refused"""
    try:
        loaded = fastbp.load(path)
    except fastbp.FormatError as error:
        said = str(error)
    else:
        return asked(loaded, rows)
    assert said.startswith(str(path))
    return True


def asked(loaded, rows):
    """Call its methods; returns False"""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name in ("predict", "predict_proba", "predict_interval", "transform", "get_feature_names_out", "summary"):
            if hasattr(loaded, name):
                answer = getattr(loaded, name)(*([] if name in ("get_feature_names_out", "summary") else [rows]))
                assert name in ("get_feature_names_out", "summary") or len(answer) == len(rows)
        repr(loaded)
    return False


def forged(path, arrays, meta, described):
    text = np.frombuffer(json.dumps(described).encode(), np.uint8)
    container.write(path, {**arrays, estimator.TEXT: text}, meta)


@pytest.mark.parametrize("stride", [16, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_fault_43_a_forged_estimator_is_refused_or_harmless(path, name, stride):
    model, rows = ESTIMATORS[name]
    fastbp.save(path, model)
    arrays, meta = container.read(path)
    assert not used(path, rows)
    described = json.loads(arrays[estimator.TEXT].tobytes())
    tried = found = 0
    for what in (described, meta):
        tries = itertools.product(list(places(what))[1:], (*ODD, LESS, MORE))
        for place, value in itertools.islice(tries, 0, None, stride):
            other = replaced(what, place, value)
            if other == what:
                continue
            pair = (meta, other) if what is described else (other, described)
            forged(path, arrays, *pair)
            tried, found = tried + 1, found + used(path, rows)
    for key, a in arrays.items():
        with np.errstate(over="ignore"):
            odd = list(odd_arrays(a))
        for other in ({}, {"more": a}, *({key: each} for each in odd)):
            container.write(path, {**{n: b for n, b in arrays.items() if n != key or "more" in other}, **other}, meta)
            tried, found = tried + 1, found + used(path, rows)
    assert tried > 400 / stride
    assert found > 0.6 * tried      # the rest are other valid values


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fault_43_damage_to_a_file_of_an_estimator_is_found(name, path):
    fastbp.save(path, ESTIMATORS[name][0])
    data = path.read_bytes()
    for i in range(0, len(data), max(1, len(data) // 500)):
        changed = bytearray(data)
        changed[i] ^= 1 << i % 8
        for bad in (bytes(changed), data[:i], data[:i] + b"\0" + data[i:]):
            with pytest.raises(fastbp.FormatError):
                container.parse(io.BytesIO(bad), len(bad))
    path.write_bytes(data[:-1])
    with pytest.raises(fastbp.FormatError, match=str(path)):
        fastbp.load(path)


def change(described, *place, to):
    part = described
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = to


def column(described, j, **changes):
    described["kept"]["dict"]["preparation"][2]["dict"]["columns"][j]["dict"].update(changes)


SAID = {
    ("TabularClassifier", "must have the fields"): lambda d: d["kept"]["dict"].update(more=1),
    ("TabularClassifier", "parameters must have the fields"): lambda d: d["parameters"].pop("epochs"),
    ("TabularClassifier", "'n_estimators' parameter"): lambda d: change(d, "parameters", "n_estimators", to=0),
    ("TabularClassifier", "temperature is -1.0"): lambda d: d["kept"]["dict"].update(temperature=-1.0),
    ("TabularClassifier", "each once"): lambda d: change(d, "kept", "dict", "classes", "dict", "labels", to=["a", "a"]),
    ("TabularClassifier", "dtype is 'U5'"): lambda d: change(d, "kept", "dict", "classes", "dict", "dtype", to="U5"),
    ("TabularClassifier", "3 inputs|inputs and 3 outputs"): lambda d: column(d, 1, levels=["a", "b"]),
    ("TabularClassifier", "levels must be at least two"): lambda d: column(d, 1, levels=["a"]),
    ("TabularClassifier", "no such parts"): lambda d: column(d, 3, parts=["weekday", "year"]),
    ("TabularClassifier", "form is 'x'"): lambda d: column(d, 0, form="x"),
    ("TabularClassifier", "median is"): lambda d: column(d, 0, median={"float": "nan"}),
    ("TabularRegressor", "best_epochs must be"): lambda d: d["kept"]["dict"].update(best_epochs=[0, 1]),
    ("TabularRegressor", "is_flat is 1"): lambda d: d["kept"]["dict"].update(is_flat=1),
    ("MLPClassifier", "the parameters ask for"): lambda d: change(d, "parameters", "activation", to="tanh"),
    ("MLPClassifier", "target is 'x'"): lambda d: d["kept"]["dict"].update(target="x"),
    ("MLPClassifier", "_no_improvement_count"): lambda d: d["kept"]["dict"].update(counts=[1, 2]),
    ("MLPRegressor", "is none of"): lambda d: change(d, "parameters", "solver", "object", 0, to="os.system"),
    ("MLPRegressor", "momentum"): lambda d: change(d, "parameters", "solver", "object", 1, "momentum", to=-1.0),
    ("MLPRegressor", "n_features"): lambda d: d["kept"]["dict"].update(n_features=0),
}


@pytest.mark.parametrize(("name", "said"), SAID)
def test_fault_43_what_is_wrong_with_an_estimator_is_said_with_the_path(path, name, said):
    fastbp.save(path, ESTIMATORS[name][0])
    arrays, meta = container.read(path)
    described = copy.deepcopy(json.loads(arrays[estimator.TEXT].tobytes()))
    SAID[name, said](described)
    forged(path, arrays, meta, described)
    with pytest.raises(fastbp.FormatError, match=f"(?s)^{path}: .*({said})"):
        fastbp.load(path)


@pytest.mark.parametrize(("changes", "said"), [
    ({"version": 2}, "version is 2; this version of fastbp reads 1"), ({"version": True}, "version is True"),
    ({"class": "LogisticRegression"}, "class is 'LogisticRegression'; accepted are MLPClassifier"),
    ({"class": "TabularPreparation"}, "parameters must have"), ({"networks": {}}, "networks must be a list"),
    ({"networks": []}, "these arrays belong to no value"), ({"more": 1}, "must have the fields class, kind, networks"),
])
def test_fault_43_a_header_of_no_estimator_is_refused(path, changes, said):
    fastbp.save(path, ESTIMATORS["MLPClassifier"][0])
    arrays, meta = container.read(path)
    container.write(path, arrays, {**meta, **changes})
    with pytest.raises(fastbp.FormatError, match=said):
        fastbp.load(path)


def test_fault_41_a_file_names_no_class_to_import(path):
    """Only classes of a fixed list are made, whatever the file says"""
    fastbp.save(path, ESTIMATORS["MLPRegressor"][0])
    arrays, meta = container.read(path)
    for name in ("os.system", "fastbp.optimizers.SGD", "builtins.eval", "__import__"):
        container.write(path, arrays, {**meta, "class": name})
        with pytest.raises(fastbp.FormatError, match="class is"):
            fastbp.load(path)
