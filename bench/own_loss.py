"""The cost of your own loss: a Python function called for each batch, a compiled one for each example, steps along
gradients from outside, the norms of each example's gradient, and a policy-gradient update compared with PyTorch's eager
one. Each figure with a limit says whether it holds; the exit status is 1 if one does not.

    taskset -c 1 python -m bench.own_loss
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


broken = []     # the figures beyond their limits


def against(value, limit, what, unit="", least=False):
    """Print a figure and its limit, the most or the least that it may be."""
    holds = value >= limit if least else value <= limit
    print(f"    {what}: {value:.2f}{unit}, at {'least' if least else 'most'} {limit:g}{unit}: "
          f"{'holds' if holds else 'DOES NOT HOLD'}", flush=True)
    if not holds:
        broken.append(what)


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
            print(f"{rule.compiled}, {what}, us a batch of 32: {told}")
            against(times[1] - times[0] - own, 10, "a function in Python, beside itself", " us")
    if "compiled" in nets:
        for size in (1, 32, 3200):
            how = {"epochs": 5, "batch_size": size, "optimizer": fastbp.SGD(0.01), "seed": 0}
            built_in, other = microseconds([
                lambda net=net, how=how: fastbp.train(net, X, Y, **how)
                for name, net in nets.items() if name != "Python"], 1)
            against(other / built_in, 1.1, f"compiled, batch size {size}", " times the built-in loss")


def outside():
    """Steps along gradients from outside against `Trainer.step`, and the norms of all gradients against a gradient."""
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
        print(f"Trainer.step, {m} examples: {times[0]:.2f} us; forward and step(gradient=): {times[1]:.2f} us")
        against(times[1] - times[0], 2, "forward and step(gradient=), more than Trainer.step", " us")
    for m, layers in ((32, [20, 30, 1]), (1000, [20, 30, 1]), (1000, [784, 100, 10])):
        X, Y = rng.standard_normal((m, layers[0])), rng.standard_normal((m, layers[-1]))
        net = fastbp.Network(layers, activation="tanh", output="identity", seed=0)
        calls = max(1, 3000 // m)
        times = microseconds([
            lambda net=net, X=X, Y=Y, n=calls: [net.cost_and_gradient(X, Y, n_threads=1) for _ in range(n)],
            lambda net=net, X=X, Y=Y, n=calls: [net.gradient_norms(X, Y, n_threads=1) for _ in range(n)]], calls, 51)
        name = "-".join(map(str, layers))
        against(times[1] / times[0], 1.15, f"gradient_norms of {m} examples of {name}", " times one gradient")


def policy_gradient(z, Y, w):
    """Y has the columns action and advantage. With s = z(the other action) - z(action), log pi(action) is
    -log(1 + e^s), and its derivative with respect to s is -e^s / (1 + e^s)."""
    sign, advantage = 1 - 2 * Y[:, 0], Y[:, 1]
    s = sign * (z[:, 1] - z[:, 0])
    costs = np.maximum(s, 0) + np.log1p(np.exp(-np.abs(s)))
    slope = sign * advantage * np.exp(s - costs)
    slopes = np.empty_like(z)
    slopes[:, 0], slopes[:, 1] = -slope, slope
    return advantage * costs, slopes


def torch_updates(X, Y):
    """{form: an update of the same policy by PyTorch, eager}; none if it is not installed."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)
    states = torch.tensor(X)
    actions, advantages = torch.tensor(Y[:, 0]).long(), torch.tensor(Y[:, 1], dtype=states.dtype)

    def by(cost):
        """An update for the costs (m,) of the logits"""
        model = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2)).to(states.dtype)
        rule = torch.optim.Adam(model.parameters(), RATE)

        def update():
            rule.zero_grad()
            (cost(model(states)) * advantages).mean().backward()
            rule.step()

        return update

    return {
        "Categorical": by(lambda z: -torch.distributions.Categorical(logits=z).log_prob(actions)),
        "cross_entropy": by(lambda z: torch.nn.functional.cross_entropy(z, actions, reduction="none")),
    }


RATE = 1e-5     # so small that the policy stays random although every update uses the same steps


def reinforcement(m, dtype):
    """An update of a 4-32-2 policy from m steps of episodes, and where its time goes."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((m, 4)), np.column_stack([rng.integers(0, 2, m), rng.standard_normal(m)])
    X = X.astype(dtype)
    net = fastbp.Network([4, 32, 2], activation="tanh", output="softmax", loss=policy_gradient, dtype=dtype, seed=0)
    trainer, other = (fastbp.Trainer(each, fastbp.Adam(RATE)) for each in (net, net.copy()))
    z = net.forward(X)
    G = np.zeros_like(z)

    def passes():
        other.forward(X)
        other.step(X, gradient=G)

    theirs = torch_updates(X, Y)
    functions = [lambda: trainer.step(X, Y), lambda: policy_gradient(z, Y, None), passes, *theirs.values()]
    mine, loss, engine, *others = microseconds([lambda f=f: [f() for _ in range(100)] for f in functions], 100)
    operations = 2 * m * (2 * 4 * 32 + 3 * 32 * 2)      # forward, Delta, and delta except for the first layer
    told = "".join(f"; PyTorch, {name}: {value:.0f} us" for name, value in zip(theirs, others, strict=True))
    print(f"policy-gradient update of {m} steps, {dtype}: {mine:.1f} us (the loss in NumPy {loss:.1f}, both passes and "
          f"Adam {engine:.1f}: {operations / engine / 1000:.1f} GFLOP/s){told}")
    if others:
        against(others[0] / mine, 10, "PyTorch, Categorical, divided by fastbp", " times", least=True)


if __name__ == "__main__":
    overheads()
    outside()
    for m in (16, 64, 500):
        for dtype in ("float64", "float32"):
            reinforcement(m, dtype)
    sys.exit(f"beyond its limit: {'; '.join(broken)}" if broken else 0)
