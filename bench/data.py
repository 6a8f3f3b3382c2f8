"""Training data of the right shape and sparsity, synthetic unless the MNIST file is given.

Each maker returns X (m, n) float64 in its usual range and the labels (m,) or targets (m, 1).
"""

import numpy as np


def strokes(rng, side):
    """Return one class prototype (side, side): a pen wanders over the middle of the page, values 0..1."""
    rows, columns = np.mgrid[:side, :side]
    page = np.zeros((side, side))
    position = rng.uniform(0.3, 0.7, 2) * side
    direction = rng.uniform(0, 2 * np.pi)
    for _ in range(18):
        direction += rng.normal(0, 0.6)
        position = np.clip(
            position + side / 20 * np.array([np.sin(direction), np.cos(direction)]), 0.22 * side, 0.78 * side
        )
        distance = (rows - position[0]) ** 2 + (columns - position[1]) ** 2
        page = np.maximum(page, np.exp(-distance / (2 * (side / 22) ** 2)))
    return np.where(page < 0.1, 0.0, page)


def images(m, n, n_classes, rng):
    """Return handwriting-like images: shifted, noisy, about four of five pixels are 0, 2 % of the labels are wrong."""
    side = round(n**0.5)
    prototypes = np.array([[strokes(rng, side) for _ in range(3)] for _ in range(n_classes)])
    shift = max(1, side // 14)
    shifts = [(i, j) for i in range(-shift, shift + 1) for j in range(-shift, shift + 1)]
    atlas = np.array([np.roll(prototypes, s, axis=(2, 3)) for s in shifts])
    atlas = atlas.reshape(len(shifts), n_classes, 3, n).astype(np.float32)
    labels = rng.integers(0, n_classes, m)
    X = atlas[rng.integers(0, len(shifts), m), labels, rng.integers(0, 3, m)]
    X *= rng.uniform(0.4, 1.4, X.shape).astype(np.float32)
    X = np.minimum(np.rint(255 * X), 255) / 255
    wrong = rng.random(m) < 0.02
    labels[wrong] = rng.integers(0, n_classes, int(wrong.sum()))
    return X, labels


def flowers(m, n, n_classes, rng):
    """Return three overlapping species, measured four times: the shape of Fisher's iris, scaled to 0..1."""
    centres = rng.uniform(0.2, 0.8, (n_classes, n))
    labels = rng.integers(0, n_classes, m)
    return np.clip(centres[labels] + rng.normal(0, 0.1, (m, n)), 0, 1), labels


def regression(m, n, _n_outputs, rng):
    """Return Friedman's first problem (1991), standardised, n inputs of which five matter."""
    X = rng.random((m, n))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3] + 5 * X[:, 4]
    y += rng.normal(0, 1, m)
    return (X - 0.5) * np.sqrt(12), ((y - y.mean()) / y.std())[:, None]


MAKERS = {"images": images, "flowers": flowers, "regression": regression}


def mnist(path, m, n, rng):
    """Return m of the 60,000 training images: whole (784), the middle 20 x 20 (400) or 8 x 8 means (64)."""
    with np.load(path) as file:
        pages, labels = file["x_train"], file["y_train"]
    chosen = rng.permutation(len(pages))[np.arange(m) % len(pages)]
    pages, labels = pages[chosen] / 255.0, labels[chosen].astype(np.int64)
    if n == 400:
        pages = pages[:, 4:24, 4:24]
    elif n == 64:
        pages = pages[:, 2:26, 2:26].reshape(m, 8, 3, 8, 3).mean(axis=(2, 4))
    return pages.reshape(m, n), labels


def make(workload, m, mnist_path=None, seed=0):
    """Return X (m, s_1) and Y (m, K), float64: one-hot rows for classes."""
    rng = np.random.default_rng(seed)
    n, K = workload.layer_sizes[0], workload.layer_sizes[-1]
    if mnist_path and workload.data == "images":
        X, y = mnist(mnist_path, m, n, rng)
    else:
        X, y = MAKERS[workload.data](m, n, K, rng)
    return np.asarray(X, np.float64), y if y.ndim == 2 else np.eye(K)[y]
