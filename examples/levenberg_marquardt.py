"""A smooth function of two variables fitted to six digits: Levenberg-Marquardt against L-BFGS, with equal time."""

import sys
import time
import warnings

import numpy as np

import fastbp

warnings.filterwarnings("ignore", "minimize ended at its limit")
axis = np.linspace(-1, 1, 21)
X = np.array([[u, v] for u in axis for v in axis])
y = np.sin(3 * X[:, 0]) * np.cos(2 * X[:, 1]) + X[:, 0] * X[:, 1] ** 2
start = fastbp.Network([2, 15, 15, 1], activation="tanh", output="identity", init="nguyen_widrow", seed=0)


def rmse(net, theta=None):
    return (2 * net.cost(X, y, theta=theta)) ** 0.5


class Watch:
    """Records (seconds, rmse) now and then; stops the search at an rmse of 1e-6 or when the time is up"""

    def __init__(self, net, seconds):
        self.net, self.seconds, self.began, self.course, self.n = net, seconds, time.perf_counter(), [], 0

    def __call__(self, theta):
        self.n += 1
        if self.n % 10 == 0:
            self.course.append((time.perf_counter() - self.began, rmse(self.net, theta)))
            if self.course[-1][1] < 1e-6 or self.course[-1][0] > self.seconds:
                raise StopIteration


courses, seconds = {}, 60
for method in ("lm", "L-BFGS-B"):
    net = start.copy()
    watch = Watch(net, seconds)
    options = {} if method == "lm" else {"options": {"ftol": 0, "gtol": 0}}
    fastbp.minimize(net, X, y, method=method, maxiter=10**6, callback=watch, **options)
    courses[method], seconds = np.array(watch.course), watch.course[-1][0]
    print(f"{method:<9} rmse {rmse(net):.1e} after {watch.n} steps, {seconds:.1f} s")

if len(sys.argv) > 1:  # a file for the picture
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for method, course in courses.items():
        axes.semilogy(*course.T, label={"lm": "Levenberg-Marquardt"}.get(method, "L-BFGS"))
    axes.set(xlabel="seconds", ylabel="root mean square error", title="2-15-15-1 on 441 points")
    axes.legend()
    figure.savefig(sys.argv[1], dpi=120)
