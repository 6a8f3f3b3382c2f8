"""MLPRegressor."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from . import fitting, inputs, overrides
from .base import BaseMLP

LBFGS_TOO = hasattr(overrides.MLPRegressor(solver="lbfgs"), "partial_fit")      # as the installed scikit-learn has it


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor: scikit-learn's, on fastbp.

    Minimises the mean of the loss over the examples, and the penalty of the weights.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error", "huber", "quantile"}, default="squared_error"
        1/2 (h - y)^2 with h = z; half the Poisson deviance with h = exp(z), for y >= 0; with h = z also |h - y|, the
        Huber loss with `huber_delta`, and the pinball loss max(q (y - h), (q - 1) (y - h)) with q = `quantile`.
    hidden_layer_sizes : array-like of int or int, default=(100,)
        Units of each hidden layer; ``()`` for none.
    activation : str, or list of str, default="relu"
        Function of the hidden layers, one name or one per layer: "identity", "logistic", "tanh", "relu" as in
        scikit-learn; also "leaky_relu", "elu", "softplus", "silu", "gelu".
    solver : {"lbfgs", "sgd", "adam"} or optimizer, default="adam"
        Or an optimizer of fastbp, by its name (with learning_rate_init) or as an instance with its own settings.
    alpha : float, default=0.0001
        Strength of the penalty alpha / (2 m) sum W^2, m the number of examples of the batch or their weight.
    batch_size : int, default="auto"
        Examples of a step, not used by lbfgs; "auto" is min(200, n_samples).
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        For sgd: learning_rate_init; learning_rate_init / (t + 1)^power_t, t the examples seen; or a fifth of it each
        time that there was no progress for n_iter_no_change epochs.
    learning_rate_init : float, default=0.001
        Not used by lbfgs.
    power_t : float, default=0.5
        For sgd with "invscaling".
    max_iter : int, default=200
        Epochs; for lbfgs iterations.
    shuffle : bool, default=True
        A new order of the examples each epoch.
    random_state : int, RandomState instance or None, default=None
        Of the weights, the held-out examples and the order: with the same one scikit-learn draws the same.
    tol : float, default=1e-4
        Progress below tol for n_iter_no_change epochs in a row ends the training; for lbfgs the tolerance of the
        gradient.
    verbose : bool, default=False
        Print the loss of each epoch.
    warm_start : bool, default=False
        `fit` goes on from the weights that are there, with a new optimizer.
    momentum : float, default=0.9
        For sgd, in [0, 1].
    nesterovs_momentum : bool, default=True
        For sgd with a momentum above 0.
    early_stopping : bool, default=False
        Hold examples out, stop when their score stops improving, and keep the weights of the best score.
    validation_fraction : float, default=0.1
        Share of the examples held out, where `fit` is given no X_val.
    beta_1, beta_2 : float, default=0.9, 0.999
        For adam: decay of the moments, in [0, 1).
    epsilon : float, default=1e-8
        For adam: beside the uncorrected root, as in scikit-learn.
    n_iter_no_change : int or inf, default=10
        Epochs without progress that are put up with.
    max_fun : int, default=15000
        For lbfgs: evaluations of loss and gradient.
    init : str or (coefs, intercepts), default="auto"
        Start: "auto" as scikit-learn draws it; "glorot_uniform", "he_normal" (biases 0), "normal", "uniform" of
        `fastbp.Network`; or weights of your own in the shapes of coefs_ and intercepts_.
    scoring : str, callable or None, default=None
        What early stopping looks at: a scorer of scikit-learn, "loss" (of the held-out examples). None is
        R^2 for the losses of scikit-learn, and "loss" for absolute_error, huber and quantile.
    callbacks : callable or list of callables, default=None
        Each is called with the estimator after an epoch; True ends the training. For scikit-learn's own callbacks
        see `set_callbacks` (scikit-learn 1.9 on).
    dropout : float, or sequence of float, default=0.0
        Rate of the hidden layers, one number or one a layer, in [0, 1): at each step an a of an example is 0 with this
        probability p, else a / (1 - p). loss_curve_ is that of the steps; predictions and scores drop nothing.
        Not with lbfgs.
    clip_norm : float, default=None
        The gradient of a step, penalty included, is scaled so that its norm is at most this. Not with lbfgs.
    huber_delta : float, default=1.0
        For loss="huber": e = h - y counts e^2/2 up to |e| = huber_delta, and huber_delta (|e| - huber_delta/2) beyond.
    quantile : float, default=0.5
        For loss="quantile": which quantile of y given x is learnt, in (0, 1).
    n_threads : int, default=None
        At most this many threads; None decides by what helps, one inside the jobs of joblib. Never changes a bit.
    curve_length : int, default=None
        Keep only this many of the newest entries of loss_curve_, validation_scores_ and validation_loss_curve_, for
        endless `partial_fit`; None keeps all, as scikit-learn does.

    Attributes
    ----------
    coefs_ : list of ndarray (n_in, n_out)
    intercepts_ : list of ndarray (n_out,)
        Views of the network's parameters: values written into them count; so do arrays put in their place.
    loss_ : float
        Of the last epoch: the mean of its batches, penalty included, each before its step.
    best_loss_ : float or None
        The smallest; None with early stopping.
    loss_curve_ : list of float
        One an epoch; not with lbfgs.
    validation_scores_ : list of float or None
    validation_loss_curve_ : list of float or None
        Score, and mean cost without penalty, of the held-out examples after each epoch.
    best_validation_score_ : float or None
    n_iter_ : int
    t_ : int
        Examples seen by the optimizer.
    n_layers_ : int
        Input and output layer included.
    n_outputs_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has column names.
    out_activation_ : str
        Function of the outputs. Predictions follow what is assigned: "identity" makes them the logits.

    See Also
    --------
    MLPClassifier : The same for class labels.

    Notes
    -----
    The parameters up to max_fun, their defaults and meanings are scikit-learn's; the others are additions. With the
    same random_state the weights are those of scikit-learn up to rounding. As there, the squared error that is
    reported is a mean over the outputs too, while the steps follow the gradient of their sum.

    Examples
    --------
    >>> from fastbp.sklearn import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(n_samples=200, n_features=5, random_state=1)
    >>> reg = MLPRegressor(hidden_layer_sizes=20, solver="lbfgs", random_state=0, max_iter=2000).fit(X, y / 100)
    >>> bool(reg.score(X, y / 100) > 0.99)
    True
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error", "huber", "quantile"})],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        loss: str = "squared_error", hidden_layer_sizes: Any = (100,), activation: str | Sequence[str] = "relu", *,
        solver: Any = "adam", alpha: float = 0.0001, batch_size: int | str = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True,
        random_state: Any = None, tol: float = 1e-4, verbose: bool = False, warm_start: bool = False,
        momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, max_fun: int = 15000, init: Any = "auto",
        scoring: str | Callable[..., float] | None = None,
        callbacks: Any = None, dropout: float | Sequence[float] = 0.0, clip_norm: float | None = None,
        huber_delta: float = 1.0, quantile: float = 0.5, n_threads: int | None = None,
        curve_length: int | None = None,
    ) -> None:
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})

    def _validate_input(self, X, y, incremental, reset, held_out=False):
        X, y = inputs.checked(
            self, X, y, multi_output=True, y_numeric=True, dtype=(np.float64, np.float32), reset=reset
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if self.loss == "poisson" and y.min() < 0:
            at = np.argwhere(y < 0)[0]
            raise ValueError(f"loss='poisson' needs y >= 0; y[{', '.join(map(str, at))}] is {y[tuple(at)]}")
        return X, y, y.reshape(len(y), -1)

    def _quick_target(self, y, dtype):
        fits = y.dtype == dtype and y.shape == ((1,) if self.n_outputs_ == 1 else (1, self.n_outputs_))
        return y if fits and np.isfinite(y).all() else None

    def _network_settings(self):
        name = {"huber": "huber_delta", "quantile": "quantile"}.get(self.loss)
        return {} if name is None else {name: float(getattr(self, name))}

    def _output(self):
        return "exp" if self.loss == "poisson" else "identity"

    def _count_outputs(self, target):
        return target.shape[1]

    def _stratifies(self):
        return False

    def _score_of(self, h, target, w):
        return fitting.r2(h, target, w)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None, checkpoint: Any = None, checkpoint_every: Any = 1, resume: bool | None = None,
    ) -> Self:
        """Fit to X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            float32 and float64 are computed in as they are, everything else in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), optional
            None negative.
        X_val, y_val, sample_weight_val : optional
            Examples of your own to be validated with; nothing is held out of X then.
        checkpoint : str, bytes or os.PathLike, optional
            Everything needed to resume is written atomically to this file: at once, every `checkpoint_every`, and at
            the end. Not with lbfgs.
        checkpoint_every : int, or (number, "epochs" or "seconds")
            How often the checkpoint is written.
        resume : bool, optional
            True resumes from `checkpoint` if the file is there, to the bits of a fit that was never stopped; max_iter
            is the total. A file made with other parameters or data of another shape is refused. False overwrites the
            file. None begins, unless the file holds a finished epoch: then it is a ValueError.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            For input that cannot be used; when the weights are no longer finite (they stay as they were before that
            epoch).
        """
        given = X_val, y_val, sample_weight_val
        return self._fit_with(X, y, sample_weight, given, checkpoint, checkpoint_every, resume)

    @available_if(lambda self: LBFGS_TOO or self._check_solver())
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch over X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As for `fit`. One row takes microseconds where X and y are C-contiguous ndarrays of the dtype of
            the weights.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            As for `fit`.
        sample_weight : array-like of shape (n_samples,), optional
            As for `fit`.

        Returns
        -------
        self
            The estimator.
        """
        if sample_weight is None and self._partial_fit_quick(X, y):
            return self
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Predict targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The outputs.
        """
        h = self._outputs(X)
        return h.ravel() if h.shape[1] == 1 else h

    def _predict(self, X, check_input=True):
        h = self._forward_pass_fast(X, check_input)
        return h.ravel() if h.shape[1] == 1 else h
