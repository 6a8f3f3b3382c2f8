"""MLPRegressor."""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if

from . import fitting, inputs, overrides
from .base import BaseMLP, Function
from .kept import KeptRegressor
from .one_thread import alone

LBFGS_TOO = hasattr(overrides.MLPRegressor(solver="lbfgs"), "partial_fit")      # as in the installed scikit-learn


class MLPRegressor(KeptRegressor, RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor with scikit-learn's interface, computed by fastbp.

    Minimises the mean loss over the examples plus a penalty of the weights.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error", "huber", "quantile"} or function, default="squared_error"
        In this order: 1/2 (h - y)^2; half the Poisson deviance, for y >= 0; |h - y|; the Huber loss with `huber_delta`;
        the pinball loss max(q (y - h), (q - 1) (y - h)) with q = `quantile`. h = exp(z) for "poisson", else h = z.
        A function f(z, Y, w) is your own loss, see docs/your_own_loss.md; Y has a column for each output. Early
        stopping then uses minus the loss as its score, unless scoring is given.
    hidden_layer_sizes : array-like of int or int, default=(100,)
        Units of each hidden layer; ``()`` for none.
    activation : str, or list of str, default="relu"
        Function of the hidden layers, one name or one per layer: "identity", "logistic", "tanh", "relu" as in
        scikit-learn; also "leaky_relu", "elu", "softplus", "silu", "gelu".
    solver : {"lbfgs", "sgd", "adam"} or optimizer, default="adam"
        Also an optimizer of fastbp, by its name (with learning_rate_init) or as an instance with its own settings.
    alpha : float, default=0.0001
        Strength of the penalty alpha / (2 m) sum W^2, m the number of examples of the batch or their weight.
    batch_size : int, default="auto"
        Examples per step; "auto" is min(200, n_samples). Not used by lbfgs.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        For sgd. "invscaling" is learning_rate_init / (t + 1)^power_t after t examples. "adaptive" divides the rate by
        5 when the fit would stop for lack of progress.
    learning_rate_init : float, default=0.001
        Not used by lbfgs.
    power_t : float, default=0.5
        For sgd with "invscaling".
    max_iter : int, default=200
        Maximum number of epochs; for lbfgs, of iterations.
    shuffle : bool, default=True
        Shuffle the examples before each epoch.
    random_state : int, RandomState instance or None, default=None
        Seed of the weights, the held-out examples and the shuffling. scikit-learn draws the same from it.
    tol : float, default=1e-4
        Smallest change of loss or score that counts as progress; for lbfgs, the tolerance of the gradient.
    verbose : bool, default=False
        Print the loss of each epoch.
    warm_start : bool, default=False
        `fit` continues from the present weights, with a new optimizer.
    momentum : float, default=0.9
        For sgd, in [0, 1].
    nesterovs_momentum : bool, default=True
        For sgd with momentum above 0.
    early_stopping : bool, default=False
        Hold examples out, stop when their score stops improving, and keep the weights of the best score.
    validation_fraction : float, default=0.1
        Fraction of the examples to hold out if `fit` gets no X_val.
    beta_1, beta_2 : float, default=0.9, 0.999
        For adam: decay of the moments, in [0, 1).
    epsilon : float, default=1e-8
        For adam: added to the root of the uncorrected moment, as in scikit-learn.
    n_iter_no_change : int or inf, default=10
        Patience: the fit stops after more than this many epochs in a row without progress.
    max_fun : int, default=15000
        For lbfgs: maximum number of evaluations of loss and gradient.
    init : str or (coefs, intercepts), default="auto"
        Start weights: "auto" as scikit-learn draws them; "glorot_uniform", "he_normal" (biases 0), "normal", "uniform"
        as `fastbp.Network` does; or your own arrays, in the shapes of coefs_ and intercepts_.
    scoring : str, callable or None, default=None
        Score of early stopping: a scorer of scikit-learn, or "loss" (of the held-out examples). None is
        R^2 for the losses of scikit-learn, and "loss" for absolute_error, huber and quantile.
    callbacks : callable or list of callables, default=None
        Each is called with the estimator after each epoch; the fit stops if one returns True. scikit-learn's own
        callbacks go to `set_callbacks` (scikit-learn 1.9 on).
    dropout : float, or sequence of float, default=0.0
        Rate p of the hidden layers, one number or one per layer, in [0, 1). In each step an activation a of an example
        becomes 0 with probability p, else a / (1 - p). loss_curve_ is measured with dropout, predictions and scores
        without. Not with lbfgs.
    clip_norm : float, default=None
        The gradient of a step, penalty included, is scaled so that its norm is at most this. Not with lbfgs.
    huber_delta : float, default=1.0
        For loss="huber": an error e costs e^2/2 up to |e| = huber_delta, and huber_delta (|e| - huber_delta/2) beyond.
    quantile : float, default=0.5
        For loss="quantile": the quantile of y given x to learn, in (0, 1).
    n_threads : int, default=None
        Maximum number of threads; None chooses automatically, and takes one inside jobs of joblib. The result is
        bit-identical for any number.
    curve_length : int, default=None
        Keep only this many of the newest entries of loss_curve_, validation_scores_ and validation_loss_curve_, for
        endless `partial_fit`; None keeps all, as scikit-learn does.

    Attributes
    ----------
    coefs_ : list of ndarray (n_in, n_out)
    intercepts_ : list of ndarray (n_out,)
        Views of the network's parameters. You may write values into them or replace the arrays.
    loss_ : float
        Loss of the last epoch: the mean over its batches, each before its step, penalty included.
    best_loss_ : float or None
        Smallest loss of an epoch; None with early stopping.
    loss_curve_ : list of float
        Loss of each epoch; not with lbfgs.
    validation_scores_ : list of float or None
    validation_loss_curve_ : list of float or None
        Score and mean cost (without penalty) of the held-out examples after each epoch.
    best_validation_score_ : float or None
    n_iter_ : int
    t_ : int
        Examples seen by the optimizer.
    network_ : Network
        A copy of the network behind coefs_ and intercepts_.
    n_layers_ : int
        Number of layers, input and output included.
    n_outputs_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Column names of X; exists only if X has them.
    out_activation_ : str
        Function of the outputs. You may assign another for predictions: "identity" gives the logits.

    See Also
    --------
    MLPClassifier : The same for class labels.

    Notes
    -----
    The parameters up to max_fun have scikit-learn's defaults and meanings; the others are additions. With the same
    random_state the weights are those of scikit-learn up to rounding. As there, the reported squared error is also a
    mean over the outputs, while the steps follow the gradient of the sum over them.

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
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error", "huber", "quantile"}), Function()],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        loss: Any = "squared_error", hidden_layer_sizes: Any = (100,), activation: str | Sequence[str] = "relu", *,
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
        self.loss = loss
        self.hidden_layer_sizes, self.activation, self.solver = hidden_layer_sizes, activation, solver
        self.alpha, self.batch_size = alpha, batch_size
        self.learning_rate, self.learning_rate_init = learning_rate, learning_rate_init
        self.power_t, self.max_iter, self.shuffle, self.random_state = power_t, max_iter, shuffle, random_state
        self.tol, self.verbose, self.warm_start, self.momentum = tol, verbose, warm_start, momentum
        self.nesterovs_momentum, self.early_stopping = nesterovs_momentum, early_stopping
        self.validation_fraction, self.beta_1, self.beta_2, self.epsilon = validation_fraction, beta_1, beta_2, epsilon
        self.n_iter_no_change, self.max_fun, self.init = n_iter_no_change, max_fun, init
        self.scoring, self.callbacks, self.dropout, self.clip_norm = scoring, callbacks, dropout, clip_norm
        self.huber_delta, self.quantile = huber_delta, quantile
        self.n_threads, self.curve_length = n_threads, curve_length

    def _validate_input(self, X, y, incremental, reset, held_out=False):
        X, y = inputs.checked(
            self, X, y, multi_output=True, y_numeric=True, dtype=(np.float64, np.float32), reset=reset
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if isinstance(self.loss, str) and self.loss == "poisson" and y.min() < 0:
            at = np.argwhere(y < 0)[0]
            raise ValueError(f"loss='poisson' needs y >= 0; y[{', '.join(map(str, at))}] is {y[tuple(at)]}")
        return X, y, y.reshape(len(y), -1)

    def _quick_target(self, y, dtype):
        fits = y.dtype == dtype and y.shape == ((1,) if self.n_outputs_ == 1 else (1, self.n_outputs_))
        return y if fits and (math.isfinite(y[0]) if y.ndim == 1 else np.isfinite(y).all()) else None

    def _network_settings(self):
        name = {"huber": "huber_delta", "quantile": "quantile"}.get(self.loss) if isinstance(self.loss, str) else None
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
            float32 data are computed in float32, all others in float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the examples, 0 or more.
        X_val, y_val, sample_weight_val : optional
            Your own validation examples; nothing is held out of X then.
        checkpoint : str, bytes or os.PathLike, optional
            Everything needed to resume is written atomically to this file: at the start, every `checkpoint_every`, and
            at the end. Not with lbfgs.
        checkpoint_every : int, or (number, "epochs" or "seconds")
            How often the checkpoint is written.
        resume : bool, optional
            True resumes from `checkpoint` if the file exists, to the same bits as a fit that was never stopped;
            max_iter is the total. A file with other parameters or another shape of data is refused. False overwrites
            the file. None does so too, but raises ValueError if the file holds a finished epoch or no fit.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            If the input cannot be used, or if the weights become non-finite: they keep the values from before that
            epoch.
        """
        given = X_val, y_val, sample_weight_val
        return self._fit_with(X, y, sample_weight, given, checkpoint, checkpoint_every, resume)

    @available_if(lambda self: LBFGS_TOO or self._check_solver())
    @alone
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Run one epoch over X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As for `fit`. One row takes microseconds if X and y are C-contiguous ndarrays of the dtype of
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
        return self._predict(X)

    def _predict(self, X, check_input=True):
        h = self._forward_pass_fast(X, check_input)
        return h.ravel() if h.shape[1] == 1 else h

    def _score(self, X, y, sample_weight=None):
        return self._score_with_function(X, y, sample_weight, r2_score)
