"""TabularRegressor."""

import datetime
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import check_array, column_or_1d

from ..engine import checks
from ..files.estimator import doubles, of_type
from ..files.strict_json import FormatError
from ..files.values import fields
from . import intervals, kept
from .base import BaseTabular, mean_of_held_out
from .training import Matrix, Rows, Task

LARGEST = 1e150     # largest target: its square is finite
DATES = (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)


class TabularRegressor(RegressorMixin, BaseTabular):
    """Predict numbers from the rows of a table, by an ensemble of networks that needs no tuning.

    `fit` takes a DataFrame as it is: numbers, categories, strings, booleans, dates, missing and infinite values. See
    `TabularPreparation` for the features made of each column. Each network holds out a fold of the rows and keeps the
    weights of its best epoch on them; the predictions of all networks are averaged. No prediction leaves the range of
    the training targets.

    Parameters
    ----------
    n_estimators : int, default=8
        Number of networks. Each takes the same time; 4 are nearly as accurate as 8.
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
    preparation_ : TabularPreparation
        The features made of each column.
    networks_ : list of Network
        They predict the standardised targets.
    best_epochs_ : list of int
        The epoch whose weights each network has.
    target_mean_, target_scale_, target_low_, target_high_ : ndarray of shape (n_outputs,)
        Mean, standard deviation and range of the training targets.
    validation_predictions_ : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Predictions for each training row by the networks that have held it out; NaN for rows never held out.
    validation_score_ : float
        R^2 of these predictions. It needs no further fit. It is a little too high because it also chose the epochs, and
        a little too low because one network predicts each row instead of all.
    n_outputs_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Names of the columns; exists only if they have names.

    See Also
    --------
    TabularClassifier : The same for labels.

    Notes
    -----
    Settings: docs/tables.md. The prediction of a row has the same bits in any batch.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastbp.tabular import TabularRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> reg = TabularRegressor(random_state=0).fit(X, y)
    >>> bool(reg.validation_score_ > 0.4)
    True
    >>> lower, upper = reg.predict_interval(X[:3], 0.9).T
    >>> bool((lower < reg.predict(X[:3])).all() and (reg.predict(X[:3]) < upper).all())
    True
    """

    def __init__(
        self, n_estimators: int = 8, *, epochs: int | None = None, random_state: Any = None,
        n_threads: int | None = None, progress: bool = False,
    ) -> None:
        self.n_estimators, self.epochs = n_estimators, epochs
        self.random_state, self.n_threads, self.progress = random_state, n_threads, progress

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None, cv: Any = None) -> Self:
        """Fit to the rows of X and their targets.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            The table.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Numbers of any size.
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
        return self._fit(X, y, sample_weight, groups, cv)

    def _targets(self, y: Any) -> NDArray[Any]:
        y = _numbers(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._is_flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        if np.abs(y).max() > LARGEST:
            raise ValueError(f"y has numbers up to {np.abs(y).max():g}; accepted are up to {LARGEST:g}")
        self.n_outputs_ = y.shape[1]
        return np.asarray(y)

    def _n_outputs(self, targets: NDArray[Any]) -> int:
        return self.n_outputs_

    def _standardised(self, y: NDArray[np.float64], w: NDArray[np.float64] | None) -> NDArray[np.float32]:
        """The targets in units of their standard deviation, around their mean."""
        mean = np.average(y, axis=0, weights=w)
        unit = np.abs(y - mean).max(axis=0)     # squares of small numbers would be 0
        unit[unit == 0] = 1.0
        spread = unit * np.sqrt(np.average(((y - mean) / unit) ** 2, axis=0, weights=w))
        self.target_mean_, self.target_scale_ = mean, np.where(spread > 0, spread, 1.0)
        self.target_low_, self.target_high_ = y.min(axis=0), y.max(axis=0)
        return ((y - mean) / self.target_scale_).astype(np.float32)

    def _train(self, columns: Any, named: bool, targets: Any, w: Any, splits: Any, rng: Any) -> None:
        self._y = targets
        try:
            super()._train(columns, named, self._standardised(targets, w), w, splits, rng)
        finally:
            del self._y

    def _values(self, z: Matrix) -> NDArray[np.float64]:
        """Outputs (m, K) in the units of the targets, within their range."""
        y = self.target_mean_ + z.astype(np.float64) * self.target_scale_
        return np.clip(y, self.target_low_, self.target_high_)

    def _mean(self, outputs: list[Matrix]) -> NDArray[np.float64]:
        """The mean of the values of all networks; the order of the sum does not depend on the number of rows."""
        total = np.zeros(outputs[0].shape)
        for z in outputs:
            total += self._values(z) / len(outputs)
        return total

    def _judge(self, held: list[tuple[Rows, Matrix]], task: Task) -> None:
        y, w = self._y, task.weights
        predicted = mean_of_held_out(held, len(y), self._values)
        known = ~np.isnan(predicted[:, 0])
        self.validation_predictions_ = predicted[:, 0] if self._is_flat else predicted
        self.validation_score_ = float("nan")
        if known.sum() > 1:
            scaled = ((a[known] - self.target_mean_) / self.target_scale_ for a in (y, predicted))
            self.validation_score_ = float(r2_score(*scaled, sample_weight=None if w is None else w[known]))
        self.residuals_ = np.sort(np.abs(y[known] - predicted[known]), axis=0)

    def _own_kept(self) -> dict[str, Any]:
        names = ("target_mean", "target_scale", "target_low", "target_high", "validation_predictions", "residuals")
        return {"is_flat": self._is_flat, **{name: getattr(self, f"{name}_") for name in names}}

    def _take_own(self, values: dict[str, Any], d: int) -> None:
        fields(values, {"is_flat", "target_mean", "target_scale", "target_low", "target_high", "validation_predictions",
                        "residuals"}, type(self).__name__)
        self._is_flat = of_type(values, "is_flat", bool)
        self.target_mean_ = doubles(values, "target_mean", (None,))
        self.n_outputs_ = K = len(self.target_mean_)
        self.target_scale_, self.target_low_, self.target_high_ = (
            doubles(values, name, (K,)) for name in ("target_scale", "target_low", "target_high"))
        shape = (None,) if self._is_flat else (None, K)
        self.validation_predictions_ = doubles(values, "validation_predictions", shape, finite=False)
        self.residuals_ = r = doubles(values, "residuals", (None, K))
        if not self.networks_ or (self._is_flat and K != 1):
            raise FormatError("there must be at least one network, and one target if it is flat")
        if not ((r >= 0).all() and (r[:-1] <= r[1:]).all()):
            raise FormatError("residuals must be sorted, 0 or more")
        if (self.target_low_ > self.target_high_).any() or (self.target_scale_ <= 0).any():
            raise FormatError("target_low must not lie above target_high, nor target_scale below 0")
        kept.check_networks(self.networks_, d, K, "identity")

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict the targets.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            Columns are found by name if they have names; they may come in any order.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Within the range of the training targets.
        """
        y = self._predicted(X, self._mean)
        return y[:, 0] if self._is_flat else y

    def predict_interval(self, X: Any, coverage: float = 0.9) -> NDArray[np.float64]:
        """Predict intervals that hold the target of a new row with about this probability.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            As for `predict`.
        coverage : float, default=0.9
            In (0, 1).

        Returns
        -------
        ndarray of shape (n_samples, 2) or (n_samples, n_outputs, 2)
            Lower and upper ends, for each output separately; infinite if there are too few training rows for the
            coverage.

        Notes
        -----
        The interval of cross-validation: the mean of all networks, plus and minus the ceil(coverage (n + 1))-th
        smallest of the n residuals of held-out rows. A row is held out by one network of eight, whose error is a little
        larger than that of the mean of all, so intervals are a little wide: on three tables, intervals for 90 % covered
        91 %. CV+ (Barber et al. 2021), which has a worst-case bound, covered 93 %. No such bound is known here. The
        networks choose their best epoch on the held-out rows, which makes residuals a little small. Intervals are
        equally wide for all rows.
        """
        coverage = checks.number(coverage, "coverage", high=1, open_low=True)
        y = self.predict(X).reshape(-1, self.n_outputs_)
        half = np.array([intervals.half_width(self.residuals_[:, k], coverage) for k in range(self.n_outputs_)])
        ends = np.stack([y - half, y + half], axis=-1)
        return ends[:, 0] if self._is_flat else ends

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _numbers(y: Any) -> NDArray[Any]:
    """The targets as float64; dates and text raise an error that names them."""
    a = np.asarray(y)
    dates = a.dtype.kind in "mM" or (a.dtype.kind == "O" and any(isinstance(v, DATES) for v in a.ravel().tolist()))
    if dates:
        raise TypeError("y holds dates or durations; accepted are numbers, such as days since some date")
    try:
        return np.asarray(check_array(y, dtype=np.float64, ensure_2d=False, input_name="y"))
    except ValueError as error:
        if "could not convert" not in str(error):
            raise
        raise ValueError(f"y must hold numbers; {error}. TabularClassifier learns labels") from None
