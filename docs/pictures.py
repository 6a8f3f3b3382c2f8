"""Draw the pictures of the site: `python docs/pictures.py`, of some alone `python docs/pictures.py first xor`.

`first` is the picture of the first page. The others are those of the examples, with what they print.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

import fastbp
from fastbp import plot

HERE = Path(__file__).parent / "pictures"
EXAMPLES = HERE.parent.parent / "examples"
WITHOUT_PICTURE = ("regression", "online", "larger_than_memory", "scipy_optimizers", "tables", "sklearn_search",
                   "reinforce", "dqn", "cox_regression")
WITH_PICTURE = ("xor", "digits", "error_bars", "levenberg_marquardt", "sklearn_learning_curves", "many_networks",
                "bootstrap", "autoencoder")


def moons(m, seed=0):
    """Two half circles in one another, with noise"""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, m)
    angle = np.pi * (rng.random(m) + y)
    X = np.column_stack([np.cos(angle) + y - 0.5, np.sin(angle) + 0.5 * y - 0.25])
    return X + rng.normal(0, 0.17, X.shape), y


def first():
    """A learning curve and a decision boundary"""
    from matplotlib.figure import Figure

    X, y = moons(400)
    net = fastbp.Network([2, 24, 24, 1], activation="tanh", output="sigmoid", seed=0)
    history = fastbp.train(net, X, y, optimizer=fastbp.Adam(5e-3), epochs=60, batch_size=32, validation_split=0.25,
                           seed=0)
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.learning_curve(history, left)
    plot.decision_boundary(net, X, y, right)
    figure.savefig(HERE / "first.png", dpi=110)


def example(name, *picture):
    done = subprocess.run([sys.executable, EXAMPLES / f"{name}.py", *picture], capture_output=True, text=True,
                          check=True)
    (HERE / f"{name}.txt").write_text(done.stdout, encoding="utf-8")


def small(path):
    """The picture in 128 colours, which suffice: a quarter of the bytes"""
    from PIL import Image

    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


def main(*names):
    HERE.mkdir(exist_ok=True)
    for name in names or ("first", *WITH_PICTURE, *WITHOUT_PICTURE):
        if name == "first":
            first()
        else:
            example(name, *[str(HERE / f"{name}.png")] * (name in WITH_PICTURE))
        if (HERE / f"{name}.png").exists():
            small(HERE / f"{name}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
