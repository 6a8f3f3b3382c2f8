"""Handwritten digits: one-cycle learning rate, dropout, early stopping, and three pictures of the result."""

import sys

import numpy as np

import fastbp
from fastbp.callbacks import EarlyStopping

X, y = fastbp.datasets.load_digits()
order = np.random.default_rng(0).permutation(len(X))
X, y = X[order] / 16, y[order]
X, y, X_test, y_test = X[360:], y[360:], X[:360], y[:360]

epochs, batch_size = 60, 32
steps = epochs * -(-round(0.9 * len(X)) // batch_size)
net = fastbp.Network(
    [64, 128, 10], activation="relu", output="softmax", init="he_normal", dtype=np.float32, seed=0)
history = fastbp.train(
    net, X, y, optimizer=fastbp.Adam(fastbp.schedules.OneCycle(0.01, steps)), epochs=epochs, batch_size=batch_size,
    dropout=0.2, weight_decay=1e-4, validation_split=0.1, callbacks=[EarlyStopping(patience=20)], seed=0,
)
print(history)
print(f"{history.examples_per_second:,.0f} examples/s")
print(f"test accuracy: {100 * net.evaluate(X_test, y_test).accuracy:.1f} %")

if len(sys.argv) > 1:  # a file for the picture
    from matplotlib.figure import Figure

    from fastbp import plot

    figure = Figure(figsize=(15, 4.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    plot.learning_curve(history, left)
    plot.first_layer_images(net, (8, 8), columns=16, ax=middle)
    plot.confusion_matrix(net, X_test, y_test, right)
    figure.savefig(sys.argv[1], dpi=120)
