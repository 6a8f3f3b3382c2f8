"""An autoencoder of handwritten digits: 64 pixels to 2 numbers and back. The encoder is extracted as a network."""

import sys

import numpy as np

import fastbp


def main():
    X, y = fastbp.datasets.load_digits()
    X = X / 16
    net = fastbp.Network([64, 64, 2, 64, 64], activation=["tanh", "identity", "tanh"], output="sigmoid", seed=0)
    history = fastbp.train(net, X, X, optimizer=fastbp.Adam(0.003), epochs=100, batch_size=64, seed=0)
    error = np.sqrt(np.mean((net.predict(X) - X) ** 2))
    print(f"cross-entropy {history.J[0]:.2f} -> {history.J[-1]:.2f}, error of a pixel {error:.3f}")

    encoder = net.layers(1, 3)
    codes = encoder.predict(X)      # (m, 2)
    means = np.array([codes[y == digit].mean(axis=0) for digit in range(10)])
    nearest = np.linalg.norm(codes[:, np.newaxis] - means, axis=2).argmin(axis=1)
    print(f"nearest mean of 10 digits by 2 numbers: {100 * np.mean(nearest == y):.1f} % right")

    if len(sys.argv) > 1:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
        for digit in range(10):
            axes.plot(*codes[y == digit].T, ".", ms=4, label=str(digit))
        axes.set(xlabel="first number of the code", ylabel="second number of the code")
        axes.legend(title="digit", loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2)
        figure.savefig(sys.argv[1], dpi=120)


if __name__ == "__main__":
    main()
