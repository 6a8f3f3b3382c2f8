"""Hashes of several hundred small training runs, to show that a change of the package keeps every bit.

    cd tests && python tools/hash_trainings.py --pickles FOLDER > before.txt    # FOLDER is empty: pickles are written
    cd tests && python tools/hash_trainings.py --pickles FOLDER > after.txt     # of another commit: they are loaded
    diff before.txt after.txt

One line per run: a name, and the beginning of the sha256 of theta and of the history without its times. Lines are
sorted and hold no time, path or message; the same machine, instruction set and versions give the same lines. Only the
public interface of fastbp is called. Exit status 1 if a run has failed; its line then names the exception.
"""

import argparse
import hashlib
import pickle
import shutil
import sys
import traceback
import warnings
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
from trainings import (
    ACTIVATIONS,
    BOTH,
    ESTIMATORS,
    FOLDER,
    LABELS,
    LOSSES,
    RULES,
    SCHEDULES,
    At,
    M,
    W,
    X,
    both,
    communicators,
    digest,
    file,
    fitted,
    golden_files,
    interrupted,
    large,
    minimum,
    mixed,
    network,
    on_ranks,
    resumed_on_ranks,
    steps,
    train,
)

import fastbp
from fastbp import Adam, schedules
from fastbp.callbacks import EarlyStopping, ReduceOnPlateau
from fastbp.sklearn import MLPClassifier, MLPRegressor


def of_golden(path):
    """The contents of a golden file, and training from it; FormatError if fastbp.load does not read it"""
    try:
        net = fastbp.load(path)
    except fastbp.FormatError:
        return "FormatError"
    if net.plan.own is not None:
        net = fastbp.load(path, loss=golden_files.scaled)
    held = net.copy()
    if held.n_parameters >= 10_000:
        return held
    net.theta = np.where(np.abs(net.theta) < 100, net.theta, 0)
    n, K = net.layer_sizes[0], net.layer_sizes[-1]
    x, y = golden_files.X[:, :n] if n <= 4 else np.tile(golden_files.X, n)[:, :n], golden_files.exact(24 * K)
    y = (y[np.arange(24 * K) % 20].reshape(24, K) > 0).astype(float)
    y = np.argmax(y, axis=1) if net.output == "softmax" else y
    return held, net.predict(x), fastbp.train(net, x, y, optimizer=Adam(0.01), epochs=2, batch_size=5, seed=0), net


def of_corpus():
    """The inputs found by a fuzzer, made into files as in fuzz_container.py: networks, or FormatError"""
    told, path = [], file()
    with zipfile.ZipFile(golden_files.GOLDEN / "corpus.zip") as archive:
        for name in archive.namelist():
            raw = archive.read(name)
            form, raw = raw[:1], raw[1:]
            if form == b"f":
                text, _, raw = raw.partition(b"\n")
                text += b" " * (-len(text) % 8)
                raw = len(text).to_bytes(8, "little") + text + raw
            if form in b"fs" and len(raw) >= 32:
                raw = raw[:-32] + hashlib.sha256(raw[:-32]).digest()
            path.write_bytes(raw)
            try:
                told.append(fastbp.load(path))
            except fastbp.FormatError:
                told.append("FormatError")
    return told


def of_golden_training(pause):
    path = shutil.copy(golden_files.GOLDEN / "training_float32.fastbp", file())
    if pause:
        golden_files.train(path, At(1, lambda training: training.pause("look")), resume=True)
    return golden_files.train(path, resume=True)


def of_golden_trainer():
    trainer, path = golden_files.trainer(), file()
    notes = trainer.restore(golden_files.GOLDEN / "trainer_float64.fastbp")
    trainer.save(path, notes)
    J = [trainer.step(golden_files.X, golden_files.Y), trainer.epoch(golden_files.X, golden_files.Y, batch_size=7)]
    return trainer.net, J, trainer.state, notes, path.read_bytes()


def stepped(rule, dtype, **settings):
    trainer = fastbp.Trainer(network(dtype), RULES[rule](), seed=5, **settings)
    trainer.epoch(X.astype(dtype), LABELS, batch_size=9)
    return trainer


def pickled():
    """{name: function that makes an object to be pickled}"""
    stopping, plateau = EarlyStopping("J", 1, 1e-3), ReduceOnPlateau("J", 0, 0.5, 0.05)
    made = {f"schedule-{name}": lambda each=each: each for name, each in SCHEDULES.items()}
    made |= {f"optimizer-{name}": make for name, make in RULES.items()}
    for (name, dtype), rule in product(BOTH.items(), RULES):
        made[f"trainer-{rule}-{name}"] = lambda rule=rule, dtype=dtype: stepped(rule, dtype, dropout=0.2, l1=1e-3)
    made |= {f"network-{name}": lambda dtype=dtype: train(dtype=dtype)[0] for name, dtype in BOTH.items()}
    made |= {"history": lambda: train(validation_data=2, measured=1, calls="stopping")[1],
             "standardise": lambda: fastbp.Standardise(X, W), "stopping-new": lambda: EarlyStopping("J", 1),
             "stopping": lambda: (train(more=[stopping]), stopping)[1], "plateau-new": lambda: ReduceOnPlateau("J", 1),
             "plateau": lambda: (train(more=[plateau]), plateau)[1],
             "evaluation": lambda: network().evaluate(X, LABELS)}
    for name, kind, settings in ESTIMATORS:
        made[f"estimator-{name}"] = lambda kind=kind, settings=settings: fitted(kind, **settings)[0]
    return made


def of_pickles(folder):
    """(name, function, settings) of each object, which is first written if the folder is empty"""
    if not any(folder.iterdir()):
        for name, make in pickled().items():
            (folder / f"{name}.pickle").write_bytes(pickle.dumps(make()))
    for name in pickled():
        yield f"pickles/{name}", of_pickle, {"path": folder / f"{name}.pickle"}


def of_pickle(path):
    return gone_on(pickle.loads(path.read_bytes()))


def gone_on(each):
    """The behaviour of a pickled object, possibly from another version"""
    learnt = (fastbp.Network, MLPClassifier, MLPRegressor)
    before = digest(each if isinstance(each, learnt) else getattr(each, "net", None))
    if isinstance(each, fastbp.Network):
        return before, repr(each), fastbp.train(each, X, LABELS, epochs=2, seed=0), each
    if isinstance(each, fastbp.Trainer):
        x = X.astype(each.net.dtype)
        return before, each.step(x, LABELS), each.epoch(x, LABELS, batch_size=7), each.net, each.state
    if isinstance(each, schedules.Schedule):
        return repr(each), [each(t) for t in range(40)]
    if isinstance(each, fastbp.Standardise):
        return each.transform(X), each.inverse(X), each.fold(network())
    if isinstance(each, (EarlyStopping, ReduceOnPlateau)):
        kept = each.state() if hasattr(each, "best") else None
        return kept, train(more=[each]), each.state()
    if hasattr(each, "update"):
        net = network()
        return fastbp.train(net, X, LABELS, optimizer=each, epochs=2, seed=0), net, sorted(vars(each))
    if hasattr(each, "predict"):
        h = each.predict(X)
        y = np.resize(each.classes_, M) if hasattr(each, "classes_") and h.ndim == 1 else h
        each.set_params(early_stopping=False, warm_start=False)
        if hasattr(each, "classes_"):
            each.set_params(class_weight=None)
        if each.solver != "lbfgs":
            each.partial_fit(X, y).partial_fit(X[:1], y[:1])
        return before, h, digest(each), each.set_params(warm_start=True).fit(X, y)
    return each


def cases():
    """(name, function, settings) of each training"""
    for (name, dtype), rule, n in product(BOTH.items(), RULES, (1, 7, 32, None)):
        yield f"rule/{rule}-{name}-{n}", train, {"dtype": dtype, "rule": rule, "batch_size": n}
    for (name, dtype), loss, g in product(BOTH.items(), LOSSES, ACTIVATIONS):
        settings = {"dtype": dtype, "loss": loss, "activation": g}
        yield f"loss/{'-'.join(loss[:2])}-{'-'.join([g] if isinstance(g, str) else g)}-{name}", both, settings
    for i in range(150):
        yield f"mixed/{i:03}", train, mixed(i)
        for at in ("epoch", "batch", "error"):
            yield f"mixed/{i:03}-resumed-{at}", interrupted, {"at": at, **mixed(i)}
    for i, (name, ways) in product(range(30), {
        "1-of-4": {"size": 1, "parts": 4}, "2-of-4": {"size": 2, "parts": 4}, "4-of-4": {"size": 4, "parts": 4},
        "2": {"size": 2}, "3": {"size": 3}, "sync-2": {"size": 2, "sync_every": 2},
        "segments": {"size": 4, "parts": 4, "kind": communicators.Segments},
    }.items()):
        yield f"ranks/{i:03}-{name}", on_ranks, {**ways, **mixed(i, True)}
    for source, size, loss in product(("chunks", "weighted chunks"), (2, 3), LOSSES[:2]):
        settings = {"size": size, "source": source, "loss": loss, "batch_size": 8, "measured": 1, "validation_data": 2}
        yield f"ranks/{'-'.join(source.split())}-{size}-{loss[0]}", on_ranks, settings
    for i, at, size in product(range(12), ("epoch", "batch"), (1, 2)):
        settings = {"size": size, "parts": 2, "at": at, **mixed(i, True)}
        yield f"ranks/{i:03}-{size}-resumed-{at}", resumed_on_ranks, settings
    for (name, dtype), rule, keep in product(BOTH.items(), RULES, (None, "file", "pickle", "copy")):
        settings = {"dtype": dtype, "rule": rule, "keep": keep}
        yield f"trainer/{rule}-{name}-{keep}", steps, settings
        yield f"trainer/{rule}-{name}-{keep}-dropout", steps, {**settings, "dropout": 0.2, "batch_lam": 0.1}
    groups = (1, 4), (2, 4), (3, None)
    for rule, (size, parts), keep in product(("momentum", "adam", "plain"), groups, (None, "file")):
        settings = {"size": size, "parts": parts, "work": steps, "rule": rule, "keep": keep, "dropout": 0.1}
        yield f"trainer/{rule}-ranks-{size}-{parts}-{keep}", on_ranks, settings
    for (name, dtype), loss, weights in product(BOTH.items(), LOSSES, (False, True)):
        settings = {"dtype": dtype, "loss": loss, "weights": weights, "lam": 0.3}
        yield f"minimize/{'-'.join(loss[:2])}-{name}-{weights}", minimum, settings
    for method in ("CG", "BFGS", "TNC", "SLSQP"):
        yield f"minimize/{method}", minimum, {"method": method, "l1": 1e-3}
    for size, parts in (*groups, (4, 4)):
        settings = {"size": size, "parts": parts, "work": minimum, "weights": True}
        yield f"minimize/ranks-{size}-{parts}", on_ranks, settings
    for rule, n, threads in product(("momentum", "plain"), (256, None), (1, 2)):
        settings = {"n_threads": threads, "rule": rule, "batch_size": n}
        yield f"large/{rule}-{n}-{threads}", large, settings
        yield f"large/{rule}-{n}-{threads}-dropout", large, {**settings, "dropout": 0.2}
    for name, kind, settings in ESTIMATORS:
        yield f"sklearn/{name}", fitted, {"kind": kind, **settings}
    for path in golden_files.GOLDEN.glob("*.fastbp"):
        yield f"golden/{path.stem}", of_golden, {"path": path}
    yield "golden/corpus", of_corpus, {}
    yield "golden/resumed", of_golden_training, {"pause": False}
    yield "golden/resumed-twice", of_golden_training, {"pause": True}
    yield "golden/trainer", of_golden_trainer, {}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pickles", type=Path, default=Path(FOLDER.name) / "pickles", help="written if it is empty")
    parser.add_argument("--only", default="", help="names that begin so")
    arguments = parser.parse_args()
    print(fastbp.__file__, file=sys.stderr)     # is it the intended one?
    warnings.simplefilter("ignore")     # of fits that have not converged
    arguments.pickles.mkdir(parents=True, exist_ok=True)
    todo = [*cases(), *of_pickles(arguments.pickles)]
    assert len({name for name, *_ in todo}) == len(todo), "two trainings have one name"
    failed = 0
    for name, function, settings in sorted(todo, key=lambda each: each[0]):
        if name.startswith(arguments.only):
            try:
                told = digest(function(**settings))
            except Exception as error:
                traceback.print_exc()
                told, failed = f"failed: {type(error).__name__}", failed + 1
            print(f"{name:<60} {told}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    with FOLDER:
        sys.exit(main())
