"""Private methods of scikit-learn's classes that public code calls. Training and prediction here do not use them."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.utils.extmath import safe_sparse_dot

from ..engine.data import Data
from . import inputs, lbfgs
from .model import Model, packed_places
from .outputs import apply


class PrivateMethods:
    """Mixin: the same names, arguments and results as in scikit-learn's BaseMultilayerPerceptron."""

    activation: str | Sequence[str]
    out_activation_: str
    _random_state: np.random.RandomState
    alpha: float
    coefs_: list[np.ndarray]
    _model_of_weights: Callable[..., Model]
    _writable_model: Callable[..., Model]
    _check_output: Callable[..., None]
    _predict: Callable[..., np.ndarray]
    _outputs: Callable[..., np.ndarray]

    def _init_coef(self, fan_in, fan_out, dtype):
        """Start values of a layer: U(-r, r), r = sqrt(6 / (fan_in + fan_out)), 2 in place of 6 for the sigmoid.

        This is the only private method that subclasses may override. (Glorot & Bengio 2010.)
        """
        names = self.activation
        if not isinstance(names, str):      # one per layer; the output layer is drawn as the last hidden one
            names = [*names, *names[-1:], "relu"][min(vars(self).get("_drawn_layer", 0), len(names))]
        r = math.sqrt((2.0 if names in ("logistic", "sigmoid") else 6.0) / (fan_in + fan_out))
        coef_init = self._random_state.uniform(-r, r, (fan_in, fan_out))
        intercept_init = self._random_state.uniform(-r, r, fan_out)
        return coef_init.astype(dtype, copy=False), intercept_init.astype(dtype, copy=False)

    def _forward_pass(self, activations):
        """Fill activations[1:], each (m, s_l), from activations[0], the checked X; the last is h."""
        model = self._model_of_weights()
        layers = model.trace(inputs.dense(activations[0], model.net.dtype))
        activations[1:] = [*layers[:-1], apply(self.out_activation_, layers[-1])]
        return activations

    def _forward_pass_fast(self, X, check_input=True):
        """h (m, K), the outputs through out_activation_."""
        return self._outputs(X) if check_input else inputs.outputs(self._model_of_weights(), X)

    def _unpack(self, packed_parameters):
        """coefs_ and intercepts_ from one vector: all coefs, then all intercepts, row by row."""
        n = self._model_of_weights().net.n_parameters
        if np.shape(packed_parameters) != (n,):
            raise ValueError(f"packed_parameters must have shape ({n},); got {np.shape(packed_parameters)}")
        model = self._writable_model()
        model.net.theta[packed_places(model)] = packed_parameters

    def _loss_grad_lbfgs(
        self, packed_coef_inter, X, y, sample_weight, activations=None, deltas=None, coef_grads=None,
        intercept_grads=None,
    ):
        """Loss and packed gradient at these packed parameters, which become coefs_ and intercepts_.

        The last four arguments are lists to fill, as in `_backprop`; None if they are not needed.
        """
        self._check_output()
        self._unpack(packed_coef_inter)
        if activations is not None:
            self._backprop(X, y, sample_weight, activations, deltas, coef_grads, intercept_grads)
        model = self._model_of_weights()
        return lbfgs.packed_loss_and_gradient(self, model, packed_coef_inter, X, self._target_of(y), sample_weight)

    def _backprop(self, X, y, sample_weight, activations, deltas, coef_grads, intercept_grads):
        """Loss and gradients with respect to coefs_ and intercepts_; fills the four lists."""
        self._check_output()
        model = self._model_of_weights()
        self._forward_pass(activations)
        X, target = inputs.dense(X, model.net.dtype), self._target_of(y)
        packed = model.net.theta[packed_places(model)]
        loss, D = lbfgs.packed_loss_and_gradient(self, model, packed, X, target, sample_weight)
        data = Data(model.net.plan, model.net.dtype, X, target, sample_weight)
        deltas[:] = data.deltas(model.net.theta)
        shapes = [a.shape for a in model.coefs + model.intercepts]
        parts = np.split(D.astype(model.net.dtype), np.cumsum([math.prod(shape) for shape in shapes])[:-1])
        grads = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        coef_grads[:], intercept_grads[:] = grads[: len(model.coefs)], grads[len(model.coefs) :]
        return loss, coef_grads, intercept_grads

    def _compute_loss_grad(self, layer, sw_sum, activations, deltas, coef_grads, intercept_grads):
        """Fill coef_grads[layer] (k, n) and intercept_grads[layer] (n,) from its input (m, k) and its delta (m, n)."""
        coef_grads[layer] = safe_sparse_dot(activations[layer].T, deltas[layer])
        coef_grads[layer] += self.alpha * self.coefs_[layer]
        coef_grads[layer] /= sw_sum
        intercept_grads[layer] = np.sum(deltas[layer], axis=0) / sw_sum

    def _score_with_function(self, X, y, sample_weight, score_function):
        """The value of a metric for checked X; NaN if a prediction is not finite."""
        predicted = self._predict(X, check_input=False)
        if np.issubdtype(predicted.dtype, np.floating) and not np.isfinite(predicted).all():
            return np.nan
        return score_function(y, predicted, sample_weight=sample_weight)

    def _target_of(self, y):
        """The engine's targets from scikit-learn's: labels from one-hot columns, others as columns."""
        y = np.asarray(y)
        return y.argmax(axis=1) if self.out_activation_ == "softmax" else y.reshape(len(y), -1)
