"""python -m fastbp: train a network on the digits of the package and print its accuracy."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import SGD, Adam, Network, check_gradient, datasets, show_config, train
from ._types import Doubles
from .base import Optimizer
from .callbacks import EarlyStopping
from .distributed import group as distributed
from .history import History

OPTIMIZERS: dict[str, Callable[[float | None], Optimizer]] = {
    "adam": lambda rate: Adam(2e-3 if rate is None else rate),
    "sgd": lambda rate: SGD(0.05 if rate is None else rate, momentum=0.9),
}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fastbp",
        description="Train a network on 1797 handwritten digits (8 x 8 pixels, UCI): 1437 for training, 360 held out.",
    )

    def option(name: str, default: object, text: str, usual: object = None, **kind: Any) -> None:
        """usual: the default in words, where the value itself does not show it."""
        parser.add_argument(name, default=default, help=f"{text} (default: {usual or default})", **kind)

    option("--layers", "100", "units of the hidden layers, '' for none", metavar="N,N")
    option("--activation", "relu", "activation of the hidden layers")
    option("--optimizer", "adam", "update rule", choices=sorted(OPTIMIZERS))
    option("--learning-rate", None, "learning rate", usual="0.002 for adam, 0.05 for sgd, which has momentum 0.9",
           type=float)
    option("--epochs", 200, "maximum number of epochs", type=int)
    option("--patience", 10, "stop after more than this many epochs without improvement; keep best weights", type=int)
    option("--batch-size", 32, "examples per step", type=int)
    option("--weight-decay", 1e-4, "c: the penalty is (c/2) sum Theta^2", type=float)
    option("--dtype", "float32", "dtype of the network", choices=["float32", "float64"])
    option("--seed", 0, "seed for the split, the start values and shuffling", type=int)
    option("--picture", "fastbp-curve.png", "file of the learning curve, which needs matplotlib; '' for none",
           metavar="FILE")
    parser.add_argument("--mpi", action="store_true", help="split the rows over the processes of mpiexec")
    parser.add_argument("--config", action="store_true", help="print versions and instruction set, and stop")
    options = parser.parse_args(argv)
    try:
        options.layers = [int(units) for units in options.layers.split(",") if units.strip()]
    except ValueError:
        parser.error(f"--layers must be whole numbers separated by commas; got {options.layers!r}")
    for name in "epochs", "batch_size", "patience":
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1; got {getattr(options, name)}")
    if options.seed < 0:
        parser.error(f"--seed must be a whole number of at least 0; got {options.seed}")
    if options.picture and not Path(options.picture).resolve().parent.is_dir():
        parser.error(f"--picture: there is no folder {Path(options.picture).resolve().parent}")
    return options


def split(seed: int, held_out: int = 360) -> tuple[tuple[Doubles, NDArray[np.int64]], ...]:
    """(X, y) for training and (X, y) held out, X scaled to [0, 1]."""
    grey, digits = datasets.load_digits()
    order = np.random.default_rng(seed).permutation(len(grey))
    X, y = grey[order] / 16, digits[order]
    return (X[held_out:], y[held_out:]), (X[:held_out], y[:held_out])


def draw(history: History, path: str) -> None:
    """Save the learning curve as a picture, or print why there is none."""
    try:
        from . import plot
    except ImportError:
        print("learning curve: not drawn, matplotlib is not installed (pip install 'fastbp[demo]')")
        return
    ax = plot.learning_curve(history)
    ax.set_title("fastbp on the UCI digits")
    figure: Any = ax.figure
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:      # the folder is not writeable, or the suffix unknown
        print(f"learning curve: not drawn, {error}")
        return
    print(f"learning curve: {Path(path).resolve()}")


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    if options.config:
        show_config()
        return 0
    comm = world() if options.mpi else None
    first = comm is None or comm.Get_rank() == 0
    with nullcontext() if first else redirect_stdout(None):
        run(options, comm, first)
    return 0


def world() -> Any:
    """The communicator of all processes under mpiexec."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:    # mpi4py or the MPI library is missing
        sys.exit(f"fastbp: --mpi needs mpi4py and an MPI library (pip install 'fastbp[mpi]'): {error}")
    return MPI.COMM_WORLD


def run(options: argparse.Namespace, comm: Any = None, first: bool = True) -> None:
    """Train and print the results. Each of several processes has a part of the rows; only the first prints."""
    optimizer = OPTIMIZERS[options.optimizer](options.learning_rate)
    (X, y), held_out = split(options.seed)
    own = slice(None) if comm is None else distributed.rows(len(X), comm)
    if comm is not None:
        print(f"processes: {comm.Get_size()}")
    net = Network([64, *options.layers, 10], activation=options.activation, output="softmax", loss="cross_entropy",
                  dtype=options.dtype, init="he_normal", seed=options.seed)
    print(net.summary())
    check = check_gradient(net, X[:50], y[:50], weight_decay=options.weight_decay, directions=20)
    print(f"gradient check: relative difference {check.relative_difference:.1e} along 20 directions\n", flush=True)

    stopping = EarlyStopping(patience=options.patience)
    started = time.perf_counter()
    history = train(
        net, X[own], y[own], optimizer=optimizer, epochs=options.epochs, batch_size=options.batch_size,
        weight_decay=options.weight_decay, validation_split=0.1, callbacks=[stopping], seed=options.seed,
        progress=True, comm=comm,
    )
    seconds = time.perf_counter() - started

    sys.stderr.flush()
    print(f"\n{len(history)} epochs of {history.examples} digits in {seconds:.2f} s: "
          f"{history.examples_per_second:,.0f} examples/s")
    print(f"{'stopped early' if history.stopped else 'all epochs run'}; weights of epoch {stopping.best_epoch}, "
          f"validation cost {stopping.best:.4f}")
    if options.picture and first:
        draw(history, options.picture)
    print(f"training accuracy: {100 * net.evaluate(X, y).accuracy:.1f} %")
    print(f"held-out accuracy: {100 * net.evaluate(*held_out).accuracy:.1f} %")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, TypeError, ArithmeticError, distributed.RankError) as error:
        sys.exit(f"fastbp: {error}")
