"""MLPClassifier."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from scipy.special import expit
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from . import fitting, inputs
from .base import BaseMLP, Function
from .kept import KeptClassifier
from .labels import Labels, binarizer_of, class_factors, has_one_class, refuse_bytes
from .one_thread import alone
from .outputs import log_sigmoid, log_sigmoids, log_softmax
from .overrides import is_overridden

LOST = 1e-3     # 1 - p below this has lost more than its last three digits


class MLPClassifier(KeptClassifier, Labels, ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier with scikit-learn's interface, computed by fastbp.

    Minimises the cross-entropy of a softmax (three classes or more) or of sigmoids (two classes; several labels).

    Parameters
    ----------
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
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, times sample_weight; "balanced" is n_samples / (n_classes * count of the class). It counts
        the same in batches of every size; sample_weight counts less in small ones, as in scikit-learn.
    init : str or (coefs, intercepts), default="auto"
        Start weights: "auto" as scikit-learn draws them; "glorot_uniform", "he_normal" (biases 0), "normal", "uniform"
        as `fastbp.Network` does; or your own arrays, in the shapes of coefs_ and intercepts_.
    scoring : str, callable or None, default=None
        Score of early stopping: a scorer of scikit-learn, "loss" (of the held-out examples), or None for `score`.
    callbacks : callable or list of callables, default=None
        Each is called with the estimator after each epoch; the fit stops if one returns True. scikit-learn's own
        callbacks go to `set_callbacks` (scikit-learn 1.9 on).
    dropout : float, or sequence of float, default=0.0
        Rate p of the hidden layers, one number or one per layer, in [0, 1). In each step an activation a of an example
        becomes 0 with probability p, else a / (1 - p). loss_curve_ is measured with dropout, predictions and scores
        without. Not with lbfgs.
    clip_norm : float, default=None
        The gradient of a step, penalty included, is scaled so that its norm is at most this. Not with lbfgs.
    n_threads : int, default=None
        Maximum number of threads; None chooses automatically, and takes one inside jobs of joblib. The result is
        bit-identical for any number.
    curve_length : int, default=None
        Keep only this many of the newest entries of loss_curve_, validation_scores_ and validation_loss_curve_, for
        endless `partial_fit`; None keeps all, as scikit-learn does.
    loss : "log_loss" or function, default="log_loss"
        "log_loss" is the cross-entropy. A function f(z, Y, w) is your own loss, see docs/your_own_loss.md: Y holds the
        numbers of the classes (m,), or 0 and 1 in a column for two classes and for each of several labels. Early
        stopping then uses minus the loss as its score, unless scoring is given.

    Attributes
    ----------
    classes_ : ndarray, or list of ndarray for several labels
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
    MLPRegressor : The same for targets that are numbers.

    Notes
    -----
    The parameters up to max_fun have scikit-learn's defaults and meanings; the others are additions. With the same
    random_state the weights are those of scikit-learn up to rounding. A fit on one class predicts one column of
    probabilities, all 1.

    Examples
    --------
    >>> from fastbp.sklearn import MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = MLPClassifier(20, solver="lbfgs", random_state=0, max_iter=1000).fit(X, y)
    >>> bool(clf.score(X, y) > 0.95)
    True
    >>> clf.predict_proba(X[:1]).shape
    (1, 3)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "loss": [StrOptions({"log_loss"}), Function()],
    }
    loss: Any = "log_loss"      # older pickles lack the attribute

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,), activation: str | Sequence[str] = "relu", *,
        solver: Any = "adam", alpha: float = 0.0001, batch_size: int | str = "auto", learning_rate: str = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True,
        random_state: Any = None, tol: float = 1e-4, verbose: bool = False, warm_start: bool = False,
        momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
        validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        n_iter_no_change: float = 10, max_fun: int = 15000, class_weight: Any = None, init: Any = "auto",
        scoring: str | Callable[..., float] | None = None, callbacks: Any = None,
        dropout: float | Sequence[float] = 0.0, clip_norm: float | None = None, n_threads: int | None = None,
        curve_length: int | None = None, loss: Any = "log_loss",
    ) -> None:
        self.hidden_layer_sizes, self.activation, self.solver = hidden_layer_sizes, activation, solver
        self.alpha, self.batch_size = alpha, batch_size
        self.learning_rate, self.learning_rate_init = learning_rate, learning_rate_init
        self.power_t, self.max_iter, self.shuffle, self.random_state = power_t, max_iter, shuffle, random_state
        self.tol, self.verbose, self.warm_start, self.momentum = tol, verbose, warm_start, momentum
        self.nesterovs_momentum, self.early_stopping = nesterovs_momentum, early_stopping
        self.validation_fraction, self.beta_1, self.beta_2, self.epsilon = validation_fraction, beta_1, beta_2, epsilon
        self.n_iter_no_change, self.max_fun = n_iter_no_change, max_fun
        self.class_weight, self.init = class_weight, init
        self.scoring, self.callbacks, self.dropout, self.clip_norm = scoring, callbacks, dropout, clip_norm
        self.n_threads, self.curve_length = n_threads, curve_length

        BaseMLP.__init__(self, loss)        # in scikit-learn an attribute, not a parameter

    def _validate_input(self, X, y, incremental, reset, held_out=False):
        X, y = inputs.checked(self, X, y, multi_output=True, dtype=(np.float64, np.float32), reset=reset)
        if sp.issparse(y):
            y = y.toarray()
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        new = not hasattr(self, "classes_") or (not self.warm_start and not incremental)
        try:
            if new:
                self._label_binarizer = binarizer_of(y)
                self.classes_ = self._label_binarizer.classes_
            return X, y, self._encode(y, None if new else "same" if self.warm_start and not held_out else "known")
        except TypeError as error:
            refuse_bytes(y)
            raise TypeError(f"y must hold labels that can be sorted, all numbers or all strings: {error}") from None

    def _output(self):
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _count_outputs(self, target):
        if target.ndim == 2:
            return target.shape[1]
        return len(self.classes_) if self._label_binarizer.y_type_ == "multiclass" else 1

    def _stratifies(self):
        return self.n_outputs_ == 1

    def _score_of(self, h, target, w):
        return fitting.accuracy(h, target, w)

    def _training_weights(self, y, sample_weight, incremental):
        if self.class_weight is None:
            return sample_weight
        given = self.class_weight if isinstance(self.class_weight, list) else [self.class_weight]
        if incremental and any(isinstance(each, str) for each in given):
            raise ValueError(
                "class_weight='balanced' needs all of y; for partial_fit pass a dict, such as that of "
                "sklearn.utils.class_weight.compute_class_weight('balanced', classes=classes, y=y)"
            )
        try:
            with np.errstate(over="ignore"):
                w = class_factors(self.class_weight, y, self.classes_)
            if not (np.isfinite(w) & (w >= 0)).all():
                raise ValueError("weights must be finite and not negative")
        except (ValueError, TypeError) as error:
            raise ValueError(f"class_weight={self.class_weight!r}: {error}") from None
        if sample_weight is not None:
            if not sample_weight.any():
                return sample_weight    # refused by its own name
            with np.errstate(over="ignore"):
                w = w * sample_weight
        if not w.any() or not np.isfinite(w).all():
            times = "" if sample_weight is None else " times sample_weight"
            raise ValueError(f"class_weight={self.class_weight!r}{times} gives the examples of y weights from "
                             f"{w.min():g} to {w.max():g}; they must be finite, with a positive sum")
        return w

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
            Class labels, or a column of 0 and 1 for each of several labels.
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

    @available_if(lambda self: self._check_solver())
    @alone
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Run one epoch over X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As for `fit`. One row takes microseconds if X is a C-contiguous ndarray of the dtype of the weights and y
            one of the dtype of classes_.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            As for `fit`.
        sample_weight : array-like of shape (n_samples,), optional
            As for `fit`.
        classes : array of shape (n_classes,), optional
            All classes that will occur; required in the first call.

        Returns
        -------
        self
            The estimator.
        """
        if classes is None and sample_weight is None and self._partial_fit_quick(X, y):
            return self
        try:
            return self._partial_fit(X, y, sample_weight, classes)
        except Exception:
            if not hasattr(self, "coefs_"):     # the first call was refused: forget its classes
                for name in {"classes_", "_label_binarizer"} & vars(self).keys():
                    delattr(self, name)
            raise

    def predict(self, X: Any) -> np.ndarray:
        """Predict class labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Labels from classes_; 0 and 1 for several labels.
        """
        return self._predict(X)

    def _predict(self, X, check_input=True):
        return self._labels(self._forward_pass_fast(X, check_input))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of classes_.
        """
        h = self._forward_pass_fast(X)
        if h.ndim > 1 and h.shape[1] > 1:
            return h
        h = h.reshape(-1, 1)
        if has_one_class(self):
            return np.ones_like(h)
        both = np.empty((len(h), 2), h.dtype)
        np.subtract(1, h[:, 0], out=both[:, 0])
        both[:, 1] = h[:, 0]
        lost = both[:, 0] < LOST
        if self.out_activation_ == "logistic" and lost.any() and not is_overridden(self, "_forward_pass_fast"):
            some = isinstance(X, np.ndarray)
            z = self._outputs(X[lost] if some else X, of="logits")
            both[lost, 0] = expit(-(z if some else z[lost])[:, 0])
        return both

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict logarithms of the probabilities of the classes, computed from the logits.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of classes_; finite even if a probability rounds to 0.
        """
        overridden = getattr(self.predict_proba, "__func__", None) is not MLPClassifier.predict_proba
        overridden |= is_overridden(self, "_forward_pass_fast")
        if overridden or vars(self).get("out_activation_", "softmax") not in ("softmax", "logistic"):
            return np.log(self.predict_proba(X))
        z = self._outputs(X, of="logits")
        if has_one_class(self):
            return np.zeros_like(z)
        if self.out_activation_ == "softmax":
            return log_softmax(z) if z.shape[1] > 1 else np.log(self.predict_proba(X))
        return log_sigmoids(z, self._outputs(X)) if z.shape[1] > 1 else np.hstack([log_sigmoid(-z), log_sigmoid(z)])

    def _score(self, X, y, sample_weight=None):
        return self._score_with_function(X, y, sample_weight, accuracy_score)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
