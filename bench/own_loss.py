"""What a loss of one's own costs: the call of a function in Python for each batch, a compiled one for each example,
steps along gradients from outside, the norms of each example's gradient, and a policy-gradient update beside PyTorch's
eager one.

    python -m bench.own_loss
"""

import ctypes
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.pop(0)  # the clone's own fastbp/ may be uncompiled: import the installed one
import fastbp

SOURCE = """
double squared(int K, const double *z, const double *y, double *delta, void *user)
{
    double cost = 0;
    (void)user;
    for (int k = 0; k < K; k++) {
        delta[k] = z[k] - y[k];
        cost += 0.5 * delta[k] * delta[k];
    }
    return cost;
}
"""


def microseconds(functions, per, rounds=15):
    """The medians of the functions' times in microseconds, divided by `per`; they take turns."""
    times = [[] for _ in functions]
    for _ in range(rounds):
        for function, into in zip(functions, times, strict=True):
            begin = time.perf_counter()
            function()
            into.append(1e6 * (time.perf_counter() - begin) / per)
    return [statistics.median(each) for each in times]


def squared(z, Y, w):
    e = z - Y
    return 0.5 * np.square(e[:, 0]), e


def compiled():
    """SOURCE as a LowLevelCallable; None without a C compiler."""
    from scipy import LowLevelCallable

    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "own.c"), Path(folder, "own.so")
        source.write_text(SOURCE)
        try:
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        function, vector = ctypes.CDLL(str(library)).squared, ctypes.POINTER(ctypes.c_double)
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_int, vector, vector, vector, ctypes.c_void_p]
    return LowLevelCallable(function)


def overheads():
    """A batch of 32 of a 20-30-1 network: the built-in loss, the same in Python, and compiled."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((3200, 20)), rng.standard_normal((3200, 1))
    z, few = rng.standard_normal((32, 1)), (X[:32].copy(), Y[:32].copy())
    own, = microseconds([lambda: [squared(z, few[1], None) for _ in range(1000)]], 1000)
    print(f"the function itself: {own:.1f} us")
    losses = {"built-in": "squared_error", "Python": squared, "compiled": compiled()}
    nets = {name: fastbp.Network([20, 30, 1], activation="tanh", loss=loss, seed=0)
            for name, loss in losses.items() if loss is not None}
    for rule in (fastbp.Adam(), fastbp.SGD(0.01)):
        trainers = [fastbp.Trainer(net, rule) for net in nets.values()]
        epochs = microseconds([lambda net=net, rule=rule: fastbp.train(net, X, Y, epochs=20, optimizer=rule, seed=0)
                               for net in nets.values()], 2000)
        steps = microseconds([lambda t=t: [t.step(*few) for _ in range(1000)] for t in trainers], 1000)
        for what, times in (("train", epochs), ("Trainer.step", steps)):
            told = ", ".join(f"{name} {value:.2f}" for name, value in zip(nets, times, strict=True))
            print(f"{rule.compiled}, {what}, us a batch of 32: {told}; "
                  f"overhead of Python {times[1] - times[0] - own:.1f} us")
    if "compiled" in nets:
        for size in (1, 32, 3200):
            how = {"epochs": 5, "batch_size": size, "optimizer": fastbp.SGD(0.01), "seed": 0}
            built_in, other = microseconds([
                lambda net=net, how=how: fastbp.train(net, X, Y, **how)
                for name, net in nets.items() if name != "Python"], 1)
            print(f"compiled, batch size {size}: {other / built_in:.2f} times the built-in loss")


def outside():
    """Steps along gradients from outside beside `Trainer.step`, and the norms of all gradients beside one gradient."""
    rng = np.random.default_rng(0)
    for m in (1, 32):
        X, Y = rng.standard_normal((m, 20)), rng.standard_normal((m, 1))
        nets = [fastbp.Network([20, 30, 1], activation="tanh", output="identity", seed=0) for _ in range(2)]
        one, other = (fastbp.Trainer(net, fastbp.Adam()) for net in nets)
        G = np.zeros((m, 1))

        def along(trainer=other, X=X, G=G):
            trainer.forward(X)
            trainer.step(X, gradient=G)

        times = microseconds([lambda t=one, X=X, Y=Y: [t.step(X, Y) for _ in range(2000)],
                              lambda along=along: [along() for _ in range(2000)]], 2000)
        print(f"Trainer.step, {m} examples: {times[0]:.2f} us; forward and step(gradient=): {times[1]:.2f} us, "
              f"{times[1] - times[0]:.2f} more")
    for m, layers in ((32, [20, 30, 1]), (1000, [20, 30, 1]), (1000, [784, 100, 10])):
        X, Y = rng.standard_normal((m, layers[0])), rng.standard_normal((m, layers[-1]))
        net = fastbp.Network(layers, activation="tanh", output="identity", seed=0)
        times = microseconds([lambda net=net, X=X, Y=Y: net.cost_and_gradient(X, Y, n_threads=1),
                              lambda net=net, X=X, Y=Y: net.gradient_norms(X, Y, n_threads=1)], 1, 201)
        name = "-".join(map(str, layers))
        print(f"gradient_norms of {m} examples of {name}: {times[1] / times[0]:.2f} times one gradient")


def policy_gradient(z, Y, w):
    """Y has the columns action and advantage"""
    right, advantage = np.eye(2)[Y[:, 0].astype(int)], Y[:, 1]
    log_pi = z - np.logaddexp(z[:, 0], z[:, 1])[:, np.newaxis]
    return -advantage * (right * log_pi).sum(axis=1), advantage[:, np.newaxis] * (np.exp(log_pi) - right)


def reinforcement(m=64):
    """An update of a 4-32-2 policy from m steps of episodes."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((m, 4)), np.column_stack([rng.integers(0, 2, m), rng.standard_normal(m)])
    net = fastbp.Network([4, 32, 2], activation="tanh", output="softmax", loss=policy_gradient, seed=0)
    trainer = fastbp.Trainer(net, fastbp.Adam(0.01))
    functions = [lambda: [trainer.step(X, Y) for _ in range(200)]]
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed")
    else:
        torch.set_num_threads(1)
        model = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2)).double()
        rule = torch.optim.Adam(model.parameters(), 0.01)
        states, actions, advantages = torch.tensor(X), torch.tensor(Y[:, 0]).long(), torch.tensor(Y[:, 1])

        def update():
            rule.zero_grad()
            loss = -(torch.distributions.Categorical(logits=model(states)).log_prob(actions) * advantages).mean()
            loss.backward()
            rule.step()

        functions.append(lambda: [update() for _ in range(200)])
    mine, *theirs = microseconds(functions, 200)
    told = "".join(f", PyTorch {value:.0f} us, {value / mine:.1f} times" for value in theirs)
    print(f"policy-gradient update of {m} steps: fastbp {mine:.1f} us{told}")


if __name__ == "__main__":
    overheads()
    outside()
    for m in (16, 64, 500):
        reinforcement(m)
