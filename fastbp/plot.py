"""Plots of training runs and networks: each function draws into `ax`, or a new figure, and returns the Axes.

The module needs matplotlib (pip install 'fastbp[plot]'). It does not use pyplot: a notebook shows a new figure if the
cell ends with the Axes, and ``ax.figure.savefig(path)`` saves it.
"""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._types import Count, Course, Doubles, Flag
from .engine import checks, classes
from .metrics import HIGHER
from .network import Network

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import ScaledTranslation
except ImportError as error:
    raise ImportError("fastbp.plot needs matplotlib (pip install 'fastbp[plot]')") from error

__all__ = ["confusion_matrix", "decision_boundary", "first_layer_images", "learning_curve"]

BLUE, ORANGE, GREEN = "#2b6cb0", "#dd6b20", "#2f855a"
MANY = 10  # classes that a legend names


class _Picture(Axes):
    """Axes of a new figure; a notebook shows the whole figure, even without pyplot."""

    def _repr_png_(self) -> bytes:
        figure: Any = self.figure
        page = io.BytesIO()
        figure.savefig(page, format="png")
        return page.getvalue()


def _axes(ax: Axes | None, figsize: tuple[float, float]) -> Axes:
    return Figure(figsize=figsize, layout="constrained").add_subplot(axes_class=_Picture) if ax is None else ax


def learning_curve(history: Course, ax: Axes | None = None, log: Flag = False) -> Axes:
    """J and the validation cost by epoch; accuracies and r2 have a second scale.

    The legend is below the Axes and hides nothing; if the figure has no layout engine, it is inside.

    Parameters
    ----------
    history : History
    ax : matplotlib Axes, optional
    log : bool
        True shows the costs on a logarithmic scale; all must be above 0. False: the scale is linear and begins at 0.

    Returns
    -------
    Axes
        The Axes of the costs; the second scale is ``ax.figure.axes[-1]``.

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    fastbp.History.plot

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> net = fastbp.Network([2, 4, 1], activation="tanh", seed=0)
    >>> X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    >>> history = fastbp.train(net, X, y, epochs=20, seed=0)
    >>> ax = fastbp.plot.learning_curve(history)
    >>> ax.figure.savefig("curve.png")
    """
    if not len(history):
        raise ValueError("history has 0 epochs; there is nothing to draw")
    ax, epochs = _axes(ax, (7, 4.4)), np.arange(1, len(history) + 1)
    marker = "o" if len(history) < 10 else ""
    ax.plot(epochs, history.J, color=BLUE, marker=marker, label="J, training")
    costs = list(history.J)
    if history.val_J:
        ax.plot(epochs, history.val_J, color=ORANGE, marker=marker, label="cost, validation")
        best = int(np.argmin(history.val_J))
        ax.plot(epochs[best], history.val_J[best], "o", color=ORANGE, markersize=8, markerfacecolor="white",
                markeredgewidth=1.5, label=f"lowest, epoch {best + 1}", zorder=3)
        costs += history.val_J
    if checks.flag(log, "log") and not min(costs) > 0:
        raise ValueError(f"log=True needs costs above 0; the smallest is {min(costs):g}")
    ax.set(xlabel="epoch", ylabel="cost", yscale="log" if log else "linear")
    if not log and min(costs) >= 0:
        ax.set_ylim(bottom=0)
    ticks: Any = ax.xaxis.get_major_locator()
    ticks.set_params(integer=True, min_n_ticks=1)
    ax.grid(alpha=0.25)
    lines = ax.get_lines()
    scores = {name: values for name, values in history.columns.items() if name.removeprefix("val_") in HIGHER}
    if scores:
        right, floor = ax.twinx(), min(min(values) for values in scores.values())
        for (name, values), style in zip(scores.items(), ("--", ":", "-.", (0, (1, 3))) * 2, strict=False):
            of = "validation" if name.startswith("val_") else "training"
            lines += right.plot(epochs, values, color=GREEN, linestyle=style, marker=marker,
                                label=f"{name.removeprefix('val_').replace('_', ' ')}, {of}")
        right.set(ylabel=" and ".join(dict.fromkeys(name.removeprefix("val_").replace("_", " ") for name in scores)),
                  ylim=(max(-1.0, floor - 0.05 * (1 - floor) - 0.002), 1.002))
    # below the ticks and the label of the axis
    below: dict[str, Any] = {} if ax.figure.get_layout_engine() is None else {
        "loc": "upper center", "ncols": 2 if len(lines) == 4 else 3, "frameon": False, "bbox_to_anchor": (0.5, 0),
        "bbox_transform": ax.transAxes + ScaledTranslation(0, -34 / 72, ax.figure.dpi_scale_trans),
    }  # fmt: skip
    ax.legend(lines, [str(line.get_label()) for line in lines], **below)
    return ax


def first_layer_images(
    net: Network, shape: tuple[int, int], columns: Count | None = None, ax: Axes | None = None,
) -> Axes:
    """The weights into each unit of the second layer as an image, without biases; blue is negative, red positive.

    Parameters
    ----------
    net : Network
    shape : (height, width)
        The shape of an input image, height * width = s_1.
    columns : int, optional
        Number of images per row.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
        One Axes with all images on one colour scale.

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    decision_boundary

    Examples
    --------
    >>> import fastbp
    >>> ax = fastbp.plot.first_layer_images(fastbp.Network([64, 6, 10], seed=0), (8, 8))
    """
    W = checks.network(net).Theta[0][:, 1:]
    height, width = (checks.count(side, f"shape[{i}]") for i, side in enumerate(shape))
    if height * width != W.shape[1]:
        raise ValueError(f"shape must have a product of {W.shape[1]}, the inputs of the network; got {tuple(shape)}")
    n = len(W)
    columns = min(n, math.ceil(math.sqrt(n)) if columns is None else checks.count(columns, "columns"))
    rows = -(-n // columns)
    page = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i, w in enumerate(W):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        page[top : top + height, left : left + width] = w.reshape(height, width)
    ax = _axes(ax, (min(10, 1 + 0.7 * columns), min(10, 0.5 + 0.7 * rows)))
    most = float(np.abs(W).max()) or 1.0
    image = ax.imshow(page, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    ax.set_axis_off()
    ax.set_title(f"weights into {n} units of layer 2", fontsize=10)
    ax.figure.colorbar(image, ax=ax, shrink=0.8)
    return ax


def decision_boundary(
    net: Network, X: ArrayLike, y: ArrayLike, ax: Axes | None = None, points: Count = 200,
) -> Axes:
    """The outputs of a network of two inputs over the plane, with the examples.

    Parameters
    ----------
    net : Network
        s_1 = 2. With one output the colour shows its value, and the boundary is a line at the middle of its range (or
        of the range of y, if the output has none). With several outputs the colour shows which is the largest, and is
        paler where another is close.
    X : (m, 2)
    y : (m,) classes; for one output also targets (m, 1), coloured by their value
    ax : matplotlib Axes, optional
    points : int
        Grid points along each side.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    confusion_matrix

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> net = fastbp.Network([2, 4, 1], activation="tanh", seed=0)
    >>> X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    >>> ax = fastbp.plot.decision_boundary(net, X, y)
    """
    if checks.network(net).layer_sizes[0] != 2:
        raise ValueError(f"net must have 2 inputs; it has {net.layer_sizes[0]}")
    points, K = checks.count(points, "points", low=2), net.layer_sizes[-1]
    X, y = _examples(X, y, K)
    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.08 * np.where(high > low, high - low, 1)
    u, v = (np.linspace(a, b, points) for a, b in zip(low - margin, high + margin, strict=True))
    h = net.predict(np.column_stack([each.ravel() for each in np.meshgrid(u, v)]))
    ax, values = _axes(ax, (5, 4.5)), np.unique(y)
    colours = _colours(max(2, K, min(len(values), MANY)))
    shades = None
    if K == 1:
        shades = _level(ax, net, h.reshape(points, points), y, u, v, colours)
    else:
        _regions(ax, h, u, v, colours)
    dots: dict[str, Any] = {"s": 60 if len(X) < 20 else 16, "edgecolors": "white", "linewidths": 0.6}
    if shades and len(values) > MANY:   # no classes: targets on the scale of h
        ax.scatter(X[:, 0], X[:, 1], c=y, **shades, **dots | {"edgecolors": "dimgrey"})
    else:
        for i, value in enumerate(values):
            of = y == value
            ax.scatter(X[of, 0], X[of, 1], color=colours[i if shades else int(value)], label=f"{value:g}", **dots)
        if len(values) <= MANY:
            ax.legend(title="y", fontsize=8)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(u[0], u[-1]), ylim=(v[0], v[-1]))
    return ax


def _examples(X: ArrayLike, y: ArrayLike, K: int) -> tuple[Doubles, NDArray[Any]]:
    """X (m, 2), and the class of each example, or its target if K = 1; checked"""
    X, y = np.asarray(X, dtype=float), checks.array(y, "y")
    if X.ndim != 2 or X.shape[1] != 2 or not len(X):
        raise ValueError(f"X must have shape (m, 2); got {X.shape}")
    if y.shape not in ((len(X),), (len(X), K)):
        raise ValueError(f"y must have shape ({len(X)},) or ({len(X)}, {K}); got {y.shape}")
    y = y.reshape(len(X), -1)
    y = y[:, 0] if y.shape[1] == 1 else y.argmax(axis=1)
    values = np.unique(y)
    if K > 1 and not (np.isin(values, range(K)).all()):
        raise ValueError(f"y must be classes 0 to {K - 1}; got {values[0]:g} to {values[-1]:g}")
    return X, y


def _place(u: Doubles, v: Doubles) -> dict[str, Any]:
    """The placement of an image over the grid"""
    return {"origin": "lower", "extent": (u[0], u[-1], v[0], v[-1]), "aspect": "auto", "interpolation": "bilinear"}


def _level(
    ax: Axes, net: Network, level: NDArray[Any], y: NDArray[Any], u: Doubles, v: Doubles, colours: Doubles,
) -> dict[str, Any]:
    """Draw the one output as colour, the middle of its range as a line; returns the scale of the colours"""
    from matplotlib.colors import LinearSegmentedColormap

    limits = net.plan.lowest, net.plan.highest
    if not np.isfinite(limits).all():
        limits = float(y.min()), float(max(y.max(), np.nextafter(y.min(), np.inf)))
    shades: dict[str, Any] = {"cmap": LinearSegmentedColormap.from_list("level", [colours[0], "white", colours[1]]),
              "vmin": limits[0], "vmax": limits[1]}  # fmt: skip
    ax.figure.colorbar(ax.imshow(level, alpha=0.6, **shades, **_place(u, v)), ax=ax, label="h(x)")
    middle = classes.middle(*limits)
    if level.min() < middle < level.max():
        ax.contour(u, v, level, levels=[middle], colors="black", linewidths=1.2)
    return shades


def _regions(ax: Axes, h: NDArray[Any], u: Doubles, v: Doubles, colours: Doubles) -> None:
    """Draw the class of the largest output as colour, with its borders"""
    best, shape = h.argmax(axis=1), (len(v), len(u))
    first, second = np.sort(h, axis=1)[:, :-3:-1].T
    sure = 0.15 + 0.45 * np.clip(first - second, 0, 1)
    ax.imshow((1 - sure[:, None] * (1 - colours[best])).reshape(*shape, 3), **_place(u, v))
    for k in np.unique(best)[1:]:
        ahead = h[:, k] - np.delete(h, k, axis=1).max(axis=1)
        ax.contour(u, v, ahead.reshape(shape), levels=[0], colors="black", linewidths=0.8)


def _colours(n: int) -> Doubles:
    """n distinct colours (n, 3)"""
    import matplotlib

    named = matplotlib.colormaps["tab10" if n <= MANY else "turbo"]
    if n <= MANY:
        return np.array([named(i)[:3] for i in range(n)])
    return np.array([named(i / (n - 1))[:3] for i in range(n)])


def confusion_matrix(
    net: Network, X: ArrayLike, y: ArrayLike, ax: Axes | None = None, names: Sequence[str] | None = None,
) -> Axes:
    """Counts of the examples of each class (row) by their predicted class (column).

    Parameters
    ----------
    net : Network
    X : (m, s_1)
    y : (m,) integer labels; for one output 0 or 1
    ax : matplotlib Axes, optional
    names : list of str, optional
        Names of the classes.

    Returns
    -------
    Axes
        The cells show counts; the colour shows the fraction of the row.

    Raises
    ------
    ValueError, TypeError
        The message names the argument.

    See Also
    --------
    fastbp.metrics.accuracy

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> net = fastbp.Network([2, 4, 1], activation="tanh", seed=0)
    >>> X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    >>> ax = fastbp.plot.confusion_matrix(net, X, y, names=["equal", "different"])
    """
    h, y = checks.network(net).predict(np.atleast_2d(np.asarray(X))), np.asarray(y)
    K = max(2, h.shape[1])
    if y.shape != (len(h),) or y.dtype.kind not in "iub" or (y.size and not 0 <= y.min() <= y.max() < K):
        raise ValueError(f"y must be {len(h)} integers in 0 .. {K - 1}; got shape {y.shape} and dtype {y.dtype}")
    if names is not None and len(names) != K:
        raise ValueError(f"names must have {K} entries, one per class; got {len(names)}")
    said = classes.named(h, classes.middle(net.plan.lowest, net.plan.highest))
    counts = np.zeros((K, K), np.int64)
    np.add.at(counts, (y.astype(int), said), 1)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax = _axes(ax, (min(10, 1.8 + 0.45 * K), min(9.5, 1.3 + 0.45 * K)))
    ax.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    if K <= 30:
        for i, j in np.argwhere(counts):
            shade = "white" if fractions[i, j] > 0.5 else "black"
            ax.text(j, i, counts[i, j], ha="center", va="center", fontsize=8, color=shade)
    if names is not None:
        ax.set_xticks(range(K), names, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(K), names)
    elif K <= 20:
        ax.set(xticks=range(K), yticks=range(K))
    right = counts.trace() / max(len(y), 1)
    ax.set(xlabel="predicted", ylabel="true", title=f"{100 * right:.1f} % right")
    return ax
