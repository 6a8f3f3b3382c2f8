"""`train_many`: its arguments, one job for each network, and the workers that train them."""

from collections import Counter
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .._types import Comm, Count, Factors, Flag, Free, Number, Path, PerLayer, Rule, RuleName, Seed
from ..distributed.group import Group
from ..engine import checks, explain, threads
from ..history import History
from ..keywords import explained
from ..network import Network
from . import spread
from .job import Job
from .keeper import Every, Keeper, keeper
from .progress import shown
from .quick import Memo, Quick, estimate, quick
from .ranks import on_ranks
from .shared import Shared, checked_rows
from .workers import Workers

Many = list[Any]    # one value for each network


@explained
def train_many(
    nets: Sequence[Network], X: ArrayLike, Y: ArrayLike, *, rows: ArrayLike | Many | None = None,
    validation_rows: ArrayLike | Many | None = None, on_error: Literal["raise", "keep"] = "raise",
    n_threads: Count | None = None, progress: Flag = False, checkpoint: Path | None = None,
    checkpoint_every: Every = (60, "seconds"), resume: Flag | None = None, comm: Comm | Group | None = None,
    optimizer: Rule | RuleName | Many = "adam", epochs: Count | Many, batch_size: Count | Many | None = 32,
    weight_decay: PerLayer | Many = 0.0, lam: Number | Many | None = None, l1: Number | Many = 0.0,
    clip_value: Number | Many | None = None, clip_norm: Number | Many | None = None, dropout: PerLayer | Many = 0.0,
    input_dropout: Number | Many = 0.0, sample_weight: ArrayLike | Many | None = None, shuffle: Flag | Many = True,
    metrics: Sequence[str | Callable[..., Any]] | Many = (), callbacks: Sequence[object] | Many = (),
    seed: Seed | Many = None, mean_weight: Number | Many | None = None, free: Free | Many | None = None,
    learning_rate_factors: Factors | Many | None = None, input_scale: Number | Many | None = None,
) -> list[History]:
    """Train many networks, each as `train` would, with the same bits: on shared examples, side by side in threads.

    Each setting of `train` is one value for all networks, or a list of one value for each. A sequence that is meant for
    every network is a tuple: weight_decay per Theta, dropout per layer, layer numbers of `free`, learning_rate_factors
    per Theta.

    Parameters
    ----------
    nets : list of Network
        They may differ in everything: layers, functions, losses, dtype. Their theta are changed in place.
    X, Y
        The examples of all networks, as for `train`. They are checked once, and not copied for each network.
    rows : (any,) int, or a list of such arrays, optional
        The examples that a network is trained on: indices, in any order and number (bootstrap), or a mask of all. The
        result has the same bits as ``train(net, X[rows], Y[rows], ...)``. One array serves all networks; None takes
        all examples.
    validation_rows : the same, optional
        The examples that a network is evaluated on after each epoch: history.val_J and val_accuracy.
    on_error : "raise" or "keep"
        "raise": the first exception ends the whole call. "keep": the other networks are trained, and `history.error`
        is the exception of a network that failed.
    n_threads : int, optional
        At most this many networks are trained side by side; None uses all processors. The result is bit-identical for
        any number.
    progress : bool
        Show the number of finished networks.
    checkpoint : str, bytes or os.PathLike, optional
        The finished networks and their histories are written atomically to this file every `checkpoint_every`, at the
        end and after an exception. If a network takes longer than that, its present state is written too. Seeds must
        be whole numbers or None. With `comm`, rank r > 0 writes to the same name with ".rank<r>" appended; these files
        are removed when all networks are finished.
    checkpoint_every : int, or (number, "networks" or "seconds")
        If it is a number of networks, the states of those under way are written every 60 seconds.
    resume : bool, optional
        True resumes from `checkpoint` if the file exists: finished networks become those of the file, all others are
        trained from the states or start values in the file. The bits are those of a call that was never stopped, on
        any number of ranks that see the files. False overwrites the file. None starts a new call, but raises a
        ValueError if the file has a network that is finished or under way.
    comm : communicator, or fastbp.distributed.Group, optional
        Each rank calls `train_many` with the same arguments and trains some of the networks. All ranks get all
        results. Start values and fresh seeds are those of rank 0.
    optimizer, epochs, batch_size, weight_decay, lam, l1, clip_value, clip_norm, dropout, input_dropout, shuffle, seed,
    mean_weight, free, learning_rate_factors, input_scale
        As for `train`.
    sample_weight : (m,), or a list of such arrays, optional
        A weight for each row of X. Validation counts each example once.
    metrics, callbacks : list, or list of lists
        A flat list serves all networks, a list of lists has one for each. Each network gets copies of EarlyStopping
        and ReduceOnPlateau. Other callbacks are called by several threads at once.

    Returns
    -------
    list of History
        One for each network, in the order of nets.

    Raises
    ------
    ValueError, TypeError
        The message names the argument, and the network by its index and repr. No network has changed.
    DivergenceError, and whatever a callback or metric raises
        The message names the network. The other networks keep the result of their last finished step.

    See Also
    --------
    train, Ensemble, many.table

    Notes
    -----
    Ctrl-C takes effect within 100 ms, unless a single step or callback takes longer. Every network then keeps the
    result of its last finished step. A numpy Generator as seed may serve only one network.

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> X, Y = fastbp.datasets.load_digits()
    >>> nets = [fastbp.Network([64, h, 10], activation="relu", output="softmax", seed=h) for h in (5, 10, 20)]
    >>> histories = fastbp.train_many(nets, X / 16, Y, optimizer=[fastbp.Adam(rate) for rate in (0.01, 0.01, 0.003)],
    ...                               epochs=3, seed=0, rows=np.arange(1400), validation_rows=np.arange(1400, 1797))
    >>> [len(history) for history in histories]
    [3, 3, 3]
    """
    flags = checks.flag(progress, "progress"), None if resume is None else checks.flag(resume, "resume")
    if not isinstance(on_error, str) or on_error not in ("raise", "keep"):
        raise ValueError(f'on_error must be "raise" or "keep"; got {on_error!r}')
    given = {
        "rows": rows, "validation_rows": validation_rows, "optimizer": optimizer, "epochs": epochs,
        "batch_size": batch_size, "weight_decay": weight_decay, "lam": lam, "l1": l1, "clip_value": clip_value,
        "clip_norm": clip_norm, "dropout": dropout, "input_dropout": input_dropout, "sample_weight": sample_weight,
        "shuffle": shuffle, "metrics": metrics, "callbacks": callbacks, "seed": seed, "mean_weight": mean_weight,
        "free": free, "learning_rate_factors": learning_rate_factors, "input_scale": input_scale,
    }
    if comm is not None:
        return on_ranks(comm, Run, _networks(nets), X, Y, given, on_error == "keep", n_threads, flags[0], checkpoint,
                        checkpoint_every, flags[1])
    run = Run(_networks(nets), X, Y, given, on_error == "keep", n_threads, flags[0])
    return run.complete(keeper(run, checkpoint, checkpoint_every, flags[1]))


def _networks(nets: Any) -> list[Network]:
    """The networks as a list without repetition."""
    if not isinstance(nets, (list, tuple)):
        raise TypeError(f"nets must be a list of fastbp.Network; got {type(nets).__name__}")
    places: dict[int, int] = {}
    for i, net in enumerate(nets):
        if not isinstance(net, Network):
            raise TypeError(f"nets[{i}] must be a fastbp.Network; got {net!r:.200}")
        if id(net) in places:
            raise ValueError(f"nets[{i}] is nets[{places[id(net)]}]; each network is trained once")
        places[id(net)] = i
    return list(nets)


class Run:
    """A call of `train_many`: one job for each network.

    Parameters
    ----------
    given : dict
        The settings as they were given: one value, or a list of one for each network.
    """

    def __init__(
        self, nets: list[Network], X: ArrayLike, Y: ArrayLike, given: dict[str, Any], keeps: bool,
        n_threads: Count | None, progress: bool,
    ) -> None:
        self.nets, self.keeps, self.progress = nets, keeps, progress
        self.n_threads = threads.cores() if n_threads is None else checks.count(n_threads, "n_threads")
        self.settings = spread.settings(given, len(nets))
        self.fresh = [each["seed"] is None for each in self.settings]
        for each in self.settings:      # a file keeps them
            if each["seed"] is None:
                each["seed"] = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        self._shared = Shared(X, Y)
        self.form = self._shared.form
        self.jobs: list[Job | Quick] = []

    def check(self, keeper: Keeper) -> None:
        """Make the jobs and check all their arguments."""
        _generators_apart([each["seed"] for each in self.settings])
        rows, memo = Known(lambda value, name: checked_rows(value, self._shared.m, name)), Memo(self._shared)
        for i, (net, given) in enumerate(zip(self.nets, self.settings, strict=True)):
            try:
                taken, held = rows.of(given["rows"], "rows"), rows.of(given["validation_rows"], "validation_rows")
                m = self._shared.m if taken is None else len(taken)
                fast = None if _is_long(keeper, net, m, given) else quick(i, net, memo, taken, held, given)
                self.jobs.append(fast or Job(i, net, self._shared, taken, held, given).checked())
            except Exception as error:
                raise named(error, i, net) from error.__cause__
        self._own()

    def _own(self) -> None:
        """Give each network its own copy of everything that training changes."""
        full = [job for job in self.jobs if isinstance(job, Job)]
        times = Counter(id(each) for job in full for each in (job.asked.optimizer, *job.asked.callbacks))
        several = {each for each, n in times.items() if n > 1}
        for job in full:
            job.own(several)

    def complete(self, keeper: Keeper) -> list[History]:
        """Check everything, resume, train the unfinished networks, and return all histories."""
        self.check(keeper)
        keeper.begin(self.jobs)
        waiting = [job for job in self.jobs if job.history is None]
        self.train(waiting, keeper, len(self.jobs))
        self.warn()
        return self.histories()

    def train(self, jobs: list[Job | Quick], keeper: Keeper, total: int) -> None:
        """Train these networks, of `total` in all. Raise the first error unless errors are kept; the checkpoint then
        has the last state."""
        try:
            self._train(jobs, keeper, total)
        finally:
            keeper.end()
        for job in jobs:
            if job.error is not None:
                named(job.error, job.i, job.net)
                if not self.keeps:
                    raise job.error

    def _train(self, jobs: list[Job | Quick], keeper: Keeper, total: int) -> None:
        with shown(total, total - len(jobs), self.progress) as report:
            def ended(job: Job | Quick) -> None:
                keeper.ended(job)
                report.ended(job)

            def tick() -> None:
                keeper.tick()
                report.tick()

            Workers(jobs, self.n_threads, self.keeps, keeper.begun, ended, tick).run()

    def warn(self) -> None:
        """Issue the warnings of all networks."""
        for job in self.jobs:
            for message in job.warnings:
                explain.warn(f"network {job.i}, {job.net!r}: {message}", RuntimeWarning)

    def histories(self) -> list[History]:
        """One for each network."""
        return [job.outcome() for job in self.jobs]


def _is_long(keeper: Keeper, net: Network, m: int, given: dict[str, Any]) -> bool:
    """Is the state kept during this training? If so, it goes through the stages of `train`."""
    epochs, size = given["epochs"], given["batch_size"]
    if not isinstance(epochs, Integral) or not isinstance(size, Integral) or size < 1:
        return False    # not for `quick`
    return keeper.is_long(estimate(net, m, min(int(size), m), int(epochs)))


class Known:
    """Values that were checked before, by the object that was passed."""

    def __init__(self, check: Callable[[Any, str], Any]) -> None:
        self._check, self._known = check, dict[tuple[int, str], Any]()

    def of(self, value: Any, name: str) -> Any:
        key = id(value), name
        if key not in self._known:
            self._known[key] = self._check(value, name)
        return self._known[key]


def _generators_apart(seeds: list[Any]) -> None:
    """Refuse a numpy Generator as seed of two networks: the draws of the second would depend on the first. Two
    Generators with one bit generator count as the same."""
    seen: dict[int, int] = {}
    for i, seed in enumerate(seeds):
        bits = getattr(seed, "_bit_generator" if isinstance(seed, np.random.RandomState) else "bit_generator", seed)
        if isinstance(bits, np.random.BitGenerator):
            if id(bits) in seen:
                raise ValueError(f"seed is one numpy Generator for networks {seen[id(bits)]} and {i}; give whole "
                                 "numbers, or a list of generators")
            seen[id(bits)] = i


def named(error: Exception, i: int, net: Network) -> Exception:
    """The error with the network in front of its message."""
    which = f"network {i}, {net!r}"
    if len(error.args) == 1 and isinstance(error.args[0], str):
        if not error.args[0].startswith(which):
            error.args = (f"{which}: {error.args[0]}",)
    else:
        error.add_note(which)
    return error
