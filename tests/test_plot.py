"""Plots: the Axes show the network's values; bad input is refused."""

import subprocess
import sys

import numpy as np
import pytest
from test_checks import refused

import fastbp

plot = pytest.importorskip("fastbp.plot", exc_type=ImportError)
QuadContourSet = pytest.importorskip("matplotlib.contour").QuadContourSet
X, Y = np.random.default_rng(0).standard_normal((40, 2)), np.arange(40) % 3


def network(K=3, inputs=2):
    output = "softmax" if K > 1 else "sigmoid"
    return fastbp.Network([inputs, 6, K], activation="tanh", output=output, seed=0)


def test_learning_curve_shows_the_histories_values_and_the_best_epoch():
    net = network()
    history = fastbp.train(net, X, Y, epochs=12, validation_split=0.3, metrics=["accuracy", "mse"], seed=0)
    ax = history.plot()
    lines = {line.get_label(): line for line in [*ax.get_lines(), *ax.figure.axes[-1].get_lines()]}
    for label, name in [("J, training", "J"), ("cost, validation", "val_J"), ("accuracy, training", "accuracy"),
                        ("accuracy, validation", "val_accuracy")]:  # fmt: skip
        np.testing.assert_array_equal(lines[label].get_ydata(), history[name])
        np.testing.assert_array_equal(lines[label].get_xdata(), np.arange(1, 13))
    best = 1 + int(np.argmin(history.val_J))
    assert lines[f"lowest, epoch {best}"].get_xdata() == [best]


def test_costs_are_drawn_from_0_on_a_linear_scale_unless_log_is_asked_for():
    for J in [9.0, 3.1], [9.0, 2.9], [9.0, 0.0], [9.0, -1.0]:
        assert fastbp.History(J=J, seconds=[1.0, 1.0]).plot().get_yscale() == "linear"
        assert (fastbp.History(J=J, seconds=[1.0, 1.0]).plot().get_ylim()[0] == 0) == (min(J) >= 0)
    assert fastbp.History(J=[9.0, 2.9], seconds=[1.0, 1.0]).plot(log=True).get_yscale() == "log"
    for J in [9.0, 0.0], [9.0, -1.0]:
        with pytest.raises(ValueError, match="log=True needs costs above 0"):
            fastbp.History(J=J, seconds=[1.0, 1.0]).plot(log=True)


def test_the_legend_of_a_learning_curve_hides_nothing():
    history = fastbp.train(network(), X, Y, epochs=12, validation_split=0.3, metrics=["accuracy"], seed=0)
    ax = history.plot()
    ax.figure.draw_without_rendering()
    assert not ax.get_legend().get_window_extent().overlaps(ax.get_window_extent())
    assert ax.get_legend().get_window_extent().ymin >= 0
    assert len(ax.get_legend().get_texts()) == 5
    assert all(tick == int(tick) for tick in ax.get_xticks())


def test_first_layer_images_are_the_weights_row_by_row():
    net = network(inputs=6)
    page = plot.first_layer_images(net, (2, 3), columns=4).get_images()[0].get_array()
    assert page.shape == (5, 15)
    for i in range(6):
        top, left = i // 4 * 3, i % 4 * 4
        np.testing.assert_array_equal(page[top : top + 2, left : left + 3], net.Theta[0][i, 1:].reshape(2, 3))
    assert page.mask.sum() == 5 * 15 - 36


def test_decision_boundary_of_one_output_is_the_networks_level():
    net = network(1)
    ax = plot.decision_boundary(net, X, Y % 2, points=30)
    level = ax.get_images()[0].get_array()
    u, v = np.linspace(*ax.get_xlim(), 30), np.linspace(*ax.get_ylim(), 30)
    np.testing.assert_allclose(level[4, 7], net.predict(np.array([u[7], v[4]]))[0], rtol=1e-12)
    assert sum(len(scatter.get_offsets()) for scatter in ax.collections if len(scatter.get_offsets()) > 1) == 40


def test_decision_boundary_of_classes_has_the_colour_of_the_largest_output():
    net = network()
    fastbp.train(net, X, np.where(X[:, 0] > 0, 2, 0), epochs=50, optimizer=fastbp.Adam(0.05), seed=0)
    page = plot.decision_boundary(net, X, Y, points=20).get_images()[0].get_array()
    colours = plot._colours(3)
    for column, k in ((0, 0), (19, 2)):
        tint = 1 - page[10, column]
        assert np.argmin([np.linalg.norm(tint / np.linalg.norm(tint) - (1 - c) / np.linalg.norm(1 - c))
                          for c in colours]) == k  # fmt: skip


def test_decision_boundary_of_targets_shows_them_on_the_scale_of_the_level():
    net = fastbp.Network([2, 6, 1], activation="tanh", output="identity", loss="squared_error", seed=0)
    T = X[:, :1] * X[:, 1:]
    ax = plot.decision_boundary(net, X, T, points=30)
    points = next(each for each in ax.collections if len(each.get_offsets()) == 40)
    np.testing.assert_array_equal(points.get_array(), T[:, 0])
    assert points.get_clim() == ax.get_images()[0].get_clim() == (T.min(), T.max())
    assert ax.get_legend() is None


def test_examples_have_the_colour_of_their_class():
    ax = plot.decision_boundary(network(), X, np.where(Y == 1, 0, Y), points=10)     # no example in class 1
    points = {each.get_label(): each for each in ax.collections if each.get_label()[0] != "_"}
    assert points.keys() == {"0", "2"}
    for label, each in points.items():
        np.testing.assert_allclose(each.get_facecolor()[0, :3], plot._colours(3)[int(label)])


def test_decision_boundary_shows_the_examples_of_every_class():
    net, y = network(K=14), np.arange(40) % 14
    ax = plot.decision_boundary(net, X, y, points=20)
    assert sum(len(each.get_offsets()) for each in ax.collections if each.get_label()[0] != "_") == 40


def test_where_an_output_is_on_one_side_of_the_middle_there_is_no_line():
    net = network(1)
    net.Theta[-1][:, 0] = 30.0
    lines = [sum(isinstance(each, QuadContourSet) for each in plot.decision_boundary(n, X, Y % 2, points=9).collections)
             for n in (net, network(1))]
    assert lines == [0, 1]


@pytest.mark.parametrize(("K", "ticks", "numbers"), [(20, True, True), (21, False, True), (30, False, True),
                                                     (31, False, False)])
def test_a_confusion_matrix_of_many_classes_has_room_for_what_it_shows(K, ticks, numbers):
    y = np.arange(40) % K
    ax = plot.confusion_matrix(network(K), X, y)
    assert (list(ax.get_xticks()) == list(range(K))) == (list(ax.get_yticks()) == list(range(K))) == ticks
    assert bool(ax.texts) == numbers
    assert ax.get_images()[0].get_array().shape == (K, K)


@pytest.mark.parametrize("K", [1, 3])
def test_confusion_matrix_counts_true_by_predicted(K):
    net, y, n = network(K), Y if K > 1 else Y % 2, max(K, 2)
    h = net.predict(X)
    said = h.argmax(axis=1) if K > 1 else (h[:, 0] >= 0.5).astype(int)
    ax = plot.confusion_matrix(net, X, y, names=list("abc")[:n])
    shown = {text.get_position(): int(text.get_text()) for text in ax.texts}
    counts = {(j, i): int(((y == i) & (said == j)).sum()) for i in range(n) for j in range(n)}
    expected = {cell: count for cell, count in counts.items() if count}
    assert shown == expected
    assert ax.get_title() == f"{100 * (said == y).mean():.1f} % right"


def test_a_notebook_shows_the_axes_of_a_new_figure():
    ax = plot.learning_curve(fastbp.History(J=[2.0, 1.0], seconds=[1.0, 1.0]))
    assert ax._repr_png_().startswith(b"\x89PNG")


def test_pictures_come_with_fastbp_where_they_are_asked_for():
    code = "import sys, fastbp\nassert 'matplotlib' not in sys.modules\nprint(fastbp.plot.learning_curve)\n"
    code += "try:\n    fastbp.nonsense\nexcept AttributeError as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "learning_curve" in done.stdout
    assert "nonsense" in done.stdout


def test_pictures_go_into_given_axes_and_leave_pyplot_alone(tmp_path):
    code = """
import sys, numpy as np, fastbp
from matplotlib.figure import Figure
from fastbp import plot
X, y = np.random.default_rng(0).standard_normal((40, 2)), np.arange(40) % 3
net = fastbp.Network([2, 6, 3], output="softmax", seed=0)
history = fastbp.train(net, X, y, epochs=2)
figure = Figure()
a, b, c, d = figure.subplots(1, 4)
assert plot.learning_curve(history, a) is a and plot.first_layer_images(net, (1, 2), ax=b) is b
assert plot.decision_boundary(net, X, y, c) is c and plot.confusion_matrix(net, X, y, d) is d
figure.savefig(sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path / "a.png")], check=True, timeout=60)


def test_what_cannot_be_drawn_is_refused():
    net = network()
    for action, pattern in [
        (lambda: plot.learning_curve(fastbp.History()), "history"),
        (lambda: plot.first_layer_images(net, (2, 2)), "shape"),
        (lambda: plot.decision_boundary(network(inputs=3), X, Y), "2 inputs"),
        (lambda: plot.decision_boundary(net, X[:, :1], Y), "X"),
        (lambda: plot.decision_boundary(net, X, Y[:9]), r"\by\b"),
        (lambda: plot.decision_boundary(net, X, Y + 1), r"\by\b.*0 to 2"),
        (lambda: plot.decision_boundary(net, X, Y - 0.5), r"\by\b.*0 to 2"),
        (lambda: plot.confusion_matrix(net, X, Y + 1), r"\by\b"),
        (lambda: plot.confusion_matrix(net, X, Y, names=["a"]), "names"),
    ]:
        refused(action, pattern)
