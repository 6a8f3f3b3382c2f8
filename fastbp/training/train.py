"""`train`: the stages from its arguments to running training, and the loop."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from numpy.typing import ArrayLike

from .._types import Comm, Count, Every, Examples, Factors, Flag, Free, Number, Path, PerLayer, Rule, RuleName, Seed
from ..distributed.group import Group
from ..history import History
from ..keywords import explained
from ..network import Network
from . import quick
from .arguments import Arguments
from .ranks.start import RankStages
from .start import Start


class RankStart(RankStages, Start):
    """The stages on every rank."""


@explained
def train(
    net: Network, X: Any, Y: ArrayLike | None = None, *, optimizer: Rule | RuleName = "adam", epochs: Count,
    batch_size: Count | None = 32, weight_decay: PerLayer = 0.0, lam: Number | None = None, l1: Number = 0.0,
    clip_value: Number | None = None, clip_norm: Number | None = None, dropout: PerLayer = 0.0,
    input_dropout: Number = 0.0, sample_weight: ArrayLike | None = None, shuffle: Flag = True,
    window: Count | None = None, validation_data: Examples | None = None, validation_split: Number = 0.0,
    metrics: Sequence[str | Callable[..., Any]] = (), callbacks: Sequence[object] = (), seed: Seed = None,
    progress: Flag = False, n_threads: Count | None = None, checkpoint: Path | None = None,
    checkpoint_every: Every = 1, resume: Flag | None = None, comm: Comm | Group | None = None,
    sync_every: Count | None = None, mean_weight: Number | None = None, free: Free | None = None,
    learning_rate_factors: Factors | None = None, input_scale: Number | None = None,
) -> History:
    """Train a network: go over the examples `epochs` times, with one optimizer step along D for each batch.

    Parameters
    ----------
    net : Network
        Its theta is changed in place.
    X, Y, sample_weight
        As for `Network.cost_and_gradient`. Memory-mapped arrays are read in place. For data larger than memory, pass
        only X: an iterable of chunks (X, Y) or (X, Y, sample_weight) that is iterated again in each epoch, or a
        function that returns an iterator of chunks.
    optimizer : Optimizer, or a name: "sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "rprop"
        Any object with ``init(theta)`` and ``update(theta, D, state)`` will do, see `fastbp.optimizers`. Its
        learning_rate may be a function of the step, see `fastbp.schedules`.
    epochs : int
    batch_size : int or None
        Examples per step. None takes all of them (batch gradient descent), 1 is the online form. A number above that
        of the examples is clipped. Each batch divides by its own size, also the shorter last one.
    weight_decay, lam : float
        c of docs/math.md, one number or one for each Theta. Or the course's lambda: c = lam / m, where m is the number
        of training rows (or the sum of their weights).
    l1 : float
        J += l1 sum ``|Theta_ij|``, D += l1 sign(Theta_ij), j >= 1.
    clip_value, clip_norm : float, optional
        Each D_ij, penalties included, is clipped to [-clip_value, clip_value]. Then D of all layers together is scaled
        so that ``|D| <= clip_norm``.
    dropout : float or sequence of float
        Rate p of the hidden layers in [0, 1), one number or one for each layer. In each step an activation a of an
        example becomes 0 with probability p, else a / (1 - p) (Srivastava et al. 2014). The history's J includes
        dropout; predictions and evaluations do not.
    input_dropout : float
        The same for the inputs.
    shuffle : bool
        True shuffles the examples in each epoch; False keeps the order of the rows.
    window : int, optional
        Shuffle within windows of this many examples (rounded up to whole batches), so that a memory map is read nearly
        in order. None shuffles an array as a whole, and chunks in windows of 8192.
    validation_data : (X, Y) or (X, Y, sample_weight), optional
        Evaluated after each epoch.
    validation_split : float
        In [0, 1): this fraction of the examples, drawn by `seed`, is held out and evaluated after each epoch.
    metrics : list of str or callable
        Names of `fastbp.metrics`, or functions of (h, Y). They are measured after each epoch on the training data
        (not on chunks) and on the validation data.
    callbacks : list
        See `fastbp.callbacks`: early stopping and the like.
    seed : int, numpy Generator or None
        Seed for shuffling, dropout and the validation split. The same seed, machine and versions give the same bits;
        None draws fresh entropy.
    progress : bool
        Show a bar (tqdm, on a terminal) or a line now and then.
    n_threads : int, optional
        At most this many threads; None chooses automatically. The result is bit-identical for any number.
    checkpoint : str, bytes or os.PathLike, optional
        Everything needed to resume is written atomically to this file: at the start, every `checkpoint_every`, at the
        end, and after an exception. `fastbp.load` reads its network.
    checkpoint_every : int, or (number, "epochs", "batches" or "seconds")
    resume : bool, optional
        True resumes from `checkpoint` if the file exists, to the same bits as training that was never stopped; `epochs`
        is the total. The network's theta and the generator of `seed` become those of the file. A file made for another
        network, optimizer, data shape or setting is refused. False overwrites the file. None starts a new run, but
        raises a ValueError if the file holds a finished step.
    comm : communicator, or fastbp.distributed.Group, optional
        A communicator of mpi4py: each rank calls `train` with its own rows, possibly none. theta, the history and
        everything that callbacks see are the same on every rank. batch_size counts the examples of all ranks. Seed and
        start values are those of rank 0; only rank 0 shows progress and writes files. See docs/distributed.md.
    sync_every : int, optional
        With comm: each rank takes this many steps alone, then theta and the optimizer's moments are averaged.
    mean_weight : float, optional
        With sample_weight a batch divides by its number of examples and by this number. So an example counts the same
        in every batch. None takes the mean weight of the training rows (of all ranks), and 1 for chunks.
    free : (n_parameters,) bool, or list of int, optional
        The parameters that are trained: a mask like theta, or the numbers l of Theta(l), 1 .. L-1. All others keep
        their bits, even with momentum and decay. None trains all.
    learning_rate_factors : dict or sequence, optional
        Factors for the steps of the parameters, which act like separate learning rates: {"weights": f, "biases": f} for
        every Theta, or a sequence with one entry for each Theta: a number, a pair (weights, biases) or such a dict.
        None: 1 for all. They apply to every optimizer, and to its own weight decay (AdamW); weight_decay is part of D.
        See docs/training.md.
    input_scale : float, optional
        Trains a diagonal layer in front of the first: Theta(1) = [b, W diag(s)], with one trained factor s_j for each
        input, which starts at 1. The number is the factor of the learning rate of s; 6 suits tables. The network always
        holds the product, so nothing has to be folded. See docs/training.md.

    Returns
    -------
    History
        J, val_J, val_accuracy and the metrics of each epoch.

    Raises
    ------
    ValueError, TypeError
        The message names the argument. Nothing has changed, except that a bad chunk is found only when it is read, and
        theta is then that of the last step.
    DivergenceError
        J or theta is no longer finite. theta is restored to its values before that epoch, or where the epoch was
        resumed.
    RuntimeError
        Another thread is training this network.
    OSError
        The checkpoint cannot be read or written; the old file is unchanged.
    RankError
        Another rank has raised an exception.

    Warns
    -----
    RuntimeWarning
        Training has diverged although all numbers are finite: J ends at more than 1000 times that of the first epoch.
        Of several ranks only the first warns.

    See Also
    --------
    Trainer : Trains one step at a time.
    train_many : Trains many networks at once.
    minimize : Uses all examples in each step, for small problems.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.load_digits()
    >>> net = fastbp.Network([64, 30, 10], activation="relu", output="softmax", seed=0)
    >>> history = fastbp.train(net, X / 16, y, optimizer=fastbp.Adam(3e-3), epochs=20, validation_split=0.2,
    ...                        callbacks=[fastbp.callbacks.EarlyStopping(patience=5)], seed=0)
    >>> history.val_accuracy[-1] > 0.9
    True
    """
    asked = Arguments(
        net, X, Y, optimizer=optimizer, epochs=epochs, batch_size=batch_size, weight_decay=weight_decay, lam=lam,
        penalties={"l1": l1, "clip_value": clip_value, "clip_norm": clip_norm}, dropout=dropout,
        input_dropout=input_dropout, sample_weight=sample_weight, shuffle=shuffle, window=window,
        validation_data=validation_data, validation_split=validation_split, metrics=metrics, callbacks=callbacks,
        seed=seed, progress=progress, n_threads=n_threads, checkpoint=checkpoint, checkpoint_every=checkpoint_every,
        resume=resume, sync_every=sync_every, mean_weight=mean_weight, free=free,
        learning_rate_factors=learning_rate_factors, input_scale=input_scale,
    )
    with net._turn if isinstance(net, Network) else nullcontext():
        if comm is not None:
            return RankStart(asked, comm).run()
        history = quick.train(asked)
        return Start(asked).run() if history is None else history
