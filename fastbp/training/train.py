"""`train`: the stages from its arguments to a training under way, and the loop."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import ArrayLike

from .._types import Comm, Count, Every, Examples, Flag, Number, Path, PerLayer, Rule, RuleName, Seed
from ..distributed.group import Group
from ..history import History
from ..network import Network
from .arguments import Arguments
from .ranks.start import RankStages
from .start import Start


class RankStart(RankStages, Start):
    """The stages on every rank."""


def train(
    net: Network, X: Any, Y: ArrayLike | None = None, *, optimizer: Rule | RuleName = "adam", epochs: Count,
    batch_size: Count | None = 32, weight_decay: PerLayer = 0.0, lam: Number | None = None, l1: Number = 0.0,
    clip_value: Number | None = None, clip_norm: Number | None = None, dropout: PerLayer = 0.0,
    input_dropout: Number = 0.0, sample_weight: ArrayLike | None = None, shuffle: Flag = True,
    window: Count | None = None, validation_data: Examples | None = None, validation_split: Number = 0.0,
    metrics: Sequence[str | Callable[..., Any]] = (), callbacks: Sequence[object] = (), seed: Seed = None,
    progress: Flag = False, n_threads: Count | None = None, checkpoint: Path | None = None,
    checkpoint_every: Every = 1, resume: Flag = False, comm: Comm | Group | None = None,
    sync_every: Count | None = None, mean_weight: Number | None = None,
) -> History:
    """Train a network: `epochs` times over the examples, a step of the optimizer along D of each batch.

    Parameters
    ----------
    net : Network
        Its theta is changed in place.
    X, Y, sample_weight
        As for `Network.cost_and_gradient`; memory-mapped arrays are read where they lie. Or, for data larger than
        memory, X alone: an iterable of chunks (X, Y) or (X, Y, sample_weight), gone through anew each epoch, or a
        function that returns an iterator of them.
    optimizer : Optimizer, or a name: "sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "rprop"
        Anything with ``init(theta)`` and ``update(theta, D, state)``; see `fastbp.optimizers`. Its learning_rate may
        be a function of the step, see `fastbp.schedules`.
    epochs : int
    batch_size : int or None
        Examples of a step; None takes all of them (batch gradient descent), 1 is the online form, more than there
        are is clipped. Each batch divides by its own size, the short last one too.
    weight_decay, lam : float
        c of docs/math.md, one number or one for each Theta; or the course's lambda: c = lam / m, m the training rows
        (or the sum of their weights).
    l1 : float
        J += l1 sum |Theta_ij|, D += l1 sign(Theta_ij), j >= 1.
    clip_value, clip_norm : float, optional
        Every D_ij, penalties included, is cut to [-clip_value, clip_value]; then D of all layers together is scaled so
        that |D| <= clip_norm.
    dropout : float or sequence of float
        Rate p of the hidden layers, one number or one a layer, in [0, 1): at each step an a of an example is 0 with
        probability p, else a / (1 - p) (Srivastava et al. 2014). The history's J is that of the steps; predictions and
        evaluations drop nothing.
    input_dropout : float
        The same for the inputs.
    shuffle : bool
        A new order of the examples each epoch; False takes them as they lie.
    window : int, optional
        Shuffle within windows of so many examples (rounded up to whole batches), so that a memory map is read nearly
        in order; None: all of an array at once, 8192 of chunks.
    validation_data : (X, Y) or (X, Y, sample_weight), optional
        Evaluated after each epoch.
    validation_split : float
        In [0, 1): this share of the examples, drawn by `seed`, is kept from training and evaluated instead.
    metrics : list of str or callable
        Measured after each epoch, of the training data (not of chunks) and the validation data: names of
        `fastbp.metrics`, or functions of (h, Y).
    callbacks : list
        See `fastbp.callbacks`: early stopping and the like.
    seed : int, numpy Generator or None
        Of the order, of what is dropped and of validation_split. The same seed, machine and versions give the same
        bits; None draws fresh entropy.
    progress : bool
        Show a bar (tqdm, on a terminal) or a line now and then.
    n_threads : int, optional
        At most this many threads; None decides by what was measured to help. Never changes a bit.
    checkpoint : str, bytes or os.PathLike, optional
        A file that holds all this training goes on from, replaced as a whole: at once (without `resume` whatever it
        held), every `checkpoint_every`, at the end, and after an exception. `fastbp.load` reads its network.
    checkpoint_every : int, or (number, "epochs", "batches" or "seconds")
    resume : bool
        Go on from `checkpoint`, if it is there, to the bits of a training that was never stopped; `epochs` is the
        total. The network's theta and the generator of `seed` become those of the file. One made for another network,
        optimizer, data shape or setting is refused.
    comm : communicator, or fastbp.distributed.Group, optional
        Of mpi4py: each rank calls `train` with its own rows (none too), and theta, the history and what callbacks see
        are the same on all; batch_size counts the examples of all ranks, of which each brings its share, seed and start
        values are those of rank 0, which alone shows progress and writes files. docs/distributed.md
    sync_every : int, optional
        With comm: ranks take so many steps alone before theta and the optimizer's moments are averaged over them.
    mean_weight : float, optional
        With sample_weight a batch divides by its number of examples and by this number, so that an example counts the
        same in every batch. None: the mean weight of the training rows (of all ranks); 1 for chunks.

    Returns
    -------
    History
        J, val_J, val_accuracy and the metrics an epoch.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, before anything has changed (a bad chunk: when it comes, theta as the last step left it).
    DivergenceError
        J or theta is no longer finite; theta is as it was before that epoch (or where it was resumed in it).
    OSError
        The checkpoint cannot be read or written; the old file is as it was.
    RankError
        Another rank has raised one of these, or something else.
    """
    asked = Arguments(
        net, X, Y, optimizer=optimizer, epochs=epochs, batch_size=batch_size, weight_decay=weight_decay, lam=lam,
        penalties={"l1": l1, "clip_value": clip_value, "clip_norm": clip_norm}, dropout=dropout,
        input_dropout=input_dropout, sample_weight=sample_weight, shuffle=shuffle, window=window,
        validation_data=validation_data, validation_split=validation_split, metrics=metrics, callbacks=callbacks,
        seed=seed, progress=progress, n_threads=n_threads, checkpoint=checkpoint, checkpoint_every=checkpoint_every,
        resume=resume, sync_every=sync_every, mean_weight=mean_weight,
    )
    start = Start(asked) if comm is None else RankStart(asked, comm)
    return start.run()
