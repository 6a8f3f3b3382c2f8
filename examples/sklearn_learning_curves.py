"""Learning curves of the solvers with scikit-learn's interface, on the digits: loss, and held-out loss and accuracy.

    python examples/sklearn_learning_curves.py [picture.png]
"""

import sys
import time
import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import fastbp
from fastbp.sklearn import MLPClassifier

SOLVERS = {
    "sgd, constant": {"solver": "sgd", "learning_rate_init": 0.02, "momentum": 0.0},
    "sgd, momentum": {"solver": "sgd", "learning_rate_init": 0.02},
    "sgd, invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
    "adam": {"solver": "adam", "learning_rate_init": 0.005},
    "rmsprop": {"solver": fastbp.optimizers.RMSprop(0.002)},
}


def main(picture=None):
    X, y = fastbp.datasets.load_digits()
    X, X_val, y, y_val = train_test_split(X / 16, y, random_state=0, stratify=y)
    curves = {}
    for name, parameters in SOLVERS.items():
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            clf = MLPClassifier((50,), max_iter=60, n_iter_no_change=60, random_state=0, **parameters)
            curves[name] = clf.fit(X, y, X_val=X_val, y_val=y_val)
        print(f"{name:<16} loss {clf.loss_:.4f}, held out {clf.validation_loss_curve_[-1]:.4f}, "
              f"accuracy {100 * clf.validation_scores_[-1]:.1f} %, {time.perf_counter() - started:.2f} s")
    if picture is None:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for i, (name, clf) in enumerate(curves.items()):
        epochs = range(1, len(clf.loss_curve_) + 1)
        axes.plot(epochs, clf.loss_curve_, f"C{i}", label=name)
        axes.plot(epochs, clf.validation_loss_curve_, f"C{i}--")
    axes.set(xlabel="epoch", ylabel="cross-entropy (dashed: held out)", ylim=(0, 2.4))
    axes.legend()
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:2])
