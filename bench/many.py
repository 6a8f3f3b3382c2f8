"""Many networks at once: `fastbp.train_many` compared with other libraries. `python -m bench.many`

Each network 64-h-10 is trained for 20 epochs of 1,400 digits, batch 32, SGD with momentum, float32. Slow ways train
some of the networks, or some of the epochs, and the time is multiplied; the table says so. A peer that is not installed
is skipped with a message.

    python -m bench.many [--networks 500] [--epochs 20]
"""

import argparse
import time
import warnings

import numpy as np

M, BATCH, RATE, MOMENTUM = 1400, 32, 0.1, 0.9


def digits():
    import fastbp

    X, y = fastbp.datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(X))[:M]
    return (X[order] / 16).astype(np.float32), y[order]


def sizes(n, equal):
    """Hidden units of n networks: 30 each, or 4 to 64."""
    return [30] * n if equal else np.random.default_rng(1).integers(4, 65, n).tolist()


def networks(hidden):
    import fastbp

    return [fastbp.Network([64, h, 10], activation="relu", output="softmax", dtype=np.float32, seed=i)
            for i, h in enumerate(hidden)]


def seconds(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


# ---------------------------------------------------------------- fastbp


def loop(X, y, hidden, epochs):
    import fastbp

    def train():
        for i, net in enumerate(networks(hidden)):
            fastbp.train(net, X, y, optimizer=fastbp.SGD(RATE, MOMENTUM), epochs=epochs, batch_size=BATCH, seed=i)

    return seconds(train), "all"


def many(n_threads):
    def run(X, y, hidden, epochs):
        import fastbp

        nets = networks(hidden)
        return seconds(lambda: fastbp.train_many(
            nets, X, y, optimizer=fastbp.SGD(RATE, MOMENTUM), epochs=epochs, batch_size=BATCH,
            seed=list(range(len(nets))), n_threads=n_threads)), "all"

    return run


# ---------------------------------------------------------------- others


def scikit_learn(X, y, hidden, epochs, some=24):
    """joblib with its processes, each fit one MLPClassifier."""
    import joblib
    from sklearn.neural_network import MLPClassifier

    def fit(h):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            MLPClassifier((h,), solver="sgd", learning_rate_init=RATE, momentum=MOMENTUM, batch_size=BATCH, tol=0,
                          max_iter=epochs, n_iter_no_change=epochs, random_state=0).fit(X, y)

    with joblib.Parallel(n_jobs=2) as parallel:
        parallel(joblib.delayed(fit)(4) for _ in range(2))      # starts the processes
        chosen = hidden[:some]
        took = seconds(lambda: parallel(joblib.delayed(fit)(h) for h in chosen))
    return took * len(hidden) / len(chosen), f"{len(chosen)} networks, 2 processes"


def jax_vmap(X, y, hidden, epochs, some=2):
    """All networks padded to the widest, one jitted scan over the steps of an epoch, vmap over the networks."""
    import jax
    import jax.numpy as jnp

    n, widest = len(hidden), max(hidden)
    keys = np.random.default_rng(0)
    mask = (np.arange(widest) < np.array(hidden)[:, None]).astype(np.float32)
    theta = [keys.normal(0, 0.1, shape).astype(np.float32) for shape in
             [(n, 64, widest), (n, widest), (n, widest, 10), (n, 10)]]
    steps = -(-M // BATCH)

    def cost(theta, mask, x, t):
        W1, b1, W2, b2 = theta
        z = (jax.nn.relu(x @ W1 + b1) * mask) @ W2 + b2
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), t[:, None], 1))

    def step(theta, v, mask, x, t):
        D = jax.grad(cost)(theta, mask, x, t)
        v = [MOMENTUM * a - RATE * b for a, b in zip(v, D, strict=True)]
        return [a + b for a, b in zip(theta, v, strict=True)], v

    all_steps = jax.vmap(step, in_axes=(0, 0, 0, 0, 0))

    @jax.jit
    def epoch(theta, v, order):
        def one(carry, rows):       # rows (n, BATCH): each network has its own order
            return all_steps(*carry, masks, data[rows], labels[rows]), None

        return jax.lax.scan(one, (theta, v), order)[0]

    data, labels, masks = jnp.asarray(X), jnp.asarray(y), jnp.asarray(mask)
    order = np.stack([keys.permutation(M)[: (steps - 1) * BATCH] for _ in range(n)], 1)
    order = jnp.asarray(order.reshape(steps - 1, BATCH, n).transpose(0, 2, 1))
    v = [np.zeros_like(a) for a in theta]
    state = jax.block_until_ready(epoch(theta, v, order))       # compiled

    def run():
        now = state
        for _ in range(some):
            now = epoch(*now, order)
        jax.block_until_ready(now)

    return seconds(run) * epochs / some, f"{some} epochs"


def torch_func(X, y, hidden, epochs, some=20):
    """Equal networks: vmap(grad) over stacked parameters, the optimizer by hand in place."""
    import torch

    if len(set(hidden)) > 1:
        raise ImportError("torch.func stacks only equal networks")
    n, h = len(hidden), hidden[0]
    torch.manual_seed(0)
    theta = tuple(0.1 * torch.randn(shape) for shape in [(n, 64, h), (n, h), (n, h, 10), (n, 10)])
    v = tuple(torch.zeros_like(a) for a in theta)

    def cost(theta, x, t):
        W1, b1, W2, b2 = theta
        return torch.nn.functional.cross_entropy(torch.relu(x @ W1 + b1) @ W2 + b2, t)

    gradients = torch.func.vmap(torch.func.grad(cost))
    data, labels = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))
    orders = torch.stack([torch.randperm(M) for _ in range(n)])

    def run(steps):
        with torch.no_grad():
            for i in range(steps):
                rows = orders[:, (i * BATCH) % (M - BATCH) :][:, :BATCH]
                D = gradients(theta, data[rows], labels[rows])
                for a, moment, d in zip(theta, v, D, strict=True):
                    moment.mul_(MOMENTUM).sub_(d, alpha=RATE)
                    a.add_(moment)

    run(2)
    return seconds(lambda: run(some)) * epochs * (M / BATCH) / some, f"{some} steps"


WAYS = {
    "fastbp, a loop over train": loop, "fastbp.train_many, 1 thread": many(1), "fastbp.train_many, 2 threads": many(2),
    "joblib and scikit-learn": scikit_learn, "jax.vmap, padded": jax_vmap, "torch.func, equal networks": torch_func,
}


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--networks", type=int, default=500)
    asked.add_argument("--epochs", type=int, default=20)
    asked.add_argument("--ways", nargs="*", default=[], help="parts of names; all if there are none")
    asked = asked.parse_args()
    X, y = digits()
    for equal in (False, True):
        hidden = sizes(asked.networks, equal)
        print(f"\n{asked.networks} networks 64-{'30' if equal else '4..64'}-10, {asked.epochs} epochs")
        best = None
        for name, way in WAYS.items():
            if asked.ways and not any(part in name for part in asked.ways):
                continue
            try:
                took, measured = way(X, y, hidden, asked.epochs)
            except ImportError as error:
                print(f"  {name:30} skipped: {error}")
                continue
            best = took if "2 threads" in name else best
            times = "" if best is None else f", {took / best:6.1f} times train_many"
            print(f"  {name:30} {took:9.2f} s  (measured: {measured}){times}", flush=True)


if __name__ == "__main__":
    main()
