"""Nielsen's networks on MNIST (neuralnetworksanddeeplearning.com, chapters 1 and 3), with his settings.

    python examples/mnist_nielsen.py mnist.npz [float32 | float64]

mnist.npz holds x_train, y_train, x_test, y_test (uint8), as Keras distributes it. He reports 95.42 %, 95.49 % and
96.82 % as the best of 30 epochs on the test images, after training on the first 50,000.
"""

import sys
import time

import numpy as np

import fastbp

CASES = [
    ("784-30-10, half squared error", [784, 30, 10], "squared_error", 3.0),
    ("784-30-10, cross-entropy", [784, 30, 10], "cross_entropy", 0.5),
    ("784-100-10, cross-entropy", [784, 100, 10], "cross_entropy", 0.5),
]


def main(path, dtype="float32"):
    with np.load(path) as mnist:
        X, y = mnist["x_train"][:50_000], mnist["y_train"][:50_000].astype(np.int64)
        X_test, y_test = mnist["x_test"], mnist["y_test"].astype(np.int64)
    X, X_test = ((images.reshape(len(images), 784) / 255).astype(dtype) for images in (X, X_test))

    for name, layer_sizes, loss, eta in CASES:
        # weights and biases drawn from Normal(0, 1)
        net = fastbp.Network(layer_sizes, output="sigmoid", loss=loss, dtype=dtype, init="normal", eps=1.0, seed=0)
        started = time.perf_counter()
        history = fastbp.train(net, X, y, optimizer=fastbp.SGD(eta), batch_size=10, epochs=30, seed=0,
                               validation_data=(X_test, y_test))
        print(f"{name}, {dtype}: best {100 * max(history.val_accuracy):.2f} %, last "
              f"{100 * history.val_accuracy[-1]:.2f} %, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
