"""XOR needs a hidden layer. The picture shows the decision boundary that the network has learned."""

import sys

import numpy as np

import fastbp

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
y = np.array([0, 1, 1, 0])

net = fastbp.Network([2, 4, 1], activation="tanh", seed=3)
check = fastbp.check_gradient(net, X, y)
print(f"gradient check: relative difference {check.relative_difference:.1e}")


def solved(training):
    if training.J < 1e-2:
        training.stop("J is below 0.01")


history = fastbp.train(net, X, y, optimizer=fastbp.Adam(0.05), epochs=2000, batch_size=None, callbacks=[solved])
print(f"{len(history)} epochs, J = {history.J[-1]:.4f} ({history.stopped})")
for x, target, h in zip(X, y, net.predict(X)[:, 0], strict=True):
    print(f"{x[0]:.0f} xor {x[1]:.0f} = {h:.3f}  ({target})")

if len(sys.argv) > 1:  # a file for the picture
    from fastbp import plot

    axes = plot.decision_boundary(net, X, y)
    axes.legend(title="y", loc="center", fontsize=8)
    axes.figure.savefig(sys.argv[1], dpi=120)
