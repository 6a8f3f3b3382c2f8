"""Searches and bagging over fastbp's estimators, in threads, compared with scikit-learn: `python -m bench.searches`.

A randomised search of 200 candidates x 5 folds on the scaled digits: fastbp in two threads, and scikit-learn's
MLPClassifier in the same search (in two processes). Scores are compared candidate by candidate. scikit-learn runs some
of the candidates, and its time is multiplied; with --whole it runs all. Then a BaggingClassifier in one thread and in
two, and the cost of a fit in a search in addition to its epochs.

    python -m bench.searches [--candidates 200] [--some 10 | --whole] [--only search bagging fit]
"""

import argparse
import time
import warnings

import numpy as np

FOLDS, EPOCHS = 5, 30


def digits():
    import fastbp

    X, y = fastbp.datasets.load_digits()
    return X / 16, y


def settings():
    from scipy.stats import loguniform

    return {"hidden_layer_sizes": [(10,), (20,), (40,), (20, 10)], "alpha": loguniform(1e-5, 1e-1),
            "learning_rate_init": loguniform(1e-3, 3e-2), "batch_size": [32, 64, 200]}


def search(module, candidates, jobs, backend, X, y, max_iter=EPOCHS):
    """(seconds, mean scores of the candidates) of a RandomizedSearchCV."""
    import joblib
    from sklearn.model_selection import RandomizedSearchCV

    model = module.MLPClassifier(max_iter=max_iter, random_state=0, tol=0)
    found = RandomizedSearchCV(model, settings(), n_iter=candidates, cv=FOLDS, random_state=0, refit=False)
    begun = time.perf_counter()
    with joblib.parallel_config(backend=backend, n_jobs=jobs):
        found.fit(X, y)
    return time.perf_counter() - begun, found.cv_results_


def searches(candidates, some):
    import sklearn.neural_network

    import fastbp.sklearn

    X, y = digits()
    search(fastbp.sklearn, 2, 2, "threading", X, y, 1)      # imports everything, starts the threads
    rows = {}
    for jobs in (1, 2):
        took, ours = search(fastbp.sklearn, candidates, jobs, "threading", X, y)
        rows[jobs] = took
        print(f"  fastbp, {jobs} threads           {took:8.2f} s, {1e3 * took / candidates / FOLDS:.2f} ms a fit")
    search(sklearn.neural_network, 2, 2, "loky", X, y, 1)
    took, theirs = search(sklearn.neural_network, some, 2, "loky", X, y)
    whole = took * candidates / some
    print(f"  scikit-learn, 2 processes    {whole:8.2f} s (measured: {some} candidates), {whole / rows[2]:.1f} times")
    name = "mean_test_score"
    first = ours if some == candidates else search(fastbp.sklearn, some, 2, "threading", X, y)[1]
    if all(a == b for a, b in zip(first["params"], theirs["params"], strict=True)):
        print(f"  largest difference of two mean scores: {np.abs(first[name] - theirs[name]).max():.2g}; "
              f"{(first[name] == theirs[name]).mean():.0%} of {some} are equal")


def bagging(n=40):
    import joblib
    from sklearn.ensemble import BaggingClassifier

    import fastbp.sklearn

    X, y = digits()
    model = fastbp.sklearn.MLPClassifier(30, max_iter=EPOCHS, batch_size=32, random_state=0, tol=0)
    took = {}
    for jobs in (1, 2, 1, 2):
        bag = BaggingClassifier(model, n, n_jobs=jobs, random_state=0)
        begun = time.perf_counter()
        with joblib.parallel_config(backend="threading"):
            bag.fit(X, y)
        took[jobs] = min(took.get(jobs, np.inf), time.perf_counter() - begun)
    print(f"  BaggingClassifier of {n}: 1 thread {took[1]:.2f} s, 2 threads {took[2]:.2f} s: "
          f"{took[1] / took[2]:.2f} times")


def fit(candidates=40):
    """The cost of a fit in a search: one epoch of few steps, minus the time of these steps."""
    import fastbp
    import fastbp.sklearn

    X, y = digits()
    folds = candidates * FOLDS
    took = min(search(fastbp.sklearn, candidates, 1, "threading", X, y, 1)[0] for _ in range(5)) / folds
    rows, labels = X[: len(X) * 4 // 5], y[: len(X) * 4 // 5]
    epochs = []
    for sizes in settings()["hidden_layer_sizes"]:
        for batch_size in settings()["batch_size"]:
            net = fastbp.Network([64, *sizes, 10], activation="relu", output="softmax", seed=0)
            epochs.append(min(sum(fastbp.train(net, rows, labels, epochs=1, batch_size=batch_size, weight_decay=1e-6,
                                               n_threads=1).seconds) for _ in range(9)))
    theirs = empty(candidates, X, y)
    print(f"  a fit of one epoch in a search {1e3 * took:.2f} ms: {1e3 * np.mean(epochs):.2f} its steps, "
          f"{1e3 * theirs:.2f} scikit-learn's search, {1e3 * (took - np.mean(epochs) - theirs):.2f} ours beside")


def empty(candidates, X, y):
    """Seconds of a fit that does nothing, in the same search."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Nothing(ClassifierMixin, BaseEstimator):
        def __init__(self, hidden_layer_sizes=0, alpha=0, learning_rate_init=0, batch_size=0, max_iter=0,
                     random_state=0, tol=0):
            for name, value in locals().items():
                if name not in ("self", "__class__"):
                    setattr(self, name, value)

        def fit(self, X, y):
            self.classes_ = np.arange(10)
            return self

        def predict(self, X):
            return y[: len(X)]

    module = type("Module", (), {"MLPClassifier": Nothing})
    return min(search(module, candidates, 1, "threading", X, y, 1)[0] for _ in range(5)) / candidates / FOLDS


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--candidates", type=int, default=200)
    asked.add_argument("--some", type=int, default=10)
    asked.add_argument("--whole", action="store_true")
    asked.add_argument("--only", nargs="*", default=["search", "bagging", "fit"])
    asked = asked.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "search" in asked.only:
            print(f"RandomizedSearchCV of {asked.candidates} candidates x {FOLDS} folds")
            searches(asked.candidates, asked.candidates if asked.whole else asked.some)
        if "bagging" in asked.only:
            bagging()
        if "fit" in asked.only:
            fit()


if __name__ == "__main__":
    main()
