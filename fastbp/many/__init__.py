"""Many networks at once: `train_many`, tables of the results, and `Ensemble`.

Examples
--------
>>> import numpy as np, fastbp
>>> X, Y = fastbp.datasets.load_digits()
>>> nets = [fastbp.Network([64, h, 10], output="softmax", seed=h) for h in (8, 16)]
>>> histories = fastbp.train_many(nets, X / 16, Y, epochs=2, seed=0, rows=np.arange(1400),
...                               validation_rows=np.arange(1400, 1797))
>>> len(histories)
2
"""

from .ensemble import Ensemble, Prediction
from .table import table
from .train import train_many

__all__ = ["Ensemble", "Prediction", "table", "train_many"]
