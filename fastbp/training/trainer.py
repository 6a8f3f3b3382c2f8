"""Training step by step: the public shell over `Steps`, for this process or several ranks."""

from copy import deepcopy
from typing import Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._types import Comm, Count, Factors, Floats, Free, Number, Path, PerLayer, Rule, RuleName, Seed
from ..distributed.group import Group
from ..engine import factors
from ..engine.regularisation import Regularisation
from ..keywords import explained
from ..network import Network
from . import states, trainer_file
from .outside import Outside
from .ranks.steps import RankSteps
from .steps import Steps


def _setting(name: str) -> Any:
    """A setting of the trainer's Regularisation, which may be changed between steps."""
    def get(self: "Trainer") -> Any:
        value = getattr(self.regularisation, name)
        return value[0] if name == "c" and len(set(value)) == 1 else None if value == np.inf else value

    def set_(self: "Trainer", value: Any) -> None:
        with self.net._turn:
            self.steps.regularisation = self.regularisation.with_(**{name: value})

    return property(get, set_)


class Trainer:
    """Train step by step: for online learning, control loops, and your own training loops.

    Parameters
    ----------
    net : Network
        Its theta is changed in place by every step.
    optimizer : Optimizer, or a name
    weight_decay, l1, clip_value, clip_norm
        As for `train`; the same for every batch, whatever its size.
    batch_lam : float
        Adds batch_lam / m_b to every c in a batch of m_b examples (or weights of that sum): scikit-learn's alpha.
    dropout, input_dropout
        As for `train`, in steps and in epochs.
    seed : int, numpy Generator or None
        Seed for dropout; None draws fresh entropy.
    n_threads : int, optional
        At most this many threads in `epoch`; None chooses automatically.
    comm : communicator, or fastbp.distributed.Group, optional
        A communicator of mpi4py: each rank makes a trainer, and calls `step` and `epoch` with its own rows, possibly
        none (``X[:0]``). theta starts as that of rank 0 and stays the same on all. See docs/distributed.md.
    mean_weight : float, optional
        D of a step is the sum of w delta [1, a]', divided by the number of its examples and by mean_weight; 1 suits
        importance weights. So an example counts the same in every step. None divides by the step's own weights. J is
        the mean by weight in both cases.
    sync_every : int, optional
        Each rank takes this many steps on its own rows. Then theta and the optimizer's moments are averaged over the
        ranks, weighted by the examples each has seen. Every call of `step` or `epoch` ends with an average.
    free : (n_parameters,) bool, or list of int, optional
        The parameters that are trained: a mask like theta, or the numbers l of Theta(l), 1 .. L-1. All others keep
        their bits, even with momentum and decay. None trains all.
    learning_rate_factors, input_scale : optional
        As for `train`. The state has s as `input_scale`, and W, shaped like Theta(1) and flat, as `input_weights`.

    Attributes
    ----------
    state : dict
        State of the optimizer: the step count t, and arrays like theta. With dropout also dropout_seed and dropout_t,
        the step count of the masks. To return to an earlier state, assign the whole dict.
    dropout : tuple of float
        The rates of a(1) .. a(L-1), that of the inputs first; empty without dropout.
    mean_weight : float or None
        The argument.
    weight_decay, l1, batch_lam, clip_value, clip_norm
        You may change these between steps, and also the optimizer's settings.
    optimizer : Optimizer
        You may replace it between steps. A new optimizer starts with a new state.

    See Also
    --------
    train : Runs the whole loop in one call.

    Notes
    -----
    A step on a few rows takes a microsecond or two if X and Y are arrays, of any dtype. Lists are converted first.
    Use a trainer in one thread at a time. Pickles and copies have their own network, optimizer and state, and resume to
    the same bits. A network that is pickled or copied together with its trainer (in a tuple or dict) stays the
    trainer's. Attributes you added are not copied.

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

    @explained
    def __init__(
        self, net: Network, optimizer: Rule | RuleName = "adam", *, weight_decay: PerLayer = 0.0, l1: Number = 0.0,
        batch_lam: Number = 0.0, clip_value: Number | None = None, clip_norm: Number | None = None,
        dropout: PerLayer = 0.0, input_dropout: Number = 0.0, seed: Seed = None, n_threads: Count | None = None,
        comm: Comm | Group | None = None, sync_every: Count | None = None, mean_weight: Number | None = None,
        free: Free | None = None, learning_rate_factors: Factors | None = None, input_scale: Number | None = None,
    ) -> None:
        def steps(n_threads: Count | None) -> Steps:
            return Steps(
                net, optimizer, weight_decay=weight_decay, l1=l1, batch_lam=batch_lam, clip_value=clip_value,
                clip_norm=clip_norm, dropout=dropout, input_dropout=input_dropout, seed=seed, n_threads=n_threads,
                mean_weight=mean_weight, free=free, learning_rate_factors=learning_rate_factors,
                input_scale=input_scale,
            )

        self.driver: Steps | RankSteps      # who takes the steps: this process alone, or all ranks
        if comm is None:
            self.driver = self.steps = steps(n_threads)
            if sync_every is not None:
                raise ValueError("sync_every is for several ranks; give comm too")
        else:
            self.driver = RankSteps(comm, steps, n_threads, sync_every)
            self.steps = self.driver.own
        self._outside: Outside | None = None

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
        with self.net._turn:
            self.steps.optimizer = value

    @property
    def mean_weight(self) -> float | None:
        return self.steps.mean_weight

    @property
    def free(self) -> NDArray[np.bool_] | None:
        """The parameters that are trained, a copy; None: all."""
        return None if self.steps.free is None else self.steps.free.copy()

    @property
    def learning_rate_factors(self) -> list[list[float]] | None:
        """[weights, biases] of each Theta, a copy; None: all are 1."""
        return factors.told(self.steps.factors)

    @property
    def input_scale(self) -> float | None:
        """The factor of the learning rate of s, as passed."""
        return None if self.steps.diagonal is None else self.steps.diagonal.factor

    @property
    def n_threads(self) -> int | None:
        return self.steps.n_threads

    @property
    def dropout(self) -> tuple[float, ...]:
        return self.steps.dropout

    @property
    def compiled(self) -> bool:
        """Does the optimizer have a compiled twin?"""
        return self.steps.compiled is not None

    @property
    def conditions(self) -> dict[str, Any]:
        """Everything that several ranks must have in common with the run they resume; empty for one process."""
        return self.driver.conditions

    @property
    def regularisation(self) -> Regularisation:
        return self.steps.regularisation

    @property
    def state(self) -> Any:
        with self.net._turn:    # it brings the counts of the dict up to date
            return self.steps.state

    @state.setter
    def state(self, value: Any) -> None:
        with self.net._turn:
            self.steps.state = value

    @overload
    def step(self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None) -> float: ...

    @overload
    def step(self, X: ArrayLike, *, gradient: ArrayLike) -> None: ...

    def step(
        self, X: ArrayLike, Y: ArrayLike | None = None, sample_weight: ArrayLike | None = None, *,
        gradient: ArrayLike | None = None,
    ) -> float | None:
        """Take one step along D of these examples; returns their J before the step, penalty included.

        Parameters
        ----------
        X, Y, sample_weight
            As for `Network.cost_and_gradient`.
        gradient : (m, K), optional
            Instead of Y and weights: G = dJ/dz(L) of any J, its 1/m included. z(L) is what `forward` returns. The step
            uses the last forward pass if X is the same object and theta has not changed since; otherwise it runs a new
            one. It returns None, since J is unknown.

        Raises
        ------
        ValueError, TypeError
            The message names the argument, and nothing has changed. This includes a theta that is no longer finite and,
            with dropout, a gradient that belongs to no forward pass.
        """
        if gradient is not None:
            if Y is not None or sample_weight is not None:
                raise ValueError("gradient replaces Y and sample_weight; give one or the other")
            (self._outside or self._along()).step(X, gradient)
            return None
        if sample_weight is None:
            stepper = self.driver.prepared()
            if stepper is not None and (
                (J := stepper.step(X, Y)) is not None or (J := self.steps.quick_own(X, Y, stepper)) is not None
            ):
                return J
        if Y is None:
            raise TypeError("step needs Y, or gradient=")
        return self.driver.epoch(X, Y, None, None, sample_weight)

    def forward(self, X: ArrayLike) -> Floats:
        """z(L) of each example with the dropout masks of the next step, for ``step(X, gradient=G)``.

        X is (m, s_1), or (s_1,) for one example; z(L) is (m, K), or (K,). `Network.forward` drops nothing.
        """
        return (self._outside or self._along()).forward(X)

    def apply(self, D: ArrayLike) -> None:
        """Take one step of the optimizer along D (n_parameters,), which you may have accumulated, clipped or averaged.

        The step adds penalties and clips like any other step. D is flat like theta, as `Network.backward` returns it.
        """
        (self._outside or self._along()).apply(D)

    def _along(self) -> Outside:
        """The object that takes steps along gradients from outside."""
        if self._outside is None:
            if self.driver is not self.steps:
                raise ValueError("a Trainer with comm has no forward, apply and step(gradient=); sum D over the "
                                 "ranks, and apply it on each rank in a Trainer without comm")
            self._outside = Outside(self.steps)
        return self._outside

    def epoch(
        self, X: ArrayLike, Y: ArrayLike, *, batch_size: Count | None = 32, order: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Take one pass over the examples in batches; returns the mean of the batches' J, weighted by their examples.

        Parameters
        ----------
        X, Y, sample_weight
            As for `Network.cost_and_gradient`.
        batch_size : int or None
            Examples per step; None takes all in one step.
        order : array of int, optional
            Indices of the examples in the order in which they are used. An index may occur any number of times. None
            keeps the order of the rows.

        Notes
        -----
        With a communicator each rank passes its own rows, and an order of them. batch_size counts the examples of all
        ranks. When a rank has no more examples, the others continue.
        """
        return self.driver.epoch(X, Y, batch_size, order, sample_weight)

    def save(self, path: Path, notes: dict[str, Any] | None = None) -> None:
        """Write everything needed to resume atomically to a file. Of several ranks the first one writes it.

        Parameters
        ----------
        path : str, bytes or os.PathLike
        notes : dict, optional
            Values for your own loop: None, numbers, strings, arrays, and lists, tuples and dicts of these.

        Raises
        ------
        ValueError, TypeError
            A value cannot be kept, or theta is not finite. Nothing has been written.
        OSError
            The file cannot be written; an old file is unchanged.
        """
        self.driver.once(lambda: trainer_file.save(path, self.steps, notes))

    def restore(self, path: Path) -> dict[str, Any]:
        """Resume from a file that `save` wrote; returns the notes. Of several ranks the first one reads the file.

        theta, the state, weight_decay, l1, batch_lam, clip_value, clip_norm, mean_weight and the optimizer's numbers
        become those of the file.

        Raises
        ------
        ValueError
            The file was made with another network, optimizer (its class, or a setting that is not a number) or dropout;
            a FormatError if it is damaged, or not a trainer's file. Nothing has changed.
        OSError
            The file cannot be opened or read.
        """
        return self.driver.resume(lambda: trainer_file.read(path, self.steps)).notes or {}

    def __repr__(self) -> str:
        usual: dict[str, Any] = {"weight_decay": 0.0, "l1": 0.0, "batch_lam": 0.0, "clip_value": None,
                                 "clip_norm": None, "dropout": ()}
        given = {name: getattr(self, name) for name in usual if getattr(self, name) != usual[name]}
        settings = "".join(f", {name}={value!r}" for name, value in given.items())
        kept = self.steps.kept
        t = int(self.steps.taken[0]) if self.compiled else kept.get("t") if isinstance(kept, dict) else None
        steps = "" if t is None else f" after {t} steps"
        return f"<Trainer({self.net!r}, {self.optimizer!r}{settings}){steps}>"

    def __getstate__(self) -> dict[str, Any]:
        """Everything needed to resume, for pickle and copy."""
        if self.driver is not self.steps:
            raise TypeError("a Trainer of several ranks cannot be pickled or copied, since its communicator belongs to "
                            "this process; use save and restore")
        return trainer_file.state(self.steps)

    def __copy__(self) -> Self:
        return deepcopy(self)

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Become the trainer of a state. The state is checked as arguments are, before anything has changed.

        The state is kept, not copied: a network that is pickled together with its trainer stays the trainer's.
        """
        arguments, settings, state = trainer_file.own(kept)
        optimizer = arguments["optimizer"]
        twin = Trainer(**{**arguments, "optimizer": deepcopy(optimizer)})   # a Python rule's init may write into it
        if not isinstance(optimizer, str):
            twin.steps.put_optimizer(optimizer)
        twin.steps.regularisation = states.regularisation_for(twin.steps, settings)
        twin.state = states.state_for(twin.steps, state)
        self.__dict__ = vars(twin)
