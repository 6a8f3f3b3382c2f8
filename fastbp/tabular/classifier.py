"""TabularClassifier."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets

from ..files.estimator import doubles, number, of_labels, to_labels
from ..files.strict_json import FormatError
from ..files.values import fields
from ..sklearn.labels import class_factors
from . import calibration, frames, kept
from .base import BaseTabular, mean_of_held_out
from .training import Matrix, Rows, Task


class TabularClassifier(ClassifierMixin, BaseTabular):
    """Classify the rows of a table, by an ensemble of networks that needs no tuning.

    `fit` takes a DataFrame as it is: numbers, categories, strings, booleans, dates, missing and infinite values. See
    `TabularPreparation` for what becomes of a column. Each network holds out a fold of the rows, ends with its best
    epoch on them, and their probabilities are averaged.

    Parameters
    ----------
    n_estimators : int, default=8
        Networks. Each takes the same time; 4 have nearly the accuracy of 8.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, times sample_weight.
    epochs : int, default=None
        Epochs of each network; None: 60, falling to 30 between 5000 and 10,000 rows.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds, the start values, the order of the rows and dropout.
    n_threads : int, default=None
        Maximum number of networks that are trained at a time; None: as many as there are cores, and one inside jobs of
        joblib. It never changes a bit.
    progress : bool, default=False
        Show a bar (tqdm, on a terminal), or lines.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted.
    preparation_ : TabularPreparation
        What each column has become.
    networks_ : list of Network
        With the softmax of the classes; empty if there is one class only.
    best_epochs_ : list of int
        The epoch that each network ended with.
    temperature_ : float
        Logits are divided by it: the probabilities of held-out rows are then as likely as can be.
    validation_probabilities_ : ndarray of shape (n_samples, n_classes)
        Of each training row, by the networks that have held it out; NaN where none has.
    validation_score_ : float
        Their accuracy. It comes without another fit and is a little too good, since the epochs are chosen by it; a
        little too bad, since one network predicts each row and not all of them.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Names of the columns; exists only if they have names.

    See Also
    --------
    TabularRegressor : The same for numbers.

    Notes
    -----
    Settings: docs/tables.md. A row has the same bits in whatever batch it is predicted.

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
        y : array-like of shape (n_samples,)
            Labels: strings, numbers or booleans. Of several targets scikit-learn's MultiOutputClassifier makes one
            classifier each.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows, 0 or more. A row of weight 0 counts as absent.
        groups : array-like of shape (n_samples,), optional
            Rows of a group belong together: they are held out together.
        cv : int, splitter or iterable of (rows, held-out rows), optional
            The folds, as in scikit-learn: `TimeSeriesSplit()` for rows that follow each other in time. A network is
            trained for each split, and again as long as n_estimators allows.

        Returns
        -------
        self
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight, groups, cv)

    def _targets(self, y: Any) -> NDArray[Any]:
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            raise ValueError(f"y should be a 1d array, got an array of shape {y.shape} instead. A classifier has one "
                             f"target; sklearn.multioutput.MultiOutputClassifier({type(self).__name__}()) fits several")
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "O" and any(frames.is_missing(label) for label in y.tolist()):
            raise ValueError("Input y contains NaN.")
        assert_all_finite(y, input_name="y")
        try:
            self.classes_, codes = np.unique(y, return_inverse=True)
        except TypeError as error:
            raise TypeError(f"y must hold labels that can be sorted, all numbers or all strings: {error}") from None
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

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Predict probabilities of the classes.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            Columns are found by name if they have names; their order is free.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of classes_.
        """
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
        ndarray of shape (n_samples,)
            Labels from classes_.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])
