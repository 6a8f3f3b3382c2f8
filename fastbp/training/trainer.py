"""A training step by step: the public shell over `Steps`, of this process or of several ranks."""

from copy import deepcopy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .._types import Comm, Count, Number, Path, PerLayer, Rule, RuleName, Seed
from ..distributed.group import Group
from ..engine.regularisation import Regularisation
from ..network import Network
from . import states, trainer_file
from .ranks.steps import RankSteps
from .steps import Steps


def _setting(name: str) -> Any:
    """A setting of the trainer's Regularisation, which may be changed between steps."""
    def get(self: "Trainer") -> Any:
        value = getattr(self.regularisation, name)
        return value[0] if name == "c" and len(set(value)) == 1 else None if value == np.inf else value

    def set_(self: "Trainer", value: Any) -> None:
        self.steps.regularisation = self.regularisation.with_(**{name: value})

    return property(get, set_)


class Trainer:
    """One training under way, step by step: for online learning, control loops, and loops of your own.

    Parameters
    ----------
    net : Network
        Its theta is changed in place by every step.
    optimizer : Optimizer, or a name
    weight_decay, l1, clip_value, clip_norm
        As for `train`; the same for every batch, whatever its size.
    batch_lam : float
        In a batch of m_b examples (or weights of that sum) every c is larger by batch_lam / m_b: alpha of scikit-learn.
    dropout, input_dropout
        As for `train`; of steps and epochs alike.
    seed : int, numpy Generator or None
        Of what is dropped; None draws fresh entropy.
    n_threads : int, optional
        At most this many threads in `epoch`; None decides by what was measured to help.
    comm : communicator, or fastbp.distributed.Group, optional
        Of mpi4py: each rank makes a trainer, and calls `step` and `epoch` with rows of its own, none (``X[:0]``) too;
        theta begins as rank 0's and stays the same on all. docs/distributed.md
    sync_every : int, optional
        Each rank takes so many steps on its own rows alone before theta and the optimizer's moments are averaged over
        the ranks, by the weight of the examples each has seen; a call of `step` or `epoch` ends with that.

    Attributes
    ----------
    state : dict
        The optimizer's: the step count t, and arrays like theta; with dropout also dropout_seed and dropout_t, the step
        count of the masks. To go back to another, assign the whole.
    dropout : tuple of float
        The rates of a(1) .. a(L-1), the inputs' first; empty without dropout.
    weight_decay, l1, batch_lam, clip_value, clip_norm
        May be changed between steps, as the optimizer's settings may.
    optimizer : Optimizer
        Another one may take its place between steps. It starts with a state of its own.

    Notes
    -----
    A step on a few rows takes a microsecond or two where X and Y are arrays, of whatever dtype; lists are converted
    first. One trainer is for one thread at a time. Its pickles and copies have a network, optimizer and state of their
    own, and go on to the same bits; what is pickled or copied together with them (the network, in a tuple or dict)
    stays one. Attributes of your own they have not.

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> net = fastbp.Network([2, 8, 1], activation="tanh", seed=1)
    >>> trainer = fastbp.Trainer(net, fastbp.Adam(0.05))
    >>> X, Y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0.0, 1, 1, 0])
    >>> J = [trainer.step(X, Y) for _ in range(500)]
    >>> J[-1] < 0.01 < J[0]
    True
    """

    def __init__(
        self, net: Network, optimizer: Rule | RuleName = "adam", *, weight_decay: PerLayer = 0.0, l1: Number = 0.0,
        batch_lam: Number = 0.0, clip_value: Number | None = None, clip_norm: Number | None = None,
        dropout: PerLayer = 0.0, input_dropout: Number = 0.0, seed: Seed = None, n_threads: Count | None = None,
        comm: Comm | Group | None = None, sync_every: Count | None = None,
    ) -> None:
        def steps(n_threads: Count | None) -> Steps:
            return Steps(
                net, optimizer, weight_decay=weight_decay, l1=l1, batch_lam=batch_lam, clip_value=clip_value,
                clip_norm=clip_norm, dropout=dropout, input_dropout=input_dropout, seed=seed, n_threads=n_threads,
            )

        self.driver: Steps | RankSteps      # who takes the steps: this process alone, or all ranks
        if comm is None:
            self.driver = self.steps = steps(n_threads)
            if sync_every is not None:
                raise ValueError("sync_every is for several ranks; give comm too")
        else:
            self.driver = RankSteps(comm, steps, n_threads, sync_every)
            self.steps = self.driver.own

    weight_decay, l1, batch_lam = _setting("c"), _setting("l1"), _setting("batch_lam")
    clip_value, clip_norm = _setting("clip_value"), _setting("clip_norm")

    @property
    def net(self) -> Network:
        return self.steps.net

    @property
    def optimizer(self) -> Any:
        return self.steps.optimizer

    @optimizer.setter
    def optimizer(self, value: Rule | RuleName) -> None:
        if self.driver is not self.steps:
            raise ValueError("the optimizer of several ranks cannot be replaced; make a new Trainer on all of them")
        self.steps.optimizer = value

    @property
    def n_threads(self) -> int | None:
        return self.steps.n_threads

    @property
    def dropout(self) -> tuple[float, ...]:
        return self.steps.dropout

    @property
    def compiled(self) -> bool:
        """Has the optimizer a compiled twin?"""
        return self.steps.compiled is not None

    @property
    def conditions(self) -> dict[str, Any]:
        """What a training of several ranks must have in common with the one it resumes; empty for one process."""
        return self.driver.conditions

    @property
    def regularisation(self) -> Regularisation:
        return self.steps.regularisation

    @property
    def state(self) -> Any:
        return self.steps.state

    @state.setter
    def state(self, value: Any) -> None:
        self.steps.state = value

    def step(self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """One step along D of these examples; returns their J before it, penalty included.

        X, Y, sample_weight as for `Network.cost_and_gradient`. A theta that is no longer finite is a ValueError.
        """
        if sample_weight is None:
            J = self.driver.quick(X, Y)
            if J is not None:
                return J
        return self.driver.epoch(X, Y, None, None, sample_weight)

    def epoch(
        self, X: ArrayLike, Y: ArrayLike, *, batch_size: Count | None = 32, order: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """One pass over the examples in batches; returns the mean of the batches' J, weighted by their examples.

        Parameters
        ----------
        X, Y, sample_weight
            As for `Network.cost_and_gradient`.
        batch_size : int or None
            None: all in one step.
        order : array of int, optional
            Indices of the examples in the order they are taken, each any number of times; None: as they lie.

        Notes
        -----
        With a communicator each rank passes its rows, and an order of them; batch_size counts the examples of all
        ranks, of which each brings its share. A rank that has no more lets the others go on.
        """
        return self.driver.epoch(X, Y, batch_size, order, sample_weight)

    def save(self, path: Path, notes: dict[str, Any] | None = None) -> None:
        """Write all that the next step goes on from into a file, which replaces `path` as a whole; of several ranks the
        first writes it.

        Parameters
        ----------
        path : str, bytes or os.PathLike
        notes : dict, optional
            What a loop of your own has to know beside it: None, numbers, strings, arrays, and lists, tuples and dicts
            of these.

        Raises
        ------
        ValueError, TypeError
            Something cannot be kept, or theta is not finite; nothing has been written.
        OSError
            As the system reports it; an old file is as it was.
        """
        self.driver.once(lambda: trainer_file.save(path, self.steps, notes))

    def restore(self, path: Path) -> dict[str, Any]:
        """Go on from the file of a trainer with such a network, optimizer and dropout; returns the notes. Of several
        ranks the first reads it.

        theta, the state, weight_decay, l1, batch_lam, clip_value, clip_norm and the optimizer's numbers become those of
        the file.

        Raises
        ------
        ValueError
            It is of another network, optimizer (class, or a setting that is no number) or dropout; FormatError: it is
            damaged, or no trainer's. Nothing has changed.
        OSError
            It cannot be opened or read.
        """
        return self.driver.resume(lambda: trainer_file.read(path, self.steps)).notes or {}

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy keep: all that the next step goes on from."""
        if self.driver is not self.steps:
            raise TypeError("a Trainer of several ranks cannot be pickled or copied, its communicator belongs to this "
                            "process; save and restore keep what it goes on from")
        return trainer_file.state(self.steps)

    def __copy__(self) -> Self:
        return deepcopy(self)

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Become the trainer of a state, which is checked as arguments are, before anything has changed.

        It is kept, not copied: a network that is pickled beside its trainer is still the trainer's.
        """
        arguments, settings, state = trainer_file.own(kept)
        optimizer = arguments["optimizer"]
        twin = Trainer(**{**arguments, "optimizer": deepcopy(optimizer)})   # init may write into one in Python
        if not isinstance(optimizer, str):
            twin.steps.put_optimizer(optimizer)
        twin.steps.regularisation = states.regularisation_for(twin.steps, settings)
        twin.state = states.state_for(twin.steps, state)
        self.__dict__ = vars(twin)
