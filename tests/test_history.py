"""The history as an object, a table, a state and a line."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers import problem

import fastbp


@pytest.fixture
def history():
    p = problem((4, 6, 3), "tanh", "softmax", m=40)
    net = p.network()
    return fastbp.train(net, p.X, p.labels, epochs=3, validation_split=0.25, metrics=["mse"], seed=0,
                        callbacks=[lambda training: training.epoch == 3 and training.stop("enough")])  # fmt: skip


def test_columns_are_one_value_an_epoch_by_name(history):
    assert list(history.columns) == ["J", "val_J", "val_accuracy", "mse", "val_mse", "seconds"]
    assert {len(values) for values in history.columns.values()} == {3}
    assert history["mse"] is history.metrics["mse"]
    with pytest.raises(KeyError, match="val_mse"):
        history["nonsense"]
    assert "mse" in repr(history)
    assert "enough" in repr(history)


def test_what_a_history_lacks_is_not_shown():
    assert repr(fastbp.History()) == "History(0 epochs)"
    assert repr(fastbp.History(J=[2.0, 0.5], seconds=[1.0, 1.0])) == "History(2 epochs, J 2 -> 0.5)"
    assert repr(fastbp.History(J=[2.0], val_J=[3.0], val_accuracy=[0.5], metrics={"mae": [1.5], "r2": []})) == (
        "History(1 epochs, J 2 -> 2, val_J 3, val_accuracy 0.5000, mae 1.5)")


def test_history_becomes_a_table(history):
    pytest.importorskip("pandas")
    frame = history.to_frame()
    assert list(frame.columns) == list(history.columns)
    assert list(frame.index) == [1, 2, 3]
    assert frame.index.name == "epoch"
    np.testing.assert_array_equal(frame["val_J"], history.val_J)


@pytest.mark.parametrize(("call", "module"), [("to_frame", "pandas"), ("plot", "matplotlib")])
def test_what_is_missing_is_named(call, module):
    code = f"import sys; sys.modules['{module}'] = None\nimport fastbp\nh = fastbp.History(J=[1.0], seconds=[1.0])\n"
    code += f"try:\n    h.{call}()\nexcept ImportError as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert module in done.stdout
    assert "pip install" in done.stdout


def test_state_is_what_json_holds_and_makes_the_history_again(history):
    twin = fastbp.History(**json.loads(json.dumps(history.state())))
    assert twin == history
    history.J.append(0.0)
    assert twin != history


def test_a_line_is_of_the_last_epoch():
    history = fastbp.History(J=[4.0, 3.0, 2.0], val_J=[5.0, 6.0, 7.0], val_accuracy=[0.1, 0.2, 0.25],
                             seconds=[1.0, 4.0, 2.0], examples=100, metrics={"mae": [0.5, 0.75, 0.875], "mse": []})
    assert history.line() == (
        "J 2.00000, val_J 7.00000, val_accuracy 25.00 %, mae 0.875, 50 examples/s")
