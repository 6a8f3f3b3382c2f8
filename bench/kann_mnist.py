"""`python -m bench.kann_mnist mnist.npz`: KANN's published case, whole training runs compared.

784-64-10, ReLU, sigmoid outputs with cross-entropy, batch 64, RMSprop (learning rate 0.001, decay 0.9), 20 epochs over
the 60,000 images of MNIST in a new order each epoch, float32, one thread. Published by KANN's author (github.com/
attractivechaos/kann, on CPUs of 2012 to 2014): 31.3 s KANN with SSE, 18.8 s KANN with OpenBLAS, 33.4 s TensorFlow.
It is not in workloads.py, because these are whole training runs with shuffling and accuracy, not epochs.

Each peer trains in its own process on one core, peers in turn, `--rounds` times: the median is shown. Not counted:
start-up, reading the data, compilation. Counted: shuffling. RMSprop adds epsilon (1e-8) outside the root everywhere.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from .environment import cores, environment

SIZES, BATCH, RATE, DECAY, EPSILON = (784, 64, 10), 64, 1e-3, 0.9, 1e-8


def data(path):
    """Return X, labels, X_test, labels_test; X float32 in 0..1."""
    with np.load(path) as file:
        pages = [file[name].reshape(-1, 784).astype(np.float32) / 255 for name in ("x_train", "x_test")]
        labels = [file[name].astype(np.int64) for name in ("y_train", "y_test")]
    return pages[0], labels[0], pages[1], labels[1]


def fastbp_run(X, y, X_test, y_test, epochs):
    """One call of train."""
    import fastbp

    net = fastbp.Network(SIZES, activation="relu", output="sigmoid", dtype=np.float32, seed=0)
    started = time.perf_counter()
    fastbp.train(net, X, y, optimizer=fastbp.RMSprop(RATE, DECAY, EPSILON), epochs=epochs, batch_size=BATCH, seed=0,
                 n_threads=1)  # fmt: skip
    return time.perf_counter() - started, net.evaluate(X_test, y_test).accuracy


def torch_run(X, y, X_test, y_test, epochs):
    """Modules, and the foreach form of torch.optim's RMSprop, which has no fused one."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    X, X_test, Y = torch.from_numpy(X), torch.from_numpy(X_test), torch.eye(10)[torch.from_numpy(y)]
    optimizer = torch.optim.RMSprop(net.parameters(), lr=RATE, alpha=DECAY, eps=EPSILON, foreach=True)
    cost = torch.nn.functional.binary_cross_entropy_with_logits
    started = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(len(X)).split(BATCH):
            optimizer.zero_grad()
            (cost(net(X[rows]), Y[rows], reduction="sum") / len(rows)).backward()
            optimizer.step()
    seconds = time.perf_counter() - started
    with torch.inference_mode():
        return seconds, float((net(X_test).argmax(1).numpy() == y_test).mean())


def jax_run(X, y, X_test, y_test, epochs):
    """A jitted epoch: one scan over the batches that gathers each batch; the shorter last one is a separate step."""
    import jax
    import jax.numpy as jnp

    rng, Y = np.random.default_rng(0), np.eye(10, dtype=np.float32)[y]
    bounds = [(6 / (n + k)) ** 0.5 for k, n in itertools.pairwise(SIZES)]
    theta = [
        (jnp.asarray(rng.uniform(-b, b, (k, n)), jnp.float32), jnp.zeros(n, jnp.float32))
        for b, (k, n) in zip(bounds, itertools.pairwise(SIZES), strict=True)
    ]
    v = jax.tree.map(jnp.zeros_like, theta)

    def logits(theta, x):
        (W1, b1), (W2, b2) = theta
        return jax.nn.relu(x @ W1 + b1) @ W2 + b2

    def J(theta, x, t):
        z = logits(theta, x)
        return jnp.sum(jax.nn.softplus(z) - t * z) / x.shape[0]

    def step(state, rows):
        theta, v = state
        D = jax.grad(J)(theta, X[rows], Y[rows])
        v = jax.tree.map(lambda v, d: DECAY * v + (1 - DECAY) * d * d, v, D)
        theta = jax.tree.map(lambda p, d, v: p - RATE * d / (jnp.sqrt(v) + EPSILON), theta, D, v)
        return (theta, v), None

    def epoch(state, order):
        whole = len(order) // BATCH * BATCH
        state, _ = jax.lax.scan(step, state, order[:whole].reshape(-1, BATCH))
        return step(state, order[whole:])[0] if whole < len(order) else state

    X, Y = jnp.asarray(X), jnp.asarray(Y)
    run = jax.jit(epoch, donate_argnums=0).lower((theta, v), jnp.arange(len(X), dtype=jnp.int32)).compile()
    state = (theta, v)
    started = time.perf_counter()
    for _ in range(epochs):
        state = run(state, jnp.asarray(rng.permutation(len(X)).astype(np.int32)))
    jax.block_until_ready(state)
    seconds = time.perf_counter() - started
    return seconds, float((np.asarray(logits(state[0], X_test)).argmax(1) == y_test).mean())


PEERS = {"fastbp": fastbp_run, "PyTorch": torch_run, "JAX": jax_run}


def measure(peer, path, epochs):
    """Return the result of one training run in its own process, or None if the peer is not installed."""
    command = [sys.executable, "-m", "bench.kann_mnist", path, "--peer", peer, "--epochs", str(epochs)]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, env=environment(1), capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    print(f"{peer}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    return None


def main():
    """Run the peers in turn and print the table; with --peer, run one of them in this process."""
    parser = argparse.ArgumentParser(prog="python -m bench.kann_mnist", description=__doc__.splitlines()[0])
    parser.add_argument("mnist", help="mnist.npz (x_train, y_train, x_test, y_test)")
    parser.add_argument("--peer", choices=PEERS, help="train once in this process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    settings = parser.parse_args()
    if settings.peer:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores(1))
        sys.path.pop(0)  # the clone's own fastbp/ may be uncompiled: import the installed one
        print(json.dumps(PEERS[settings.peer](*data(settings.mnist), settings.epochs)))
        return
    found = {peer: [] for peer in PEERS}
    for _ in range(settings.rounds):
        for peer, turns in found.items():
            if result := measure(peer, str(Path(settings.mnist).resolve()), settings.epochs):
                turns.append(result)
    print(f"{'':<9}{'s':>8}  {'test accuracy, %':>16}   ({settings.epochs} epochs, median of {settings.rounds})")
    for peer, turns in found.items():
        if turns:
            seconds, accuracy = (statistics.median(column) for column in zip(*turns, strict=True))
            print(f"{peer:<9}{seconds:>8.2f}  {100 * accuracy:>16.2f}")


if __name__ == "__main__":
    main()
