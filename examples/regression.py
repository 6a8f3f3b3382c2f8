"""Regression with outliers, by squared error and by Huber's loss. The learning rate is reduced on plateaus."""

import numpy as np

import fastbp
from fastbp.callbacks import EarlyStopping, ReduceOnPlateau

rng = np.random.default_rng(0)


def friedman(m, outliers=0.0):
    """Friedman 1991: X uniform in [0, 1]^5, and y standardised with the moments of the function (14.4, 4.9)"""
    X = rng.random((m, 5))
    y = 10 * np.sin(np.pi * X[:, 0] * X[:, 1]) + 20 * (X[:, 2] - 0.5) ** 2 + 10 * X[:, 3] + 5 * X[:, 4]
    y += np.where(rng.random(m) < outliers, rng.normal(0, 50, m), rng.normal(0, 1, m))
    return (X - 0.5) * 12**0.5, (y - 14.4) / 4.9


X, y = friedman(3000, outliers=0.05)
X_test, y_test = friedman(2000)
for loss in ("squared_error", "huber"):
    net = fastbp.Network([5, 40, 40, 1], activation="tanh", output="identity", loss=loss, seed=0)
    history = fastbp.train(
        net, X, y, optimizer=fastbp.Adam(5e-3), epochs=150, batch_size=64, weight_decay=1e-4, validation_split=0.2,
        metrics=["mae"], callbacks=[ReduceOnPlateau(factor=0.3, patience=5), EarlyStopping(patience=15)], seed=0,
    )
    r2 = fastbp.metrics.r2(net.predict(X_test), y_test)
    print(f"{loss}: {len(history)} epochs, mae of the validation {history['val_mae'][-1]:.3f}, test r2 {r2:.3f}")
