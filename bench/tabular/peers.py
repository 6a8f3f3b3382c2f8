"""The peers, each with its defaults: the preparation that each needs for a DataFrame is done for it, and timed."""

import numpy as np


def _words(X):
    """The columns without numbers."""
    return [name for name in X if X[name].dtype.kind not in "iufb"]


def _categories(X, like=None):
    """Words as pandas categories, those of the training data."""
    X = X.copy()
    for name in _words(X):
        X[name] = X[name].astype("category" if like is None else like[name].dtype)
    X.columns = [f"c{j}" for j in range(X.shape[1])]
    return X


def _trees(make):
    """A peer that takes categories of pandas."""
    def fit(X, y, seed, classes):
        X = _categories(X)
        labels, codes = np.unique(y, return_inverse=True) if classes else (None, y)
        model = make(classes, seed).fit(X, codes)
        like = {name.removeprefix("c"): X[name] for name in X}

        def predict(new):
            new = new.copy()
            new.columns = [str(j) for j in range(new.shape[1])]
            for name in new:
                if like[name].dtype.name == "category":
                    new[name] = new[name].astype(like[name].dtype)
            new.columns = X.columns
            return model.predict_proba(new) if classes else model.predict(new)

        return labels, predict

    return fit


def _lightgbm(classes, seed):
    import lightgbm

    return (lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor)(n_jobs=1, verbose=-1, random_state=seed)


def _xgboost(classes, seed):
    import xgboost

    cls = xgboost.XGBClassifier if classes else xgboost.XGBRegressor
    return cls(n_jobs=1, enable_categorical=True, random_state=seed)


def _catboost(X, y, seed, classes):
    import catboost

    words = _words(X)

    def strings(table):
        table = table.copy()
        for name in words:
            table[name] = table[name].astype(object).where(table[name].notna(), "nan").astype(str)
        return table

    cls = catboost.CatBoostClassifier if classes else catboost.CatBoostRegressor
    model = cls(thread_count=1, verbose=0, random_seed=seed, cat_features=words, allow_writing_files=False)
    model.fit(strings(X), y)
    return (model.classes_, lambda new: model.predict_proba(strings(new))) if classes else (
        None, lambda new: model.predict(strings(new)))


def _realmlp(X, y, seed, classes):
    import torch
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    torch.set_num_threads(1)
    words, middle = _words(X), X.median(numeric_only=True)

    def filled(table):
        table = table.fillna(middle)
        for name in words:
            table[name] = table[name].astype(object).where(table[name].notna(), "nan").astype(str).astype("category")
        return table

    cls = RealMLP_TD_Classifier if classes else RealMLP_TD_Regressor
    model = cls(device="cpu", random_state=seed, n_threads=1, verbosity=0)
    model.fit(filled(X), y.to_numpy(), cat_col_names=words)
    return (model.classes_, lambda new: model.predict_proba(filled(new))) if classes else (
        None, lambda new: np.ravel(model.predict(filled(new))))


def _scaled(make):
    """A peer that takes scaled numbers: median, StandardScaler, one-hot."""
    def fit(X, y, seed, classes):
        from sklearn.compose import make_column_transformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        words = _words(X)
        numbers = [name for name in X if name not in words]
        model = make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
                (OneHotEncoder(handle_unknown="ignore"), words),
            ),
            make(classes, seed),
        ).fit(X, y)
        return (model.classes_, model.predict_proba) if classes else (None, model.predict)

    return fit


def _mlp(classes, seed):
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    return (MLPClassifier if classes else MLPRegressor)(random_state=seed)


def _linear(classes, seed):
    from sklearn.linear_model import LogisticRegression, RidgeCV

    return LogisticRegression(max_iter=1000) if classes else RidgeCV()


def _fastbp(X, y, seed, classes):
    from fastbp.tabular import TabularClassifier, TabularRegressor

    model = (TabularClassifier if classes else TabularRegressor)(random_state=seed, n_threads=1).fit(X, y)
    return (model.classes_ if classes else None), Answers(model, classes)


class Answers:
    """The predictions of an estimator of fastbp.tabular, and its further results."""

    def __init__(self, model, classes):
        self.model, self.classes = model, classes

    def __call__(self, new):
        return self.model.predict_proba(new) if self.classes else self.model.predict(new)

    def told(self, X, y):
        """Return the scores of held-out rows and of test rows, and the fraction that a 90 % interval covers."""
        found = {"validation_score": self.model.validation_score_, "score": self.model.score(X, y)}
        if not self.classes:
            low, high = self.model.predict_interval(X, 0.9).T
            found["covered"] = float(np.mean((low <= y) & (y <= high)))
        return found


# name: (package of pip, function of (X, y, seed, classes?) that returns (labels, predict))
PEERS = {
    "fastbp": ("fastbp", _fastbp),
    "LightGBM": ("lightgbm", _trees(_lightgbm)),
    "XGBoost": ("xgboost", _trees(_xgboost)),
    "CatBoost": ("catboost", _catboost),
    "RealMLP-TD": ("pytabkit", _realmlp),
    "sklearn-MLP": ("scikit-learn", _scaled(_mlp)),
    "linear": ("scikit-learn", _scaled(_linear)),
}
