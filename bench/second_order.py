"""Second-order methods compared with their peers and with their bare arithmetic, on one thread: an iteration of
Levenberg-Marquardt (torch-levenberg-marquardt, pyrenn), L-BFGS (SciPy), products with the Hessian (torch.func).

    taskset -c 1 python -m bench.second_order
"""

import itertools
import statistics
import sys
import time
import warnings

import numpy as np
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpotrf

sys.path.pop(0)  # the clone's own fastbp/ may be uncompiled: import the installed one
import fastbp
from fastbp.engine import blas

warnings.filterwarnings("ignore", "minimize ended at its limit")


def milliseconds(functions, rounds=9):
    """The medians of the functions' times in milliseconds; they take turns."""
    times = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(rounds):
        for function, into in zip(functions, times, strict=True):
            begin = time.perf_counter()
            function()
            into.append(1e3 * (time.perf_counter() - begin))
    return [statistics.median(each) for each in times]


def regression(sizes, m):
    """A tanh network and m examples of a noisy function."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, sizes[0]))
    Y = np.sin(X @ rng.standard_normal((sizes[0], sizes[-1]))) + 0.1 * rng.standard_normal((m, sizes[-1]))
    return fastbp.Network(sizes, activation="tanh", output="identity", seed=0), X, Y


# ---------------------------------------------------------------- Levenberg-Marquardt


def torch_steps(net, X, Y, n):
    """n steps of torch-levenberg-marquardt with its fastest solver; None if it is not installed."""
    try:
        import torch
        from torch_levenberg_marquardt.training import LevenbergMarquardtModule
    except ImportError:
        return None
    torch.set_num_threads(1)
    layers = []
    for l, Theta in enumerate(net.Theta):
        linear = torch.nn.Linear(Theta.shape[1] - 1, Theta.shape[0], dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.tensor(Theta[:, 1:]), torch.tensor(Theta[:, 0])
        layers += [linear, torch.nn.Tanh()] if l < len(net.Theta) - 1 else [linear]
    module = LevenbergMarquardtModule(torch.nn.Sequential(*layers), solve_method="cholesky")
    inputs, targets = torch.tensor(X), torch.tensor(Y)
    return lambda: [module.training_step(inputs, targets) for _ in range(n)]


def pyrenn_steps(net, X, Y, n):
    """n steps of pyrenn from its own start; None if it is not installed."""
    try:
        import pyrenn
    except ImportError:
        return None
    return lambda: pyrenn.train_LM(X.T, Y.T, pyrenn.CreateNN(list(net.layer_sizes)), k_max=n, E_stop=0)


def steps():
    """An iteration of 13-10-1 on 506 rows."""
    net, X, Y = regression([13, 10, 1], 506)
    n = 60
    names = ["fastbp", "torch-levenberg-marquardt", "pyrenn"]
    runs = [lambda: fastbp.minimize(net.copy(), X, Y, method="lm", maxiter=n, n_threads=1),
            torch_steps(net, X, Y, n), pyrenn_steps(net, X, Y, 3)]
    found = [(name, run, 3 if name == "pyrenn" else n)
             for name, run in zip(names, runs, strict=True) if run is not None]
    times = milliseconds([run for _, run, _ in found], 7)
    told = ", ".join(f"{name} {t / count:.2f}" for (name, _, count), t in zip(found, times, strict=True))
    print(f"Levenberg-Marquardt, ms an iteration of 13-10-1, m = 506: {told}")


def large_steps():
    """An iteration with 1,000 parameters and more, compared with only B'B and its Cholesky factor."""
    for sizes, m in (([20, 45, 1], 5_000), ([20, 90, 1], 5_000), ([30, 60, 2], 2_000)):
        net, X, Y = regression(sizes, m)
        P, n = net.n_parameters, 4
        B = np.asfortranarray(np.random.default_rng(0).standard_normal((P, m * sizes[-1])))

        def alone(B=B, n=n):
            with blas.single_thread(everywhere=True):
                for _ in range(n):
                    dpotrf(dsyrk(1.0, B), overwrite_a=True)

        def ours(net=net, X=X, Y=Y, n=n):
            # the damping stays large: every step is taken, with one B'B and one factor
            return fastbp.minimize(net.copy(), X, Y, method="lm", maxiter=n, n_threads=1, options={"mu": 1e3})

        result = ours()
        whole, less = milliseconds([ours, lambda ours=ours: ours(n=1)], 5)
        per, bare = (whole - less) / (n - 1), milliseconds([alone], 5)[0] / n
        name = "-".join(map(str, sizes))
        print(f"Levenberg-Marquardt of {name} ({P} parameters), m = {m}: {per:.1f} ms an iteration, dsyrk and potrf "
              f"alone {bare:.1f}: {per / bare:.2f} times ({result.nfev} evaluations in {result.nit} iterations)")


# ---------------------------------------------------------------- L-BFGS


def lbfgs():
    """200 iterations on 94 rows of 1-10-1, by SciPy and by compiled code."""
    net, X, Y = regression([1, 10, 1], 94)
    ends = {"maxiter": 200, "options": {"ftol": 0, "gtol": 0}}
    ours, scipys = milliseconds([
        lambda: fastbp.minimize(net.copy(), X, Y, method="L-BFGS", **ends),
        lambda: fastbp.minimize(net.copy(), X, Y, method="L-BFGS-B", **ends),
    ], 25)
    print(f"L-BFGS, us an iteration of 1-10-1, 94 rows: {5 * ours:.2f}, SciPy {5 * scipys:.2f}: "
          f"{scipys / ours:.1f} times")


# ---------------------------------------------------------------- products with curvature


def torch_product(net, X, Y, V):
    """jvp of grad by torch.func; None without PyTorch."""
    try:
        import torch
        from torch.func import grad, jvp
    except ImportError:
        return None
    torch.set_num_threads(1)
    inputs, targets = torch.tensor(X), torch.tensor(Y)

    def cost(parameters):
        a = inputs
        for l, Theta in enumerate(parameters):
            z = torch.addmm(Theta[:, 0], a, Theta[:, 1:].T)
            a = torch.tanh(z) if l < len(parameters) - 1 else z
        return ((a - targets) ** 2).sum() / (2 * len(a))

    theta = tuple(torch.tensor(Theta) for Theta in net.Theta)
    p = tuple(torch.tensor(part) for part in net.views(V))
    return lambda: jvp(grad(cost), (theta,), (p,))


def multiply_adds(sizes):
    """Multiply-adds per example: of a gradient, of a product, and of one whose forward pass and delta are kept."""
    products = [k * n for k, n in itertools.pairwise(sizes)]
    every, later = sum(products), sum(products[1:])
    gradient = 2 * every + later                    # forward, Delta; delta
    kept = 2 * every + 4 * later                    # p with a, Delta; Theta with R a, two each backward and in Delta
    return gradient, kept + every + later, kept


def products():
    """Products with the Hessian, kept and not, relative to a gradient, by time and by multiply-adds."""
    for sizes, m in (([64, 30, 10], 1_797), ([784, 100, 10], 5_000), ([64, 64, 64, 64, 64], 2_000)):
        net, X, Y = regression(sizes, m)
        V = np.random.default_rng(1).standard_normal(net.n_parameters)
        H, G = (make(net, X, Y, n_threads=1) for make in (fastbp.curvature.hessian, fastbp.curvature.gauss_newton))
        runs = [lambda net=net, X=X, Y=Y: net.cost_and_gradient(X, Y, n_threads=1),
                lambda net=net, X=X, Y=Y, V=V: net.hessian_product(X, Y, V, n_threads=1),
                lambda H=H, V=V: H @ V, lambda G=G, V=V: G @ V, torch_product(net, X, Y, V)]
        gradient, product, kept, gauss, *others = milliseconds([run for run in runs if run is not None])
        one, whole, rest = multiply_adds(sizes)
        told = f"; torch.func {others[0]:.1f} ms, {others[0] / product:.1f} times" if others else ""
        name = "-".join(map(str, sizes))
        print(f"products of {name}, m = {m}, in gradients of {gradient:.2f} ms (by multiply-adds): H p "
              f"{product / gradient:.2f} ({whole / one:.2f}), kept {kept / gradient:.2f} ({rest / one:.2f}), "
              f"G p kept {gauss / gradient:.2f}{told}")


if __name__ == "__main__":
    lbfgs()
    steps()
    large_steps()
    products()
