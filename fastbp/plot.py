"""Pictures of trainings and networks: each function draws into `ax`, or a new figure, and returns the Axes.

Needs matplotlib (pip install 'fastbp[plot]'). New figures belong to nobody's pyplot state: show one by returning
``ax.figure`` in a notebook, keep it by ``ax.figure.savefig(path)``.
"""

import math

import numpy as np

from . import checks
from .metrics import HIGHER

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("fastbp.plot needs matplotlib (pip install 'fastbp[plot]')") from error

BLUE, ORANGE, GREEN = "#2b6cb0", "#dd6b20", "#2f855a"


def _axes(ax, figsize):
    return Figure(figsize=figsize, layout="constrained").add_subplot() if ax is None else ax


def learning_curve(history, ax=None):
    """J and the validation's cost by epoch; accuracies and r2, where measured, on a second scale.

    Parameters
    ----------
    history : History
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
        Of the costs; the second scale is ``ax.figure.axes[-1]``.
    """
    if not len(history):
        raise ValueError("history has 0 epochs; there is nothing to draw")
    ax, epochs = _axes(ax, (7, 4)), np.arange(1, len(history) + 1)
    marker = "o" if len(history) < 10 else ""
    ax.plot(epochs, history.J, color=BLUE, marker=marker, label="J, training")
    costs = list(history.J)
    if history.val_J:
        ax.plot(epochs, history.val_J, color=ORANGE, marker=marker, label="cost, validation")
        best = int(np.argmin(history.val_J))
        ax.plot(epochs[best], history.val_J[best], "o", color=ORANGE, markersize=8, markerfacecolor="none",
                label=f"lowest, epoch {best + 1}")
        costs += history.val_J
    ax.set(xlabel="epoch", ylabel="cost", yscale="log" if min(costs) > 0 else "linear")
    ax.grid(alpha=0.25)
    lines = ax.get_lines()
    shares = {name: values for name, values in history.columns.items() if name.removeprefix("val_") in HIGHER}
    if shares:
        right, floor = ax.twinx(), min(min(values) for values in shares.values())
        for (name, values), style in zip(shares.items(), ("--", ":", "-.", (0, (1, 3))) * 2, strict=False):
            of = "validation" if name.startswith("val_") else "training"
            lines += right.plot(epochs, values, color=GREEN, linestyle=style, marker=marker,
                                label=f"{name.removeprefix('val_').replace('_', ' ')}, {of}")
        right.set(ylabel=" and ".join(dict.fromkeys(name.removeprefix("val_").replace("_", " ") for name in shares)),
                  ylim=(max(-1.0, floor - 0.05 * (1 - floor) - 0.002), 1.002))
    ax.legend(lines, [line.get_label() for line in lines], loc="center right", framealpha=0.9)
    return ax


def first_layer_images(net, shape, columns=None, ax=None):
    """The weights into each unit of the second layer as an image, biases left out; blue negative, red positive.

    Parameters
    ----------
    net : Network
    shape : (height, width)
        Of an input image, height * width = s_1.
    columns : int, optional
        Images in a row.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
        One, with all images side by side on one colour scale.
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


def decision_boundary(net, X, y, ax=None, points=200):
    """What a network of two inputs says over the plane, with the examples.

    Parameters
    ----------
    net : Network
        s_1 = 2. With one output its level is drawn as colour, and the boundary at the middle of its range as a line;
        with several the class of the largest, paler where the second is near.
    X : (m, 2)
    y : (m,) classes; for one output also targets (m, 1)
    ax : matplotlib Axes, optional
    points : int
        Of the grid along each side.

    Returns
    -------
    Axes
    """
    if checks.network(net).layer_sizes[0] != 2:
        raise ValueError(f"net must have 2 inputs; it has {net.layer_sizes[0]}")
    X, points = np.asarray(X, dtype=float), checks.count(points, "points", low=2)
    if X.ndim != 2 or X.shape[1] != 2 or not len(X):
        raise ValueError(f"X must have shape (m, 2); got {X.shape}")
    y = np.asarray(y).reshape(len(X), -1)
    y = y[:, 0] if y.shape[1] == 1 else y.argmax(axis=1)
    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.08 * np.where(high > low, high - low, 1)
    u, v = (np.linspace(a, b, points) for a, b in zip(low - margin, high + margin, strict=True))
    h = net.predict(np.column_stack([each.ravel() for each in np.meshgrid(u, v)]))
    ax = _axes(ax, (5, 4.5))
    box = (u[0], u[-1], v[0], v[-1])
    colours = _colours(max(2, net.layer_sizes[-1], len(np.unique(y))))
    if h.shape[1] == 1:
        plan, level = net.plan, h.reshape(points, points)
        bounded = np.isfinite([plan.lowest, plan.highest]).all()
        limits = (plan.lowest, plan.highest) if bounded else (float(level.min()), float(level.max()))
        from matplotlib.colors import LinearSegmentedColormap

        pale = LinearSegmentedColormap.from_list("classes", [colours[0], "white", colours[1]])
        image = ax.imshow(level, origin="lower", extent=box, aspect="auto", cmap=pale, vmin=limits[0], vmax=limits[1],
                          alpha=0.6, interpolation="bilinear")
        ax.figure.colorbar(image, ax=ax, label="h(x)")
        middle = sum(limits) / 2
        if level.min() < middle < level.max():
            ax.contour(u, v, level, levels=[middle], colors="black", linewidths=1.2)
    else:
        best = h.argmax(axis=1)
        first, second = np.sort(h, axis=1)[:, :-3:-1].T
        sure = 0.15 + 0.45 * np.clip(first - second, 0, 1)
        page = 1 - sure[:, None] * (1 - colours[best])
        ax.imshow(page.reshape(points, points, 3), origin="lower", extent=box, aspect="auto", interpolation="bilinear")
        for k in np.unique(best)[1:]:
            ax.contour(u, v, (best == k).reshape(points, points), levels=[0.5], colors="black", linewidths=0.8)
    for i, value in enumerate(np.unique(y)[:10]):
        of = y == value
        ax.scatter(*X[of].T, s=14, color=colours[i if h.shape[1] == 1 else int(value)], edgecolors="white",
                   linewidths=0.5, label=f"{value:g}")
    ax.legend(title="y", fontsize=8)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(u[0], u[-1]), ylim=(v[0], v[-1]))
    return ax


def _colours(n):
    """n colours (n, 3) that can be told apart"""
    import matplotlib

    named = matplotlib.colormaps["tab10" if n <= 10 else "turbo"]
    if n <= 10:
        return np.array([named(i)[:3] for i in range(n)])
    return np.array([named(i / (n - 1))[:3] for i in range(n)])


def confusion_matrix(net, X, y, ax=None, names=None):
    """How often examples of each class (row) were put into each class (column).

    Parameters
    ----------
    net : Network
    X : (m, s_1)
    y : (m,) integer labels; for one output 0 or 1
    ax : matplotlib Axes, optional
    names : list of str, optional
        Of the classes.

    Returns
    -------
    Axes
        Counts in the cells, shares of the row as colour.
    """
    h, y = checks.network(net).predict(np.atleast_2d(np.asarray(X))), np.asarray(y)
    K = max(2, h.shape[1])
    if y.shape != (len(h),) or y.dtype.kind not in "iub" or (y.size and not 0 <= y.min() <= y.max() < K):
        raise ValueError(f"y must be {len(h)} integers in 0 .. {K - 1}; got shape {y.shape} and dtype {y.dtype}")
    if names is not None and len(names) != K:
        raise ValueError(f"names must have {K} entries, one a class; got {len(names)}")
    middle = (net.plan.lowest + net.plan.highest) / 2
    said = (h[:, 0] >= middle).astype(int) if h.shape[1] == 1 else h.argmax(axis=1)
    counts = np.zeros((K, K), np.int64)
    np.add.at(counts, (y.astype(int), said), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax = _axes(ax, (1.8 + 0.45 * K, 1.3 + 0.45 * K))
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.argwhere(counts if K <= 30 else np.zeros((1, 1))):
        shade = "white" if shares[i, j] > 0.5 else "black"
        ax.text(j, i, counts[i, j], ha="center", va="center", fontsize=8, color=shade)
    ticks = range(K)
    ax.set_xticks(ticks, names or ticks, rotation=45 if names else 0)
    ax.set_yticks(ticks, names or ticks)
    right = counts.trace() / max(len(y), 1)
    ax.set(xlabel="predicted", ylabel="true", title=f"{100 * right:.1f} % right")
    return ax
