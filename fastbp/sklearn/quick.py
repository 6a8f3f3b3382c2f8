"""`partial_fit` of one row in microseconds: nothing is checked twice, nothing is converted.

Anything but a plain array of the right dtype and width takes the slow path, through scikit-learn's checks.
"""

import numpy as np

from .fitting import after_epoch
from .overrides import THEIRS
from .stochastic import Stochastic


def partial_fit(estimator, X, y):
    """Take one step on X (1, n_features) and y (1,) or (1, K). False, with nothing done, if it needs the slow path."""
    e = estimator
    known = vars(e)
    model, optimizer = known.get("_fastbp_model"), known.get("_optimizer")
    if (
        model is None or optimizer is None or type(X) is not np.ndarray or type(y) is not np.ndarray or X.ndim != 2
        or len(X) != 1 or y.dtype.hasobject or e.early_stopping or "feature_names_in_" in known
        or e.callbacks or "_skl_callbacks" in known or not known.keys().isdisjoint(THEIRS)
        or not (isinstance(e.batch_size, str) or e.batch_size == 1) or not model.can_read(X)
        or not model.is_of(*e._weights()) or not model.is_writable()
        or e.hidden_layer_sizes is not known.get("_hidden_given")
        or (isinstance(e.solver, str) and e.solver == "lbfgs")
        or not isinstance(optimizer, Stochastic) or optimizer.trainer is None or optimizer.trainer.net is not model.net
    ):
        return False
    target = e._quick_target(y, model.net.dtype)
    if target is None:
        return False
    trainer, theta, alpha = optimizer.trainer, model.net.theta, float(e.alpha)
    optimizer.set(alpha, e.clip_norm)
    optimizer.before[:] = theta
    divisor = e._loss_divisor()
    penalty = 0.5 * alpha * sum(float(np.vdot(W, W)) for W in model.coefs) if divisor > 1 else 0.0
    J = trainer.step(X, target)
    diverged = not model.is_finite()
    if diverged:
        theta[:] = optimizer.before
    e.n_iter_ = 0
    after_epoch(e, model, (J - penalty) / divisor + penalty, 1, diverged=diverged)
    return True
