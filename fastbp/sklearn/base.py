"""The base of both estimators: parameters, the model behind coefs_ and intercepts_, fit and partial_fit."""

from functools import cache
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from .. import _kernels, optimizers, words
from ..engine import checks, initialize
from ..engine.own import of
from . import callbacks, fitting, inputs, lbfgs, messages, overrides, quick
from .callbacks import CallbackSupportMixin
from .checkpoint import NOTHING, Checkpoint
from .model import Model, draw, functions_of
from .one_thread import alone
from .private import PrivateMethods

REALS = ("alpha", "learning_rate_init", "power_t", "tol", "epsilon")    # must be finite as float
ACTIVATIONS = {*_kernels.activations, *(word for word, name in words.FUNCTIONS.items() if name in _kernels.activations)}


class Function(Options):
    """Accept a loss function: a LowLevelCallable or another callable, but no other tuple and no class."""

    def __init__(self):
        super().__init__(object, set())

    def is_satisfied_by(self, val):
        return of(val) is not None

    def __str__(self):
        return "a function f(z, Y, w) or a scipy.LowLevelCallable"


class Curve(list):
    """A list of losses. It is pickled as an array, in half the bytes, and loads as a plain list."""

    def __reduce_ex__(self, protocol):
        return list, (np.array(self, np.float64),)


def partial_fit(self, X, y, sample_weight, classes=None):
    overrides.check(self)
    self._announce(y, classes)
    return self._fit(X, y, sample_weight, incremental=True)


# the name tells scikit-learn not to check the parameters of a fitted estimator again
_epoch_of = _fit_context(prefer_skip_nested_validation=True)(partial_fit)


class BaseMLP(PrivateMethods, CallbackSupportMixin, BaseEstimator):
    """Base of both estimators; not used directly."""

    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    loss_: float
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    n_iter_: int
    curve_length: int | None = None     # older pickles lack this parameter

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012  (scikit-learn's form)
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(ACTIVATIONS), list, tuple],
        "solver": [StrOptions({"lbfgs", *optimizers.NAMED}), HasMethods(["init", "update"])],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"auto", *initialize.DEFAULT_EPS}), list, tuple],
        "scoring": [str, callable, None],
        "callbacks": [list, tuple, callable, None],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "curve_length": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, loss: str) -> None:
        self.loss = loss

    @classmethod
    @cache      # reading the signature takes a tenth of a small fit
    def _get_param_names(cls):
        return super()._get_param_names()

    def _check_solver(self):
        if isinstance(self.solver, str) and self.solver == "lbfgs":
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def _loss_divisor(self):
        """The divisor of the reported mean cost: scikit-learn's squared error is a mean over the outputs too."""
        return self.n_outputs_ if self.loss == "squared_error" else 1

    def _network_settings(self):
        """The arguments of Network for the parameters of the loss."""
        return {}

    def _functions(self):
        return functions_of(self.activation), self.out_activation_, self.loss, self._network_settings()

    def _weights(self):
        """The arguments of Model.of."""
        return self.coefs_, self.intercepts_, self._functions()

    def _model_of_weights(self):
        """The model behind coefs_ and intercepts_; a new one if these were assigned or loaded."""
        model, weights = vars(self).get("_fastbp_model"), self._weights()
        if model is None or not model.is_of(*weights):
            model = Model.of(*weights)
            self._hold(model)
        return model

    def _writable_model(self):
        """The model behind coefs_ and intercepts_; a copy of it if one of their arrays is read-only."""
        model = self._model_of_weights()
        if not model.is_writable():
            model = model.thawed()
            self._hold(model)
        return model

    def _hold(self, model):
        """Put the model's arrays into coefs_ and intercepts_; existing lists stay the same objects."""
        before = getattr(vars(self).get("_fastbp_model"), "lists", (None, None))
        for name, views, own in zip(("coefs_", "intercepts_"), (model.coefs, model.intercepts), before, strict=True):
            held: Any = getattr(self, name, None)
            if held is own and isinstance(held, list):
                held[:] = views
            else:
                setattr(self, name, list(views))
        self._fastbp_model, model.lists = model, (self.coefs_, self.intercepts_)

    def _train_on(self, model):
        """Continue training with arrays that a callback has put into coefs_ or intercepts_."""
        if not model.is_of(self.coefs_, self.intercepts_, model.functions):
            model.take(self.coefs_, self.intercepts_)
            self._hold(model)

    def __getstate__(self):
        state = dict(super().__getstate__())
        state.pop("_fastbp_model", None)       # rebuilt from coefs_ and intercepts_
        if isinstance(state.get("loss_curve_"), list):
            state["loss_curve_"] = Curve(state["loss_curve_"])
        return state

    def __setstate__(self, state):
        if isinstance(state.get("loss_curve_"), np.ndarray | Curve):      # an older fastbp pickled an array
            state = {**state, "loss_curve_": list(np.asarray(state["loss_curve_"]))}
        super().__setstate__(state)

    @property
    def _best_coefs(self):
        return [T[:, 1:].T for T in self._model_of_weights().net.plan.views(self._best_theta)]

    @property
    def _best_intercepts(self):
        return [T[:, 0] for T in self._model_of_weights().net.plan.views(self._best_theta)]

    def _initialize(self, y, layer_units, dtype):
        """Set weights and counts to their start values, for checked targets y and these layer sizes."""
        self.n_iter_, self.t_ = 0, 0
        self.n_outputs_, self.n_layers_, self.out_activation_ = layer_units[-1], len(layer_units), self._output()
        model = Model(layer_units, self._functions(), dtype)
        if isinstance(self.init, str) and self.init == "auto":
            overrides.draw(self, model)
        else:
            draw(model, self.init, self._random_state)
        self.__dict__.pop("_fastbp_model", None)       # lists of an earlier fit keep its weights
        self._hold(model)
        self._best_theta = model.net.theta.copy()
        self._drawn_hidden = list(layer_units[1:-1])
        if not (isinstance(self.solver, str) and self.solver == "lbfgs"):
            self._start_curves()

    def _start_curves(self):
        self.loss_curve_ = []
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_ = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None
        self.validation_loss_curve_ = [] if self.early_stopping else None

    def _check_goes_on(self, hidden, n_outputs):
        """Raise ValueError if partial_fit or a warm start cannot continue with the present weights."""
        *sizes, K = [W.shape[1] for W in self.coefs_]
        name = type(self).__name__
        if hidden != sizes and hidden != vars(self).get("_drawn_hidden", hidden):
            raise ValueError(
                f"hidden_layer_sizes is {self.hidden_layer_sizes!r}, but this {name} continues with weights of hidden "
                f"layers {tuple(sizes)}. Set hidden_layer_sizes={tuple(sizes)} to continue, or warm_start=False to "
                "fit new weights"
            )
        if n_outputs != K:
            raise ValueError(f"y has {n_outputs} outputs, but this {name} continues with weights that have {K}")
        self._check_output()
        self._hidden_given = self.hidden_layer_sizes

    def _check_output(self):
        """Raise ValueError if out_activation_ does not suit the loss: there is no gradient for such a pair."""
        output = self._output()
        if self.out_activation_ != output:
            raise ValueError(
                f"out_activation_={self.out_activation_!r} can be used for predictions only: loss={self.loss!r} is "
                f"trained with {output!r}. Set out_activation_={output!r} to continue, or fit with warm_start=False"
            )

    def _fit(self, X, y, sample_weight=None, incremental=False, validation=None, checkpoint=NOTHING):
        before = dict(vars(self))
        lists = [(a, list(a)) for a in map(before.get, ("coefs_", "intercepts_")) if isinstance(a, list)]
        try:
            model, run = self._prepare(X, y, sample_weight, incremental, validation, checkpoint)
        except BaseException:
            self.__dict__ = before      # no step was taken: the estimator stays as it was
            for own, arrays in lists:
                own[:] = arrays
            raise
        run()
        if not model.is_finite():
            raise ValueError(messages.NON_FINITE)
        return self

    def _prepare(self, X, y, sample_weight, incremental, validation, checkpoint):
        """Make all checks, set the start values; return the model and a function that fits it."""
        hidden = self._check_numbers()
        stochastic = not (isinstance(self.solver, str) and self.solver == "lbfgs")
        if not stochastic and (np.any(self.dropout) or self.clip_norm is not None):
            raise ValueError("solver='lbfgs' has no steps for dropout and clip_norm; "
                             f"got dropout={self.dropout!r}, clip_norm={self.clip_norm!r}")
        if validation is not None and (incremental or not stochastic):
            raise ValueError(f"X_val and y_val need epochs; solver={self.solver!r} has none")
        if checkpoint is not NOTHING and not stochastic:
            raise ValueError(f"a checkpoint is written between epochs; solver={self.solver!r} has none")
        callbacks.listed(self.callbacks)
        if validation is not None or self.early_stopping:
            fitting.scorer_of(self)
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)

        X, y, target = self._validate_input(X, y, incremental, reset=first_pass)
        score_w = inputs.weights(sample_weight, X)
        if self.early_stopping and incremental and stochastic:      # after the checks of X and y, as in scikit-learn
            raise ValueError("partial_fit does not support early_stopping=True")
        w = self._training_weights(y, score_w, incremental)
        if validation is not None:
            validation = self._validate_held_out(*validation)
        n_outputs = self._count_outputs(target)
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            self._initialize(target, [X.shape[1], *hidden, n_outputs], X.dtype)
        self._check_goes_on(hidden, n_outputs)
        self.n_outputs_ = n_outputs
        model = self._model_of_weights()
        if stochastic and not model.is_writable():
            raise ValueError(messages.READ_ONLY)
        model = self._writable_model()      # L-BFGS replaces read-only arrays by new ones, as scikit-learn does
        if stochastic:
            run = fitting.stochastic(self, model, X, y, target, w, score_w, incremental, validation, checkpoint)
        else:
            run = lbfgs.full_batch(self, model, X, y, target, w)
        return model, run

    def _check_numbers(self):
        """Refuse bad numbers that scikit-learn's constraints accept; return the hidden layers as a list."""
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if not all(isinstance(units, Integral) for units in hidden):
            raise TypeError(f"hidden_layer_sizes must hold whole numbers, got {hidden}.")
        if any(units <= 0 for units in hidden):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        if isinstance(self.solver, type):
            raise TypeError(f"solver must be a name or an instance, such as fastbp.Adam(1e-3); got {self.solver!r}")
        for name in REALS:
            value = getattr(self, name)
            if abs(value.item() if isinstance(value, np.generic) else value) > checks.LARGEST:
                raise ValueError(f"{name} must be less than {checks.LARGEST:g}")
        return hidden

    @alone
    def _fit_with(self, X, y, w, validation, checkpoint, every, resume):
        """`fit`, with the arguments that scikit-learn's fit lacks."""
        overrides.check(self)
        if (validation[0] is None) != (validation[1] is None):
            raise ValueError("X_val and y_val go together; got only one of them")
        validation = None if validation[0] is None else validation
        if checkpoint is None and resume:
            raise ValueError("resume=True needs a checkpoint to resume from; got checkpoint=None")
        keeper = NOTHING if checkpoint is None else Checkpoint(checkpoint, every, resume)
        return self._fit(X, y, w, validation=validation, checkpoint=keeper)

    def _validate_held_out(self, X, y, w):
        """Check X_val, y_val and sample_weight_val; return the arguments of `Validation`."""
        X, y, target = self._validate_input(X, y, incremental=True, reset=False, held_out=True)
        w = inputs.weights(w, X)
        return X, y, target, w

    def _training_weights(self, y, sample_weight, incremental):
        return sample_weight

    def _partial_fit_quick(self, X, y):
        return quick.partial_fit(self, X, y)

    def _partial_fit(self, X, y, sample_weight, *classes):
        return _epoch_of(self, X, y, sample_weight, *classes)

    def _announce(self, y, classes):
        """Set the classes, given to the first call of partial_fit."""

    def _outputs(self, X, of="outputs"):
        """h (m, K) of an unchecked X; of="logits": z(L)."""
        known = vars(self)
        model = known.get("_fastbp_model")
        if model is not None and "feature_names_in_" not in known and model.is_of(*self._weights()):
            h = model.quick_outputs(X) if of == "outputs" else model.quick_logits(X)
            if h is not None:
                return h
        check_is_fitted(self)
        X = inputs.checked(self, X, reset=False)
        return inputs.outputs(self._model_of_weights(), X, of)

    def input_gradient(self, X: Any) -> np.ndarray:
        """Compute derivatives of the outputs with respect to the inputs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs, n_features)
            Derivatives dh_k/dx_j at each sample; for a binary classifier h is the probability of ``classes_[1]``.

        Notes
        -----
        Each output takes one backward pass to the input: from delta(L) = dh_k/dz(L) to delta(1) = Theta(1)' delta(2),
        without the bias.
        """
        check_is_fitted(self)
        model = self._model_of_weights()
        X = inputs.checked(self, X, reset=False)
        return inputs.gradients(model, X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

