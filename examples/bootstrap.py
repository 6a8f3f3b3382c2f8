"""How certain is a curve fitted to 60 noisy points? 200 networks, each trained on rows drawn with replacement.

    python examples/bootstrap.py [picture.png]

Only the picture needs matplotlib.
"""

import sys

import numpy as np

import fastbp

N, M = 200, 60


def truth(x):
    return np.sin(3 * x) + 0.5 * x


def main(picture=None):
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-1.5, 1.5, M))
    y = truth(x) + rng.normal(0, 0.2, M)
    nets = [fastbp.Network([1, 20, 1], activation="tanh", output="identity", seed=seed) for seed in range(N)]
    fastbp.train_many(
        nets, x[:, np.newaxis], y, rows=[rng.integers(0, M, M) for _ in nets], optimizer=fastbp.Adam(0.02), epochs=400,
        batch_size=20, seed=list(range(N)),
    )
    grid = np.linspace(-2.2, 2.2, 89)
    curves = np.array([net.predict(grid[:, np.newaxis])[:, 0] for net in nets])
    low, high = np.quantile(curves, [0.05, 0.95], axis=0)
    mean, spread = (values[:, 0] for values in fastbp.Ensemble(nets).predict(grid[:, np.newaxis]))
    inside = np.abs(grid) <= 1.5
    width = (high - low)[inside].mean()
    covered = ((low <= truth(grid)) & (truth(grid) <= high))[inside].mean()
    print(f"{N} networks: 90 % intervals {width:.2f} wide on average hold {100 * covered:.0f} % of the true curve")
    print(f"spread where there are points {spread[inside].mean():.2f}, beyond them {spread[~inside].mean():.2f}")
    if picture:
        draw(picture, grid, mean, low, high, x, y)


def draw(picture, grid, mean, low, high, x, y):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    ax.fill_between(grid, low, high, alpha=0.3, label=f"5 to 95 % of {N} networks")
    ax.plot(grid, mean, label="mean")
    ax.plot(grid, truth(grid), "k--", lw=1, label="true curve")
    ax.plot(x, y, "k.", label=f"{M} points")
    ax.set(xlabel="x", ylabel="y", ylim=(-1.7, 2.9))
    ax.legend(loc="upper center", ncols=2)
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
