"""`fit` with the stochastic solvers: epochs, validation, early stopping."""

import math
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring, r2_score
from sklearn.model_selection import train_test_split

from ..engine import classes, objective, regularisation, threads
from . import callbacks, messages
from .checkpoint import NOTHING, Checkpoint, Nothing, describe
from .inputs import TrainingSet, outputs
from .model import Model
from .stochastic import Stochastic, allowed_threads, own

ADDED_LOSSES = ("absolute_error", "huber", "quantile")     # these do not maximise R^2


def scorer_of(estimator):
    """The scorer of early stopping; None for the estimator's own score and for the loss."""
    return None if estimator.scoring in (None, "loss") else check_scoring(estimator, estimator.scoring)


def scores_by_loss(estimator):
    """Is the score minus the loss? With scoring="loss", and by default for the losses that scikit-learn lacks."""
    scoring, loss = estimator.scoring, estimator.loss
    return scoring == "loss" if isinstance(scoring, str) else scoring is None and (
        loss in ADDED_LOSSES if isinstance(loss, str) else True)


class Validation:
    """Held-out examples, and their loss and score.

    Parameters
    ----------
    estimator : the one being fitted
    X, y : as scikit-learn's scorers take them
    target : the same y as the engine takes it
    w : (m,) or None

    Attributes
    ----------
    finite, unusable : int
        The number of scores of this fit that were finite, and of those that were not.
    diverged : bool
        Are both the score and the training loss non-finite?
    """

    def __init__(self, estimator, model, X, y, target, w):
        self.X, self.y, self.w = X, y, w
        self.estimator, self.model = estimator, model
        self.set = TrainingSet(model.net.plan, model.net.dtype, X, target, w)
        self.scorer = scorer_of(estimator)
        self.finite = self.unusable = 0
        self.diverged = False

    def loss(self):
        """Mean cost, as scikit-learn counts it, without the penalty."""
        plan, theta, total = self.model.net.plan, self.model.net.theta, 0.0
        for data, _ in self.set.parts(self.set.m):
            weight = data.weight * (data.scale / self.set.scale)
            total += objective.cost(theta, data, regularisation.none(plan)) * weight
        return total / self.set.weight / self.estimator._loss_divisor()

    def score(self, loss):
        """Accuracy or R^2, minus the loss, or the scorer's value; NaN if an output is not finite."""
        h = outputs(self.model, self.set.X)
        if not np.isfinite(h).all():
            return math.nan
        if scores_by_loss(self.estimator):
            return -loss
        if self.scorer is None:
            return float(self.estimator._score_of(h, self.set.target, self.set.w))
        weights = {} if self.w is None else {"sample_weight": self.w}
        return self._number(self.scorer(self.estimator, self.X, self.y, **weights))

    def _number(self, value):
        number = value.item() if getattr(value, "size", 0) == 1 else value      # of NumPy
        if not isinstance(number, Real):
            raise TypeError(f"scoring must return a number; {self.score_name()} returned {value!r:.60} of type "
                            f"{type(value).__name__}")
        return float(number)

    def score_name(self):
        """The score, as the estimator's parameters name it."""
        scoring, loss = self.estimator.scoring, self.estimator.loss
        if scores_by_loss(self.estimator):
            return f"the loss {loss!r}"
        if scoring is None:
            return "the accuracy (scoring=None)" if loss == "log_loss" else "R^2 (scoring=None)"
        return f"scoring={scoring if isinstance(scoring, str) else getattr(scoring, '__name__', scoring)!r}"

    def ends(self, best):
        """End a fit with early stopping: set theta to `best`, or keep it if no score was finite.

        A warning names a score that was NaN or infinite.
        """
        if self.diverged or not self.unusable:
            self.model.net.theta[:] = best
            return
        total = self.finite + self.unusable
        kept = "of the best remaining epoch" if self.finite else "of the last epoch"
        if self.finite:
            self.model.net.theta[:] = best
        else:
            best[:] = self.model.net.theta
        messages.warn(f"Early stopping could not compare {self.unusable} of {total} epochs: {self.score_name()} of the "
                      f"held-out examples was NaN or infinite. The weights are those {kept}.")


def accuracy(h, target, w):
    """Fraction of the rows of h (m, K) in the right class; target: labels (m,), or 0 and 1 (m,) or (m, K)."""
    if h.shape[1] > 1 and target.ndim == 1:
        right = classes.right(h, target, "labels", 0.5)
    else:
        right = classes.right(h, target.reshape(h.shape), "binary", 0.5, np.greater)
    return np.average(right, weights=w)


def r2(h, target, w):
    return r2_score(target, h, sample_weight=w)


def split(estimator, y, target, m, stratify):
    """Indices of the examples to train on and to validate with, drawn as scikit-learn draws them."""
    train, held = train_test_split(
        np.arange(m), random_state=estimator._random_state, test_size=estimator.validation_fraction,
        stratify=target.astype(bool).reshape(-1, 1) if stratify else None,
    )
    if len(held) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    return train, held


def stochastic(estimator, model, X, y, target, w, score_w, incremental, given, keeper=NOTHING):
    """Return a function that runs epochs until loss or score stop improving, one if incremental; all is checked.

    w: the training weights; score_w: the weights in a validation score; given: (X, y, target, w) for validation, or
    None; keeper: a Checkpoint.
    """
    e, net = estimator, model.net
    going_on = incremental and hasattr(e, "_optimizer")
    e._optimizer = optimizer = own(e, net) if going_on else Stochastic(net, e)
    order = held = validation = None
    _ready(e, model, given is not None)
    e.n_iter_ = 0
    data = describe(X, y, w, given)
    kept = keeper.read(e, data)
    if given is not None:
        validation = Validation(e, model, *given)
    elif e.early_stopping:
        order, held = split(e, y, target, X.shape[0], e._stratifies()) if kept is None else (kept.order, kept.held)
        validation = Validation(e, model, X[held], y[held], target[held], None if score_w is None else score_w[held])
    m = X.shape[0] if order is None else len(order)
    batch_size = _batch_size(e.batch_size, m)
    mean_weight, counts = (None, None) if w is score_w else by_class(w, score_w, order, batch_size)
    training = TrainingSet(net.plan, net.dtype, X, target, w, counts)
    order = np.arange(m) if order is None and e.shuffle else order
    if kept is not None:
        order, mean_weight = kept.order, kept.trainer.mean_weight
        kept.into(e)
        if validation is not None:
            finite = np.isfinite(e.validation_scores_)
            validation.finite = int(finite.sum() or math.isfinite(e.best_validation_score_))
            validation.unusable = int((~finite).sum())
    epochs = 1 if incremental else int(e.max_iter) if kept is None or not kept.stopped else 0
    optimizer.set(e.alpha, e.clip_norm, mean_weight)
    keeper.begin(e, data, order, held, kept)
    return partial(_run, Course(e, model, training, validation, order, m, batch_size, epochs, incremental,
                                (X, y, score_w), keeper))


def by_class(w, score_w, rows, batch_size):
    """(mean_weight, counts) for training weights w that contain class_weight.

    D of a batch is the sum of w delta, divided by mean_weight, the mean of w over the training rows (None: all), and by
    the number of its examples, each counted as its sample_weight score_w over the mean of these. So a class factor
    counts the same in every batch, and sample_weight acts as in scikit-learn. (None, None) if a batch has all rows: it
    divides by its own w, which gives the same number.
    """
    rows = slice(None) if rows is None else rows
    mean_weight = mean(w[rows])
    equal = score_w is None and w[rows].min() == mean_weight
    if mean_weight == 0 or (batch_size >= len(w[rows]) and not equal):
        return None, None
    return mean_weight, None if score_w is None else score_w / mean(score_w[rows])


def mean(w):
    """The mean of these weights: exact if they are equal, and finite for the largest numbers of the dtype."""
    largest = float(w.max())
    return largest if w.min() == largest else float((w / largest).mean(dtype=np.float64)) * largest


@dataclass
class Course:
    """A fit under way."""

    estimator: Any
    model: Model
    training: TrainingSet
    validation: Validation | None
    order: np.ndarray | None            # of the examples in the last epoch
    m: int                              # examples to train on
    batch_size: int
    epochs: int
    incremental: bool
    examples: tuple[Any, Any, Any]      # X, y, weights, for scikit-learn's callbacks
    keeper: Checkpoint | Nothing


def _run(course):
    e, optimizer, validation = course.estimator, course.estimator._optimizer, course.validation
    batches = course.epochs * course.m / course.batch_size
    crew = optimizer.crew(allowed_threads(e.n_threads), course.batch_size, batches)
    with callbacks.running(e, course.examples, course.epochs) as report, crew as optimizer.trainer.steps.crew:
        try:
            _epochs(course, report)
        except KeyboardInterrupt:
            messages.warn("Training interrupted by user.")
        finally:
            optimizer.trainer.steps.crew = threads.ALONE
    if e.early_stopping:
        validation.ends(e._best_theta)


def _ready(e, model, validates):
    """Start the curves and best values that this fit needs, unless an earlier fit has left them."""
    if not hasattr(e, "loss_curve_"):       # after a fit with lbfgs, which has none
        e._start_curves()
    if (validates or e.early_stopping) and getattr(e, "validation_scores_", None) is None:
        e.validation_scores_, e.validation_loss_curve_, e.best_validation_score_ = [], [], -math.inf
    if e.early_stopping:
        if getattr(e, "_best_theta", np.empty(0)).shape != model.net.theta.shape:
            e._best_theta = model.net.theta.copy()
    elif e.best_loss_ is None:
        e.best_loss_ = math.inf


def _batch_size(batch_size, m):
    if isinstance(batch_size, str):
        return min(200, m)
    if batch_size > m:
        messages.warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
    return min(int(batch_size), m)


def _epochs(course, report):
    e, model, m = course.estimator, course.model, course.m
    theta, optimizer, divisor = model.net.theta, e._optimizer, e._loss_divisor()
    before = memoryview(optimizer.before)
    while e.n_iter_ < course.epochs:
        if e.shuffle:       # the order of sklearn.utils.shuffle, which permutes the indices
            e._random_state.shuffle(course.order)
        if not model.is_writable():     # a callback has made an array read-only
            raise ValueError(messages.READ_ONLY)
        before[:] = memoryview(theta)       # NumPy would release the GIL and wait for it while other threads fit
        loss = optimizer.epoch(course.training, course.batch_size, course.order, divisor)
        diverged = not model.is_finite()
        if diverged:
            theta[:] = optimizer.before
        stop = after_epoch(e, model, loss, m, course.validation, diverged)
        if diverged:
            return
        stop = report(e) or stop
        e._train_on(model)
        course.keeper.after_epoch(e, course.order, stop, stop or e.n_iter_ == course.epochs)
        if stop or course.incremental:
            return
        if e.n_iter_ == e.max_iter:
            messages.warn(
                f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the optimization hasn't "
                "converged yet. More iterations (max_iter), or inputs scaled to about unit variance, may help.",
                ConvergenceWarning,
            )


def after_epoch(e, model, loss, m, validation=None, diverged=False):
    """Update curves, counts, learning rate and best weights; return True to stop."""
    e.n_iter_ += 1
    e.loss_ = np.float64(loss)
    e.t_ += m
    _append(e, "loss_curve_", e.loss_)
    if e.verbose:
        messages.say(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
    if diverged:
        _give_up(e, validation)
        return True
    if validation is not None:
        _validate(e, model, validation)
    if not e.early_stopping:
        e._no_improvement_count = e._no_improvement_count + 1 if e.loss_ > e.best_loss_ - e.tol else 0
        e.best_loss_ = min(e.best_loss_, e.loss_)
    e._optimizer.iteration_ends(e.t_)
    if validation is not None and validation.diverged:
        _warn_of_divergence(e)
        return True
    if e._no_improvement_count > e.n_iter_no_change:
        what = "Validation score" if e.early_stopping else "Training loss"
        if e._optimizer.trigger_stopping(
            f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs.", e.verbose
        ):
            return True
        e._no_improvement_count = 0
    return False


def _append(e, curve, value):
    """Append to a curve; drop the oldest entries above curve_length."""
    entries = getattr(e, curve)
    if not isinstance(entries, list):       # a user has set an array, or an older fastbp has pickled one
        entries = list(entries)
        setattr(e, curve, entries)
    entries.append(value)
    if e.curve_length is not None and len(entries) > e.curve_length:
        del entries[: -int(e.curve_length)]


def _validate(e, model, validation):
    """Append loss and score of the validation set to the curves; update the best weights and `diverged`.

    A score that is not finite counts neither as progress nor as lack of it. Training has diverged only if its own loss
    is not finite either.
    """
    loss = validation.loss()
    score = validation.score(loss)
    _append(e, "validation_loss_curve_", loss)
    _append(e, "validation_scores_", score)
    if e.verbose:
        messages.say(f"Validation score: {score:f}")
    if not math.isfinite(score):
        validation.diverged = e.early_stopping and math.isnan(score) and not math.isfinite(e.loss_)
        validation.unusable += 1
        return
    validation.finite += 1
    if e.early_stopping:
        e._no_improvement_count = e._no_improvement_count + 1 if score < e.best_validation_score_ + e.tol else 0
    if score > e.best_validation_score_:
        e.best_validation_score_ = score
        if e.early_stopping:
            e._best_theta[:] = model.net.theta


def _give_up(e, validation):
    """End a fit whose weights became non-finite. The last finite ones are restored, but not the optimizer's moments."""
    if not e.early_stopping:
        del e._optimizer
        raise ValueError(f"{messages.NON_FINITE} Training diverged in epoch {e.n_iter_}; coefs_ and intercepts_ are "
                         "those before it. A smaller learning_rate_init may help.")
    validation.diverged = True
    _append(e, "validation_scores_", math.nan)
    _warn_of_divergence(e)


def _warn_of_divergence(e):
    messages.warn(
        f"Training diverged in epoch {e.n_iter_} and was stopped; the weights are those of the best validation score. "
        "A smaller learning_rate_init or inputs scaled to about unit variance may help.",
        ConvergenceWarning,
    )
