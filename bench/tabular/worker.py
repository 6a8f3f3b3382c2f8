"""`python -m bench.tabular.worker SET PEER SEED`: one fit; the last line it prints is the result as JSON."""

import json
import os
import sys
import time

import numpy as np

from . import data, peers


def pinned():
    """Stay on one processor, regardless of the threads of a library."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def found(name, peer, seed):
    """Fit and predict; return error, log loss and CPU seconds."""
    fit = peers.PEERS[peer][1]
    X, y, classes = data.load(name)
    X_train, X_test, y_train, y_test = data.split(X, y, seed)
    fit_warm(peer, fit, classes)
    began = time.process_time()
    labels, predict = fit(X_train, y_train, seed, classes)
    seconds = time.process_time() - began
    answer = np.asarray(predict(X_test), float)
    result = {"set": name, "peer": peer, "seed": seed, "seconds": seconds, **scores(answer, y_test, labels, y)}
    return result | (predict.told(X_test, y_test) if hasattr(predict, "told") else {})


def fit_warm(peer, fit, classes):
    """Import everything the peer needs before the clock starts, by a fit of a few rows."""
    import pandas as pd

    rows = np.arange(200)
    table = pd.DataFrame({"a": rows % 7 / 7.0, "b": rows % 3 / 3.0, "c": np.array(["x", "y"])[rows % 2]})
    target = pd.Series(np.where(rows % 2, "no", "yes") if classes else rows % 7 / 7.0)
    if peer not in ("RealMLP-TD", "CatBoost"):      # these take as long for a few rows as for many
        fit(table, target, 0, classes)
        return
    __import__({"RealMLP-TD": "pytabkit", "CatBoost": "catboost"}[peer])


def scores(answer, y, labels, whole):
    """Return error rate and log loss of probabilities, or RMSE over the standard deviation of all targets."""
    if labels is None:
        return {"error": float(np.sqrt(np.mean((answer - y) ** 2)) / np.std(whole)), "log_loss": None}
    right = np.searchsorted(labels, np.asarray(y))
    p = np.clip(answer[np.arange(len(y)), right], 1e-15, 1)
    return {"error": float(np.mean(answer.argmax(axis=1) != right)), "log_loss": float(-np.log(p).mean())}


if __name__ == "__main__":
    pinned()
    print(json.dumps(found(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
