"""Error bars without a validation set: the evidence chooses the weight decay, and Laplace adds error bars."""

import sys

import numpy as np

import fastbp

rng = np.random.default_rng(3)
x = np.concatenate([rng.uniform(-3, -0.5, 25), rng.uniform(1, 2.5, 15)])
y = 20 + 5 * (np.sin(2 * x) + 0.2 * rng.standard_normal(len(x)))
of_x, of_y = fastbp.Standardise(x), fastbp.Standardise(y)
X, Y = of_x.transform(x)[:, np.newaxis], of_y.transform(y)

found = []
for units in (2, 4, 8, 16):
    net = fastbp.Network([1, units, 1], activation="tanh", output="identity", init="nguyen_widrow", seed=0)
    result = fastbp.minimize(net, X, Y, method="lm", bayesian=True, maxiter=3000)
    print(f"{units:2} units: log evidence {result.log_evidence:6.1f}, {result.gamma:4.1f} of {net.n_parameters} "
          f"parameters determined, noise {of_y.scale[0] * (2 * result.beta) ** -0.5:.2f} (true: 1.00)")
    found.append((result.log_evidence, net, result))

_, net, result = max(found, key=lambda each: each[0])
laplace = fastbp.Laplace(net, X, Y, weight_decay=result.weight_decay, bias_precision=2 * result.alpha)
grid = np.linspace(-4, 4, 400)
Z = of_x.transform(grid)[:, np.newaxis]
mean, std = (part[:, 0] for part in laplace.predict(Z))
mean, std = of_y.inverse(mean), std * of_y.scale[0]
inside = (np.abs(y - np.interp(x, grid, mean)) < 2 * of_y.scale[0] * laplace.predict(X, noise=True)[1][:, 0]).mean()
print(f"{net.layer_sizes[1]} units; {100 * inside:.0f} % of the points within two standard deviations; "
      f"std {np.interp(-1.5, grid, std):.2f} among the points, {np.interp(0.25, grid, std):.2f} in the gap")
ready = of_x.fold(net, targets=of_y)  # takes raw x and returns raw y
print(f"at x = -1.5: {ready.predict([-1.5])[0]:.2f}, in truth {20 + 5 * np.sin(-3):.2f}")

if len(sys.argv) > 1:  # a file for the picture
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(grid, mean - 2 * std, mean + 2 * std, alpha=0.25, lw=0, label="mean $\\pm$ 2 std")
    axes.plot(grid, of_y.inverse(laplace.sample(Z, 5, seed=0)[:, :, 0].ravel()).reshape(5, -1).T, lw=0.7, color="gray")
    axes.plot(grid, mean, label="network")
    axes.plot(grid, 20 + 5 * np.sin(2 * grid), "k--", lw=1, label="truth")
    axes.plot(x, y, "k.", label="points")
    axes.set(xlabel="x", ylabel="y", ylim=(5, 35), title="Laplace around a network trained by the evidence")
    axes.legend(loc="upper left", ncols=2)
    figure.savefig(sys.argv[1], dpi=120)
