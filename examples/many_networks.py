"""1,000 networks of many sizes and learning rates, trained together on the digits and compared in a picture.

    python examples/many_networks.py [picture.png]

Only the picture needs matplotlib.
"""

import sys
import time

import numpy as np

import fastbp

N = 1000


def main(picture=None):
    X, y = fastbp.datasets.load_digits()
    X = (X / 16).astype(np.float32)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(X))
    sizes = np.exp(rng.uniform(np.log(2), np.log(64), N)).astype(int)
    rates = 10 ** rng.uniform(-4.5, -0.5, N)
    nets = [fastbp.Network([64, h, 10], activation="relu", output="softmax", dtype=np.float32, seed=i)
            for i, h in enumerate(sizes.tolist())]
    started = time.perf_counter()
    histories = fastbp.train_many(
        nets, X, y, optimizer=[fastbp.Adam(rate) for rate in rates], epochs=8, seed=list(range(N)),
        rows=order[:1400], on_error="keep",
    )
    print(f"{N} networks in {time.perf_counter() - started:.1f} s, one took "
          f"{1e3 * max(sum(history.seconds) for history in histories):.0f} ms at most")
    held = X[order[1400:]], y[order[1400:]]
    accuracy = np.array([net.evaluate(*held).accuracy for net in nets])
    best = int(accuracy.argmax())
    print(f"best: {sizes[best]} units, learning rate {rates[best]:.2g}, held-out accuracy {100 * accuracy[best]:.1f} %")
    mean, spread = fastbp.Ensemble([nets[i] for i in np.argsort(accuracy)[-20:]]).predict(held[0])
    print(f"the 20 best together: {100 * (mean.argmax(axis=1) == held[1]).mean():.1f} %, spread {spread.mean():.3f}")
    if picture:
        draw(picture, sizes, rates, accuracy)


def draw(picture, sizes, rates, accuracy):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    points = ax.scatter(rates, sizes, c=100 * accuracy, s=14, cmap="viridis")
    ax.set(xscale="log", yscale="log", xlabel="learning rate of Adam", ylabel="hidden units",
           title=f"{N} networks 64-h-10 on the digits, 8 epochs", yticks=(2, 4, 8, 16, 32, 64))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.minorticks_off()
    figure.colorbar(points, label="held-out accuracy [%]")
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
