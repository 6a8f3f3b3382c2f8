"""TabularPreparation: from a table of any kind to a float32 matrix."""

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from ..files.estimator import names_of, of_type, put_names, words
from ..files.strict_json import FormatError
from ..files.values import fields
from ..sklearn.one_thread import alone
from . import columns, frames, kept
from .columns import Fitted
from .frames import Column, blocks

MOST = 2**13    # most features from bins, and most from levels: above it each column gets fewer
CELLS = 2**29   # most numbers in all rows of these features: 2 GB


class TabularPreparation(TransformerMixin, BaseEstimator):
    """Turn a table into the inputs of a network: numbers, categories, booleans, dates, missing values.

    - A number x becomes z = (x - median) / (q75 - q25), then z / sqrt(1 + (z/3)^2), so that outliers and infinities end
      at 3. Piecewise-linear features are added: 2 clip((z - e_i) / (e_{i+1} - e_i), 0, 1) - 1 for the bins between the
      quantiles e_i of z. A missing number becomes the median, and a further feature marks it.
    - A category becomes one 0/1 feature per level; two levels share one feature, -1 and 1. Missing values are a level.
    - A date becomes the time as a number, the weekday, the time of year and the time of day.
    - A column whose values do not differ is left out.

    Nothing is learned from y. Levels, missing and infinite values that `fit` has not seen are accepted.

    Parameters
    ----------
    n_bins : int, default=16
        Bins per number; 0 or 1 for none. There are fewer if the bins of all columns would make over 8192 features.
    max_levels : int, default=200
        If a category has more levels, the most frequent are used; all others count as unseen.

    Attributes
    ----------
    columns_ : list
        The fitted form of each column, with its statistics; `summary` describes them.
    feature_names_in_ : ndarray of str
        Names of the columns; exists only if they have names.
    n_features_in_ : int

    See Also
    --------
    TabularRegressor, TabularClassifier

    Notes
    -----
    The scaling and its soft limit are those of RealMLP (Holzmueller, Grinsztajn & Steinwart 2024, section 3);
    piecewise-linear features: Gorishniy, Rubachev & Babenko, On embeddings for numerical features in tabular deep
    learning, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp.tabular import TabularPreparation
    >>> X = np.array([[1.0, "red"], [2.0, "blue"], [np.nan, "red"], [4.0, "green"]], dtype=object)
    >>> preparation = TabularPreparation(n_bins=0).fit(X)
    >>> print(preparation.summary())
    x0  number, median 2, missing
    x1  category, 3 levels
    >>> preparation.get_feature_names_out().tolist()
    ['x0', 'x0_missing', 'x1_blue', 'x1_green', 'x1_red']
    >>> preparation.transform(X[1:3]).tolist()
    [[0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 1.0]]
    """

    columns_: list[Fitted]
    n_features_in_: int
    feature_names_in_: NDArray[Any]

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012  (scikit-learn's form)
        "n_bins": [Interval(Integral, 0, None, closed="left")],
        "max_levels": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(self, n_bins: int = 16, max_levels: int = 200) -> None:
        self.n_bins, self.max_levels = n_bins, max_levels

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the statistics of each column.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            The training data.
        y : ignored
            Nothing is learned from y.

        Returns
        -------
        self
            The fitted transformer.
        """
        self.learn(*frames.read(X), matrix=False)
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit to X and return its features; the table is read once.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            The training data.
        y : ignored
            Nothing is learned from y.
        **fit_params : dict
            Not used; any argument is an error.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out), float32
            The features, or a DataFrame after `set_output`.
        """
        if fit_params:
            raise TypeError(f"fit_transform got unexpected arguments: {', '.join(fit_params)}")
        self._validate_params()
        found, named = frames.read(X)
        return self.learn(found, named)

    @alone
    def learn(self, found: list[Column], named: bool, matrix: bool = True) -> Any:
        """`fit_transform` of columns that have been read; matrix=False only fits."""
        kinds = [column.kind for column in found]
        most = min(MOST, CELLS // len(found[0].values))
        bins = min(self.n_bins, most // max(1, len(kinds) - kinds.count("category")))
        levels = min(self.max_levels, max(8, most // max(1, kinds.count("category"))))
        self.columns_ = [columns.fit(column, bins, levels) for column in found]
        self.n_features_in_ = len(found)
        if named:
            self.feature_names_in_ = np.array([column.name for column in found], dtype=object)
        else:
            self.__dict__.pop("feature_names_in_", None)
        return self.matrix(found) if matrix else None

    def transform(self, X: Any) -> Any:
        """The features of each row.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like of shape (n_samples, n_features)
            Columns are found by name if the training data had names; they may come in any order.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out), float32
            The features, or a DataFrame after `set_output`.
        """
        check_is_fitted(self)
        return self.matrix(self.columns_of(X))

    def columns_of(self, X: Any, whose: str | None = None) -> list[Column]:
        """The columns of X in the order of the training data; errors name the estimator `whose`."""
        whose = whose or type(self).__name__
        found, named = frames.read(X)
        own = getattr(self, "feature_names_in_", None)
        labels = [each.name for each in self.columns_]
        if own is not None and named:
            return _by_name(found, labels)
        if own is None and not named and _are_labels(labels) and _are_labels([column.name for column in found]):
            return _by_name(found, labels)
        if named:
            warnings.warn(f"X has feature names, but {whose} was fitted without feature names", stacklevel=2)
        elif own is not None:
            warnings.warn(f"X does not have valid feature names, but {whose} was fitted with feature names",
                          stacklevel=2)
        if len(found) != self.n_features_in_:
            raise ValueError(f"X has {len(found)} features, but {whose} is expecting {self.n_features_in_} "
                             "features as input")
        return found

    def accepted(self, found: Sequence[Column]) -> list[NDArray[Any]]:
        """The values that `rows` needs, for columns in training order; an error names a column of another kind."""
        return [each.accept(column) for column, each in zip(found, self.columns_, strict=True)]

    def rows(self, values: Sequence[NDArray[Any]], rows: slice) -> NDArray[np.float32]:
        """The features of these rows; values: the result of `accepted`."""
        places, values = columns.places(self.columns_), [own[rows] for own in values]
        out = np.empty((len(values[0]), places[-1].stop), np.float32)
        for block in blocks(len(out)):
            for each, own, place in zip(self.columns_, values, places, strict=True):
                each.write(own[block], out[block, place])
        return out

    def matrix(self, found: list[Column]) -> NDArray[np.float32]:
        """The features (m, n_features_out) of columns in the order of the training data."""
        return self.rows(self.accepted(found), slice(None))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the features: column, column_bin0, column_missing, column_level.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only compared with feature_names_in_.

        Returns
        -------
        ndarray of str
            A name for each feature.
        """
        check_is_fitted(self)
        own = getattr(self, "feature_names_in_", None)
        if input_features is not None and own is not None and not np.array_equal(own, np.asarray(input_features)):
            raise ValueError("input_features is not equal to feature_names_in_")
        if input_features is not None and len(input_features) != self.n_features_in_:
            raise ValueError("input_features should have length equal to number of features "
                             f"({self.n_features_in_}), got {len(input_features)}")
        return np.array([name for each in self.columns_ for name in each.features], dtype=object)

    @property
    def is_bin_(self) -> NDArray[np.bool_]:
        """Is each feature piecewise-linear? One flag per feature."""
        flags = [getattr(each, "is_bin", [False] * len(each.features)) for each in self.columns_]
        return np.array([flag for each in flags for flag in each], bool)

    def without_bins(self) -> Self:
        """Leave the piecewise-linear features out."""
        for each in self.columns_:
            number = each.time if isinstance(each, columns.Date) else each
            if isinstance(number, columns.Number):
                number.edges = np.empty(0)
        return self

    def summary(self) -> str:
        """A description of each column's features, one line per column.

        Returns
        -------
        str
            A table of names and descriptions.
        """
        check_is_fitted(self)
        width = max(len(each.name) for each in self.columns_)
        return "\n".join(f"{each.name:<{width}}  {each}" for each in self.columns_)

    def _kept(self) -> tuple[dict[str, Any], list[Any]]:
        """The fitted state for files."""
        check_is_fitted(self)
        return {"columns": [kept.of_column(each) for each in self.columns_], "names": names_of(self)}, []

    def _take(self, values: Any, networks: list[Any]) -> None:
        """Take over the fitted state from a file."""
        fields(values, {"columns", "names"}, "preparation")
        found = of_type(values, "columns", list)
        if not found or networks:
            raise FormatError("a preparation has columns and no networks")
        names = None if values["names"] is None else words(values, "names")
        self.columns_ = [kept.to_column(each) for each in found]
        put_names(self, names, len(found))

    def __sklearn_tags__(self) -> Any:
        tags = permissive(super().__sklearn_tags__())
        tags.transformer_tags.preserves_dtype = []
        return tags


def _by_name(found: Sequence[Column], names: Sequence[str]) -> list[Column]:
    """The columns with these names, in the order of the names; an error lists missing and additional columns."""
    by_name, known = {column.name: column for column in found}, set(names)
    missing = [name for name in names if name not in by_name]
    added = [name for name in by_name if name not in known]
    if missing or added:
        raise ValueError(
            "The feature names should match those that were passed during fit.\n"
            + _listed("Feature names unseen at fit time", added)
            + _listed("Feature names seen at fit time, yet now missing", missing)
        )
    return [by_name[name] for name in names]


def _are_labels(names: Sequence[str]) -> bool:
    """Are these the labels of a DataFrame, as text? Columns of arrays are called x0, x1, ..."""
    return len(set(names)) == len(names) and list(names) != [f"x{j}" for j in range(len(names))]


def permissive(tags: Any) -> Any:
    """Tags that declare missing values, strings and categories as accepted."""
    tags.input_tags.allow_nan = True
    tags.input_tags.string = tags.input_tags.categorical = True
    tags.input_tags.sparse = False
    return tags


def _listed(title: str, names: Sequence[str], most: int = 5) -> str:
    """Names as scikit-learn lists them."""
    if not names:
        return ""
    more = ["- ..."] * (len(names) > most)
    return "\n".join([f"{title}:", *(f"- {name}" for name in sorted(names)[:most]), *more, ""])
