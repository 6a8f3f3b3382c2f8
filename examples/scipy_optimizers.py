"""SciPy's optimizers on J and D: six full-batch methods, and one direct call of scipy.optimize."""

import time
import warnings

import scipy.optimize

import fastbp

warnings.filterwarnings("ignore", "minimize ended at its limit")  # the number of iterations is limited
X, y = fastbp.datasets.load_digits()
X = X / 16
start = fastbp.Network([64, 20, 10], activation="tanh", output="softmax", seed=0)
options = {"weight_decay": 1e-3}

for method in ("L-BFGS-B", "CG", "TNC"):
    net = start.copy()
    began = time.perf_counter()
    result = fastbp.minimize(net, X, y, method=method, maxiter=100, **options)
    print(f"{method:<9} J = {result.fun:.4f} after {result.nfev} evaluations, {time.perf_counter() - began:.2f} s, "
          f"{100 * net.evaluate(X, y).accuracy:.1f} % right")

small = fastbp.Network([64, 2, 10], activation="tanh", output="softmax", seed=0)
for method in ("BFGS", "SLSQP", "trust-constr"):  # these hold a matrix of all pairs of parameters
    net = small.copy()
    result = fastbp.minimize(net, X, y, method=method, maxiter=10, **options)
    print(f"{method:<12} J = {result.fun:.4f}")

net = start.copy()
result = scipy.optimize.minimize(
    lambda theta: net.cost_and_gradient(X, y, theta=theta, **options), net.theta, jac=True, method="L-BFGS-B",
    options={"maxiter": 50},
)
net.theta = result.x
print(f"by hand   J = {result.fun:.4f}, |D| = {abs(result.jac).max():.1e}")
