"""Online learning: each example is first predicted, then learned, while the rule behind the data drifts."""

import time

import numpy as np

import fastbp

rng = np.random.default_rng(0)
m, inputs = 20_000, 8
X = rng.standard_normal((m, inputs))
angle = np.linspace(0, np.pi, m)  # the rule makes half a turn
w = np.cos(angle)[:, None] * rng.standard_normal(inputs) + np.sin(angle)[:, None] * rng.standard_normal(inputs)
Y = ((X * w).sum(axis=1) > 0).astype(float)[:, None]

net = fastbp.Network([inputs, 16, 1], activation="tanh", seed=0)
frozen = net.copy()
fastbp.train(frozen, X[:2000], Y[:2000], epochs=20, seed=0)  # trained once, never again

trainer = fastbp.Trainer(net, fastbp.SGD(0.1))
right = np.empty(m, bool)
started = time.perf_counter()
for i in range(m):
    x, y = X[i : i + 1], Y[i : i + 1]
    right[i] = (net.predict(x[0])[0] > 0.5) == y[0, 0]
    trainer.step(x, y)
seconds = time.perf_counter() - started

right_frozen = (frozen.predict(X) > 0.5) == Y
for first in range(0, m, 4000):
    part = slice(first, first + 4000)
    print(f"examples {first:>6} ..: online {100 * right[part].mean():5.1f} % right, "
          f"learnt once {100 * right_frozen[part].mean():5.1f} %")
print(f"{1e6 * seconds / m:.1f} µs to predict and learn an example")
