"""TabularClassifier."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets

from ..files.estimator import doubles, names_of, number, of_labels, of_type, to_labels
from ..files.strict_json import FormatError
from ..files.values import fields
from ..network import Network
from ..sklearn.labels import class_factors
from . import calibration, frames, kept, several
from .base import BaseTabular, mean_of_held_out
from .training import Matrix, Rows, Task


def _numbers(y: NDArray[Any]) -> NDArray[Any]:
    """Labels that are objects as numbers, if they are whole numbers, booleans or floats, all of one type."""
    kinds = {type(label) for label in y.tolist()} if y.dtype.kind == "O" else set()
    return np.array(y.tolist()) if len(kinds) == 1 and kinds <= {int, bool, float} else y


class TabularClassifier(ClassifierMixin, BaseTabular):
    """Classify the rows of a table, by an ensemble of networks that needs no tuning.

    `fit` takes a DataFrame as it is: numbers, categories, strings, booleans, dates, missing and infinite values. See
    `TabularPreparation` for the features made of each column. Each network holds out a fold of the rows and keeps the
    weights of its best epoch on them; the probabilities of all networks are averaged.

    Parameters
    ----------
    n_estimators : int, default=8
        Number of networks. Each takes the same time; 4 are nearly as accurate as 8.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, times sample_weight.
    epochs : int, default=None
        Epochs of each network; None: 60, falling to 30 between 5000 and 10,000 rows.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds, the start values, the order of the rows and dropout.
    n_threads : int, default=None
        Maximum number of networks that are trained at a time; None: as many as there are cores, but one inside jobs of
        joblib. The result is bit-identical for any number.
    progress : bool, default=False
        Show a bar (tqdm, on a terminal) or lines.

    Attributes
    ----------
    classes_ : ndarray, or list of ndarray
        The labels, sorted; of several targets one array each.
    preparation_ : TabularPreparation
        The features made of each column.
    networks_ : list of Network
        With the softmax of the classes; empty if there is only one class.
    best_epochs_ : list of int
        The epoch whose weights each network has.
    temperature_ : float
        Logits are divided by it; it maximises the likelihood of held-out rows.
    validation_probabilities_ : ndarray of shape (n_samples, n_classes)
        Predictions for each training row by the networks that have held it out; NaN for rows never held out.
    validation_score_ : float
        The accuracy of these predictions. It needs no further fit. It is a little too high because it also chose the
        epochs, and a little too low because one network predicts each row instead of all.
    n_outputs_ : int
        The number of targets.
    estimators_ : list of TabularClassifier
        Only with several targets: a classifier for each, with all of these attributes. classes_, temperature_ and
        validation_probabilities_ are then lists with an entry for each target, networks_ and best_epochs_ hold those of
        all targets, validation_score_ is the mean over the targets, and there is no preparation_.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Names of the columns; exists only if they have names.

    See Also
    --------
    TabularRegressor : The same for numbers.

    Notes
    -----
    Settings: docs/tables.md. The prediction of a row has the same bits in any batch.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastbp.tabular import TabularClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = TabularClassifier(random_state=0).fit(X, y)
    >>> bool(clf.validation_score_ > 0.9)
    True
    >>> clf.predict_proba(X[:2]).shape
    (2, 3)
    """

    classes_: Any
    temperature_: Any
    validation_probabilities_: Any
    n_outputs_: int
    estimators_: "list[TabularClassifier]"

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **BaseTabular._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self, n_estimators: int = 8, *, class_weight: Any = None, epochs: int | None = None, random_state: Any = None,
        n_threads: int | None = None, progress: bool = False,
    ) -> None:
        self.n_estimators, self.class_weight, self.epochs = n_estimators, class_weight, epochs
        self.random_state, self.n_threads, self.progress = random_state, n_threads, progress

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None, cv: Any = None) -> Self:
        """Fit to the rows of X and their labels.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels: strings, numbers or booleans. Each target has a fit of its own.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows, 0 or more. A row of weight 0 counts as absent.
        groups : array-like of shape (n_samples,), optional
            Rows of a group are always held out together.
        cv : int, splitter or iterable of (rows, held-out rows), optional
            The folds, as in scikit-learn: `TimeSeriesSplit()` for rows that follow each other in time. One network is
            trained for each split. All splits are used again if n_estimators is at least twice their number.

        Returns
        -------
        self
            The fitted estimator.
        """
        targets = several.targets(y)
        if targets is None:
            self._fit(X, y, sample_weight, groups, cv)
            self.__dict__.pop("estimators_", None)
            self.n_outputs_ = 1
            return self
        if cv is not None and not (isinstance(cv, Integral) or hasattr(cv, "split")):
            cv = list(cv)       # an iterator can be used only once
        own = [type(self)(**self.get_params(deep=False)) for _ in targets]
        self._take_several([clf.fit(X, each, sample_weight, groups=groups, cv=cv)
                            for clf, each in zip(own, targets, strict=True)])
        return self

    def _take_several(self, estimators: list["TabularClassifier"]) -> None:
        """Become the classifier of several targets; there is one classifier for each."""
        self.__dict__.pop("preparation_", None)
        self.estimators_, self.n_outputs_ = estimators, len(estimators)
        self.classes_ = [each.classes_ for each in estimators]
        self.temperature_ = [each.temperature_ for each in estimators]
        self.validation_probabilities_ = [each.validation_probabilities_ for each in estimators]
        self.validation_score_ = float(np.mean([each.validation_score_ for each in estimators]))
        self.networks_ = [net for each in estimators for net in each.networks_]
        self.best_epochs_ = [epoch for each in estimators for epoch in each.best_epochs_]
        self.n_features_in_ = estimators[0].n_features_in_
        self.__dict__.pop("feature_names_in_", None)
        if hasattr(estimators[0], "feature_names_in_"):
            self.feature_names_in_ = estimators[0].feature_names_in_

    def _targets(self, y: Any) -> NDArray[Any]:
        y = column_or_1d(np.asarray(y), warn=True)
        if y.dtype.kind == "O" and any(frames.is_missing(label) for label in y.tolist()):
            raise ValueError("Input y contains NaN.")
        y = _numbers(y)
        assert_all_finite(y, input_name="y")
        try:
            self.classes_, codes = np.unique(y, return_inverse=True)
        except TypeError as error:
            raise TypeError(f"y must hold labels that can be sorted, all numbers or all strings: {error}") from None
        last = self.classes_[-1]
        if y.dtype.kind == "O" and not isinstance(last, str):
            raise TypeError(f"y holds {last!r:.60} ({type(last).__name__}); accepted are labels that are all strings, "
                            "booleans, or numbers that NumPy can hold")
        check_classification_targets(y)
        return codes.astype(np.int64)

    def _weights(self, y: NDArray[Any], sample_weight: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        if self.class_weight is None:
            return sample_weight
        try:
            factors = class_factors(self.class_weight, self.classes_[y], self.classes_)
        except (ValueError, TypeError) as error:
            raise ValueError(f"class_weight={self.class_weight!r}: {error}") from None
        w = factors if sample_weight is None else factors * sample_weight
        if not (np.isfinite(w).all() and (w >= 0).all() and w.any()):
            raise ValueError(f"class_weight={self.class_weight!r} gives the rows weights from {w.min():g} to "
                             f"{w.max():g}; they must be finite, with a positive sum")
        return np.asarray(w, np.float64)

    def _n_outputs(self, targets: NDArray[Any]) -> int:
        if len(self.classes_) > 1:
            return len(self.classes_)
        self.best_epochs_, self.temperature_ = [], 1.0
        self.validation_probabilities_ = np.ones((len(targets), 1))
        return 0

    def _judge(self, held: list[tuple[Rows, Matrix]], task: Task) -> None:
        z = np.concatenate([z for _, z in held]).astype(np.float64)
        rows = np.concatenate([rows for rows, _ in held])
        w = task.weights
        self.temperature_ = calibration.temperature(z, task.targets[rows], None if w is None else w[rows])
        p = mean_of_held_out(held, len(task.X), lambda z: calibration.probabilities([z], self.temperature_))
        known = ~np.isnan(p[:, 0])
        right = p[known].argmax(axis=1) == task.targets[known]
        self.validation_probabilities_ = p
        self.validation_score_ = (
            float(np.average(right, weights=None if w is None else w[known])) if known.any() else float("nan"))

    def _kept(self) -> tuple[dict[str, Any], list[Network]]:
        if not hasattr(self, "estimators_"):
            return super()._kept()
        return {"several": [each._kept()[0] for each in self.estimators_]}, self.networks_

    def _take(self, values: Any, networks: list[Network]) -> None:
        if not isinstance(values, dict) or "several" not in values:
            self.n_outputs_ = 1
            super()._take(values, networks)
            return
        found = of_type(fields(values, {"several"}, "several targets"), "several", list)
        if len(found) < 2:
            raise FormatError(f"several targets must be at least two; got {len(found)}")
        own = [type(self)(**self.get_params(deep=False)) for _ in found]
        rest = list(networks)
        for each, kept_ in zip(own, found, strict=True):
            n = len(of_type(kept_, "best_epochs", list))
            each._take(kept_, rest[:n])
            rest = rest[n:]
        if rest or any(names_of(each) != names_of(own[0]) for each in own):
            raise FormatError("several targets must have the same columns, and each network must belong to a target")
        self._take_several(own)

    def _own_kept(self) -> dict[str, Any]:
        return {"classes": of_labels(self.classes_), "temperature": float(self.temperature_),
                "validation_probabilities": self.validation_probabilities_}

    def _take_own(self, values: dict[str, Any], d: int) -> None:
        fields(values, {"classes", "temperature", "validation_probabilities"}, type(self).__name__)
        self.classes_ = to_labels(values["classes"], "classes")
        K = len(self.classes_)
        self.temperature_ = number(values, "temperature", 1e-3, 1e3)
        self.validation_probabilities_ = doubles(values, "validation_probabilities", (None, K), finite=False)
        if (K > 1) != bool(self.networks_):
            raise FormatError(f"{K} classes have {len(self.networks_)} networks")
        kept.check_networks(self.networks_, d, K, "softmax")

    def predict_proba(self, X: Any) -> Any:
        """Predict probabilities of the classes.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            Columns are found by name if they have names; they may come in any order.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or list of ndarray
            Columns in the order of classes_; with several targets, a list of one array for each.
        """
        if getattr(self, "estimators_", None):
            return [each.predict_proba(X) for each in self.estimators_]
        if not getattr(self, "networks_", True):
            return np.ones((len(self._accepted(X)[0]), 1))
        return self._predicted(X, lambda logits: calibration.probabilities(logits, self.temperature_))

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict class labels.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            As for `predict_proba`.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels from classes_.
        """
        if getattr(self, "estimators_", None):
            return several.side_by_side([each.predict(X) for each in self.estimators_])
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy; with several targets, the fraction of the rows whose labels are all right.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            As for `predict_proba`.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The true labels.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows.

        Returns
        -------
        float
            In [0, 1].
        """
        if not getattr(self, "estimators_", None):
            return float(super().score(X, y, sample_weight))
        found, right = self.predict(X), np.asarray(y)
        if right.shape != found.shape:
            raise ValueError(f"y must have the shape {found.shape}; got {right.shape}")
        return float(np.average((found == right).all(axis=1), weights=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = tags.classifier_tags.multi_label = True
        return tags
