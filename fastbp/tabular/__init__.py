"""Networks for tables: fit a DataFrame as it is, without tuning.

    from fastbp.tabular import TabularClassifier, TabularRegressor

`TabularPreparation` turns the table into a matrix; an ensemble of networks is trained on it. docs/tables.md says more.
"""

from .. import sklearn as _sklearn  # noqa: F401  (its error says what is missing)
from .classifier import TabularClassifier
from .preparation import TabularPreparation
from .regressor import TabularRegressor

__all__ = ["TabularClassifier", "TabularPreparation", "TabularRegressor"]
