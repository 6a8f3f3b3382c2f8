"""The base of both estimators: the table, the folds, the ensemble."""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted

from ..files.estimator import of_type
from ..network import Network
from ..sklearn.one_thread import alone
from ..sklearn.stochastic import allowed_threads
from . import choice, folds, frames, given, kept
from .frames import Column
from .preparation import TabularPreparation, permissive
from .training import Matrix, Recipe, Rows, Task, Trained

RECIPE = Recipe()


class BaseTabular(BaseEstimator):
    """Base of both estimators; not used directly."""

    n_estimators: int
    epochs: int | None
    random_state: Any
    n_threads: int | None
    progress: bool
    preparation_: TabularPreparation
    networks_: list[Network]
    validation_score_: float
    best_epochs_: list[int]

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012  (scikit-learn's form)
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "epochs": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "progress": ["boolean"],
    }

    def _targets(self, y: Any) -> NDArray[Any]:
        """Check y, set the attributes that describe it, and return it in the form for `Task`."""
        raise NotImplementedError

    def _weights(self, y: NDArray[Any], sample_weight: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        """The training weights."""
        return sample_weight

    def _judge(self, held: list[tuple[Rows, Matrix]], task: Task) -> None:
        """Learn from the outputs on held-out rows: (rows, z) of each network."""
        raise NotImplementedError

    @alone
    def _fit(self, X: Any, y: Any, sample_weight: Any, groups: Any, cv: Any) -> Self:
        columns, named = frames.read(X)
        m = len(columns[0].values)
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        given.check(y=y, sample_weight=sample_weight, groups=groups)
        targets = self._targets(y)
        check_consistent_length(np.empty(m), targets)
        w = None if sample_weight is None else np.asarray(
            _check_sample_weight(sample_weight, targets, dtype=np.float64, ensure_non_negative=True))
        if w is not None and not w.any():       # an older scikit-learn does not check this
            raise ValueError("Sample weights must contain at least one non-zero number.")
        w = self._weights(targets, w)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        labels = targets if targets.ndim == 1 else None
        splits = folds.splits(m, self.n_estimators, rng, labels=labels, groups=groups, cv=cv)
        if w is not None and not w.all():       # a row of weight 0 counts as absent
            keep = w > 0
            splits = folds.kept(splits, keep)
            columns = [Column(c.name, c.kind, c.values[keep], c.levels) for c in columns]
            targets, w = targets[keep], w[keep]
        self._train(columns, named, targets, w, splits, rng)
        return self

    def _train(
        self, columns: list[Column], named: bool, targets: NDArray[Any], w: NDArray[np.float64] | None,
        splits: list[tuple[Rows, Rows]], rng: np.random.Generator,
    ) -> None:
        self.preparation_ = TabularPreparation()
        X = self.preparation_.learn(columns, named)
        self.n_features_in_ = self.preparation_.n_features_in_
        self.__dict__.pop("feature_names_in_", None)
        if named:
            self.feature_names_in_ = self.preparation_.feature_names_in_
        K = self._n_outputs(targets)
        if K == 0:      # a single class: nothing to learn
            self.networks_, self.validation_score_ = [], 1.0
            return
        seeds = np.random.SeedSequence(int(rng.integers(2**63))).spawn(len(splits))
        task = Task(_never_empty(X), targets, K, w, RECIPE)
        epochs = [RECIPE.epochs(len(rows)) if self.epochs is None else int(self.epochs) for rows, _ in splits]
        task, trained = choice.ensemble(task, self.preparation_, splits, seeds, epochs, shown=self.progress,
                                        n_threads=allowed_threads(self.n_threads))
        self._keep(task, trained, splits)

    def _n_outputs(self, targets: NDArray[Any]) -> int:
        raise NotImplementedError

    def _keep(self, task: Task, trained: list[Trained], splits: list[tuple[Rows, Rows]]) -> None:
        """Keep the networks, and evaluate each on its held-out rows."""
        self.networks_ = [each.net for each in trained]
        self.best_epochs_ = [each.epoch for each in trained]
        held = [(held_out, task.outputs(net.forward, held_out))
                for net, (_, held_out) in zip(self.networks_, splits, strict=True)]
        self._judge(held, task)

    def _predicted(self, X: Any, of: Callable[[list[Matrix]], NDArray[np.float64]]) -> NDArray[np.float64]:
        """of(z(L) (rows, K) of each network) for all rows of a table, block by block, since the features of all rows
        may take gigabytes."""
        values = self._accepted(X)
        found = []
        for rows in frames.blocks(len(values[0])):
            inputs = _never_empty(self.preparation_.rows(values, rows))
            found.append(of([net.forward(inputs) for net in self.networks_]))
        return np.concatenate(found)

    def _accepted(self, X: Any) -> list[NDArray[Any]]:
        """The columns of a table as the preparation takes them."""
        check_is_fitted(self)
        return self.preparation_.accepted(self.preparation_.columns_of(X, type(self).__name__))

    def _kept(self) -> tuple[dict[str, Any], list[Network]]:
        """The fitted state for files: values, and the networks."""
        check_is_fitted(self)
        return {
            "preparation": [self.preparation_.n_bins, self.preparation_.max_levels, self.preparation_._kept()[0]],
            "best_epochs": self.best_epochs_, "validation_score": float(self.validation_score_), **self._own_kept(),
        }, self.networks_

    def _own_kept(self) -> dict[str, Any]:
        """The values that only this class keeps."""
        raise NotImplementedError

    def _take(self, values: Any, networks: list[Network]) -> None:
        """Take over the fitted state from a file."""
        own = dict(values)
        bins, levels, columns = own.pop("preparation")
        preparation = TabularPreparation(bins, levels)
        preparation._validate_params()
        preparation._take(columns, [])
        self.preparation_, self.networks_ = preparation, networks
        self.n_features_in_ = preparation.n_features_in_
        if hasattr(preparation, "feature_names_in_"):
            self.feature_names_in_ = preparation.feature_names_in_
        self.best_epochs_ = kept.epochs(own, len(networks))
        self.validation_score_ = of_type(own, "validation_score", float)
        del own["best_epochs"], own["validation_score"]
        self._take_own(own, kept.features(preparation.columns_))

    def _take_own(self, values: dict[str, Any], d: int) -> None:
        """Take over the values of `_own_kept`; the networks must have d inputs."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        return permissive(super().__sklearn_tags__())


def _never_empty(X: Matrix) -> Matrix:
    """X, or a column of 0 if all columns are constant: a network needs an input."""
    return X if X.shape[1] else np.zeros((len(X), 1), np.float32)


def mean_of_held_out(
    held: Sequence[tuple[Rows, Matrix]], m: int, of: Callable[[Matrix], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """of(z) (m, K) of each row, the mean over the networks that have held it out; NaN for rows never held out."""
    total: Any = None
    count = np.zeros((m, 1))
    for rows, z in held:
        values = of(z)
        total = np.zeros((m, values.shape[1])) if total is None else total
        total[rows] += values
        count[rows] += 1
    with np.errstate(invalid="ignore"):
        return total / count
