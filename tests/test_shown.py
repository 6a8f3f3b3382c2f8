"""Representations of objects, and messages about text in place of numbers."""

import datetime
import html.parser
import pydoc
import subprocess
import sys

import numpy as np
import pytest

import fastbp
from fastbp import callbacks
from fastbp import html as tables
from fastbp.__main__ import arguments

X, Y = np.arange(8.0).reshape(4, 2), np.array([0.0, 1, 1, 0])
LABELS = np.array(["cat", "dog", "cat", "dog"])


def said(call, kind=TypeError):
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def net(**settings):
    return fastbp.Network([2, 3, 1], seed=0, **settings)


# ---------------------------------------------------------------- text

@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(object), list(LABELS), LABELS.astype("S3")])
def test_fault_79_words_as_labels_point_to_codes_and_the_estimators(labels):
    for K in (1, 2):
        model = fastbp.Network([2, K], seed=0)
        text = said(lambda model=model: fastbp.train(model, X, labels, epochs=1))
        assert text.startswith("Y must hold real numbers; got dtype ")
        assert "Y[0] is " in text
        assert "cat" in text
        assert "np.unique(Y, return_inverse=True)[1]; fastbp.sklearn.MLPClassifier takes any labels" in text
    codes = np.unique(labels, return_inverse=True)[1]
    assert fastbp.train(fastbp.Network([2, 2], seed=0), X, codes, epochs=1)
    assert "fastbp.sklearn" in said(lambda: fastbp.metrics.accuracy(np.ones((4, 2)), labels))


def test_fault_79_bytes_as_labels_are_not_sent_to_estimators_that_refuse_them():
    assert said(lambda: net().cost(X, LABELS.astype("S3"))).endswith("takes any labels of numbers or str, not bytes")
    assert said(lambda: net().cost(X, LABELS)).endswith("takes any labels")


@pytest.mark.parametrize("K", [1, 2])
def test_fault_79_labels_that_are_digits_are_told_how_to_become_integers(K):
    """Float labels would be refused at the second try"""
    model, codes = fastbp.Network([2, K], seed=0), np.array([0, 1, 1, 0])
    for odd in (codes.astype(str), codes.astype("S1"), codes.astype(object), codes.astype(str).astype(object)):
        assert said(lambda odd=odd: model.cost(X, odd)).endswith("but its values are numbers; pass Y.astype(int)")
        assert model.cost(X, odd.astype(int)) == model.cost(X, codes)
    assert said(lambda: model.cost(X, ["0", "1", "1", "0"])).endswith("pass np.asarray(Y, int)")
    for odd in (["0", "1.5", "1", "0"], ["0", 1.0, 1, "0"], ["0", "1e30", "1", "0"]):
        assert said(lambda odd=odd: model.cost(X, np.array(odd, object))).endswith("pass Y.astype(float)")


def test_fault_79_numbers_as_text_or_as_objects_are_told_how_to_become_numbers():
    for odd in (Y.astype(str), Y.astype(object), np.array([True, 0.5, np.float32(1), np.False_], object)):
        assert said(lambda odd=odd: net().cost(X, odd)).endswith("but its values are numbers; pass Y.astype(float)")
        assert np.isfinite(odd.astype(float)).all()
    for odd in ([["1", "2.5"]], [[b"1", b"2"]], (("1", 2.0),)):     # lists have no astype
        text = said(lambda odd=odd: net().predict(odd))
        assert f"X[0, 0] is {odd[0][0]!r}, but its values are numbers" in text
        assert text.endswith("pass np.asarray(X, float)")
        assert net().predict(np.asarray(odd, float)).shape == (1, 1)
    polars = pytest.importorskip("polars")
    text = said(lambda: net().predict(polars.DataFrame({"a": ["1"], "b": ["2"]})))
    assert text.endswith("pass np.asarray(X, float)")
    assert said(lambda: net().predict(np.empty((0, 2), object))) == "X must hold real numbers; got dtype object"


def test_fault_79_a_column_of_text_is_named():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"age": [1.0, 2, 3, 4], "city": ["Ulm", "Bonn", "Ulm", "Bonn"]})
    for call in (net().predict, lambda X: fastbp.train(net(), X, Y, epochs=1), fastbp.Standardise):
        text = said(lambda call=call: call(frame))
        assert "X must hold real numbers; got dtype " in text
        assert "column 'city' is not of numbers, X[0, 1] is 'Ulm'; encode it as numbers first" in text
    missing = frame.assign(city=pandas.array([1, None, 3, 4], dtype="Int64"))
    assert "column 'city' is not of numbers, X[1, 1] is <NA>" in said(lambda: net().predict(missing))
    when = frame.assign(age=pandas.Timestamp("2020-01-01"))
    assert "column 'age' is not of numbers, X[0, 0] is Timestamp" in said(lambda: net().predict(when))
    flags = frame.assign(city=[True, False, True, False])
    assert "pass X.astype(float)" in said(lambda: net().predict(flags))
    assert net().predict(flags.astype(float)).shape == (4, 1)
    answers = frame["city"].astype("category")
    assert "Y[0] is 'Ulm'; labels must be" in said(lambda: net().cost(X, answers))


def test_fault_79_a_column_of_text_is_named_in_polars_too():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"city": ["Ulm", "Bonn"], "age": [1.0, 2.0]})
    assert "column 'city' is not of numbers, X[0, 0] is 'Ulm'" in said(lambda: net().predict(frame))


def test_fault_79_text_in_lists_and_other_objects_name_the_cell():
    assert "X[1, 0] is 'b'" in said(lambda: net().predict(np.array([[1.0, 2], ["b", 3]], object)))
    assert "init[0] must hold real numbers" in said(lambda: net(init=[[["a"] * 3] * 3, [[0.0] * 4]]))
    day = np.array([[datetime.date(2020, 1, 1), 1.0]], object)
    assert said(lambda: net().predict(day)).endswith("X[0, 0] is datetime.date(2020, 1, 1)")
    assert said(lambda: net().predict(np.array(datetime.date(2020, 1, 1)))).endswith(
        "it is datetime.date(2020, 1, 1)")
    assert said(lambda: net().predict(X.astype(complex))) == "X must hold real numbers; got dtype complex128"


# ---------------------------------------------------------------- the package

def python(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)


def test_fault_79_the_estimators_are_imported_where_they_are_asked_for():
    pytest.importorskip("sklearn")
    done = python("import fastbp, sys; assert 'sklearn' not in sys.modules and 'sklearn' not in dir(fastbp)\n"
                  "assert fastbp.sklearn.MLPRegressor().loss == 'squared_error' and 'sklearn' in dir(fastbp)")
    assert done.returncode == 0, done.stderr


def test_fault_79_without_scikit_learn_the_error_says_what_to_install():
    done = python("import sys; sys.modules['sklearn'] = None; import fastbp; help(fastbp); fastbp.sklearn")
    last = done.stderr.splitlines()[-1]
    assert last == "ImportError: fastbp.sklearn needs scikit-learn 1.7 or newer: pip install 'fastbp[sklearn]'"


def test_fault_79_dir_and_help_show_what_is_public_and_where_to_begin():
    optional = {"curvature", "plot", "sklearn", "tabular"}      # imported at first use
    assert {*dir(fastbp)} - {*optional, "__doc__", "__file__", "__name__", "__path__"} == {*fastbp.__all__}
    text = pydoc.render_doc(fastbp, renderer=pydoc.plaintext)
    assert "Begin with `help(fastbp.Network)`" in text
    assert 'output="identity"' in text
    for name in set(fastbp.__all__) - {"Evaluation", "GradientCheck", "__version__"}:
        assert f"`{name}`" in fastbp.__doc__, name


@pytest.mark.parametrize(("name", "place"), [
    ("EarlyStopping", "fastbp.callbacks"), ("Nadam", "fastbp.optimizers"), ("Cosine", "fastbp.schedules"),
    ("load_digits", "fastbp.datasets"), ("r2", "fastbp.metrics"), ("MLPClassifier", "fastbp.sklearn"),
])
def test_fault_79_names_that_are_elsewhere_say_where(name, place):
    text = said(lambda: getattr(fastbp, name), AttributeError)
    assert text == f"module 'fastbp' has no attribute {name!r}; there is {place}.{name}"
    assert said(lambda: fastbp.fit, AttributeError) == "module 'fastbp' has no attribute 'fit'"


def test_fault_79_the_help_of_the_program_tells_its_defaults(capsys):
    with pytest.raises(SystemExit):
        arguments(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "None" not in text
    assert "(default: 0.002 for adam, 0.05 for sgd, which has momentum 0.9)" in text
    assert "(default: 0)" in text
    assert text.count("(default: ") == 11


# ---------------------------------------------------------------- representations

def test_fault_79_a_trainer_shows_network_optimizer_settings_and_steps():
    trainer = fastbp.Trainer(net(), fastbp.SGD(0.1), weight_decay=0.01, clip_norm=1.0, dropout=0.5, seed=0)
    trainer.step(X, Y)
    assert repr(trainer) == (f"<Trainer({trainer.net!r}, SGD(learning_rate=0.1, momentum=0.0, nesterov=False), "
                             "weight_decay=0.01, clip_norm=1.0, dropout=(0.0, 0.5)) after 1 steps>")

    class Still:
        def init(self, theta):
            return None

        def update(self, theta, D, state):
            pass

        def __repr__(self):
            return "Still()"

    assert repr(fastbp.Trainer(net(), Still())) == f"<Trainer({net()!r}, Still())>"


def test_fault_79_callbacks_data_and_a_running_training_show_what_they_are():
    class Mine(callbacks.Callback):
        pass

    stopping = callbacks.EarlyStopping("J", patience=3)
    seen = []
    fastbp.train(net(), X, Y, epochs=2, callbacks=[stopping, lambda training: seen.append(repr(training))])
    assert repr(stopping) == "EarlyStopping(monitor='J', patience=3, min_delta=0.0, restore_best=True)"
    assert repr(Mine()) == "Mine()"
    assert seen[0].startswith(f"<Training of {net()!r}, epoch 1 of 2, J ")
    assert repr(net().data(X, Y)) == "<Data: 4 examples (4, 2), targets (4, 1)>"
    labelled = fastbp.Network([2, 3], output="softmax").data(X, [0, 1, 2, 0], np.ones(4))
    assert repr(labelled) == "<Data: 4 examples (4, 2), labels, weights>"
    assert repr(net().evaluate(X, Y)).startswith("Evaluation(cost=")


class Cells(html.parser.HTMLParser):
    """The text of the cells by rows, and the caption; checks that all tags close"""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.caption = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert tag in {"table", "caption", "thead", "tbody", "tr", "th", "td"}
        assert all("color" not in value for _, value in attrs)      # dark and light pages
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] == "caption":
            self.caption += data
        else:
            self.rows[-1][-1] += data


def test_fault_79_a_network_is_a_table_in_a_notebook():
    cells = Cells(fastbp.Network([4, 1000, 1], activation="relu", loss="huber", dtype="f4")._repr_html_())
    assert cells.caption == "Network: huber (huber_delta 1), 6,001 parameters, float32"
    assert cells.rows == [
        ["layer", "units", "function", "Theta", "parameters"], ["1", "4", "input", "", ""],
        ["2", "1000", "relu", "1000 × 5", "5,000"], ["3", "1", "identity", "1 × 1001", "1,001"]]


def test_fault_79_a_history_is_a_table_in_a_notebook_and_text_is_escaped():
    def odd(h, Y):
        return 0.5

    odd.__name__ = "<b>&odd"
    history = fastbp.train(net(), X, Y, epochs=3, metrics=[odd],
                           callbacks=[lambda t: t.stop("<script>") if t.epoch == 2 else None])
    cells = Cells(history._repr_html_())
    assert cells.caption == "History: 2 epochs, stopped: <script>"
    assert cells.rows[0] == ["epoch", "J", "<b>&odd", "seconds"]
    assert [row[0] for row in cells.rows[1:]] == ["1", "2"]
    assert cells.rows[2][1:3] == [f"{history.J[1]:.5g}", "0.5"]


def test_fault_79_a_long_history_shows_its_ends_and_an_empty_one_its_names():
    history = fastbp.History(J=[1.0 / k for k in range(1, 101)], seconds=[0.1] * 100, val_J=[1.0])
    rows = Cells(history._repr_html_()).rows
    assert [row[0] for row in rows[1:]] == [*"12345", "…", "96", "97", "98", "99", "100"]
    assert rows[1][2] == "1"
    assert rows[-1][2] == ""
    assert len(Cells(fastbp.History(J=[1.0] * tables.MOST, seconds=[1.0] * tables.MOST)._repr_html_()).rows) == 13
    assert Cells(fastbp.History()._repr_html_()).rows == [["epoch", "J", "seconds"]]
