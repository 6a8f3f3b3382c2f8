"""The steps of a training: what is decided once per batch or epoch."""

from copy import deepcopy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .. import _epoch, _kernels, optimizers
from .._types import Comm, Count, Number, Path, PerLayer, Rule, RuleName, Seed
from ..distributed import group as distributed
from ..distributed.group import Group
from ..engine import checks, sums, threads
from ..engine.regularisation import Regularisation
from ..network import Network
from . import states, trainer_file
from .ranks import Ranks
from .rule import check_state, compiled_rule, start

LARGE = 8  # blocks of a batch from which it is summed shard by shard
APART = 0x9E3779B97F4A7C15  # between the seeds of two parts' masks
ONLINE = 2**23  # parameters up to which the sweeps over one example are used
NO_RATES = np.empty(0)
NOT_EACH = np.empty((0, 2))


def _setting(name):
    """A setting of the trainer's Regularisation, which may be changed between steps."""
    def get(self):
        value = getattr(self._regularisation, name)
        return value[0] if name == "c" and len(set(value)) == 1 else None if value == np.inf else value

    def set_(self, value):
        self._regularisation, self._stepper = self._regularisation.with_(**{name: value}), None

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

    Notes
    -----
    A step takes a few microseconds where X is a C-contiguous array of the network's dtype and Y one too (or int64
    labels); everything else is converted first. One trainer is for one thread at a time. Its pickles and copies have a
    network, optimizer and state of their own, and go on to the same bits; what is pickled or copied together with them
    (the network, in a tuple or dict) stays one. Attributes of your own they have not.

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
        self.group = distributed.group(comm)
        with self.group.guard():
            self.group.section(lambda: self._begin(
                net, optimizer, weight_decay, l1, batch_lam, clip_value, clip_norm, dropout, input_dropout, seed,
                n_threads, sync_every))
            self.ranks = Ranks(self) if self.group.together else None

    def _begin(self, net, optimizer, weight_decay, l1, batch_lam, clip_value, clip_norm, dropout, input_dropout, seed,
               n_threads, sync_every):
        self.net = checks.network(net)
        self.optimizer = optimizers.resolve(optimizer, net.dtype)
        self._regularisation = Regularisation.of(
            net.plan, 1, weight_decay=weight_decay, l1=l1, batch_lam=batch_lam, clip_value=clip_value,
            clip_norm=clip_norm,
        )
        self.n_threads = self.group.threads(None if n_threads is None else checks.count(n_threads, "n_threads"))
        self.sync_every = sync_every if sync_every is None else checks.count(sync_every, "sync_every")
        if sync_every is not None and not self.group.together:
            raise ValueError("sync_every is for several ranks; give comm too")
        if sync_every is not None and self.group.own > 1:
            raise ValueError("sync_every and several parts a rank exclude each other: each rank has one theta")
        rates, rng = checks.dropout_rates(dropout, input_dropout, len(net.layer_sizes) - 2), checks.generator(seed)
        self._plan = net.plan.dropping(rates) if rates else net.plan
        self._dropout_seed = int(rng.integers(2**63)) if rates else 0
        self._theta = checks.parameters(net.theta, net.plan, net.dtype, "net.theta")
        self._state = start(self.optimizer, self._theta, net.plan)
        self._Delta = np.empty_like(self._theta)
        self._rule = compiled_rule(self.optimizer)
        self._crew = threads.ALONE
        self._works = (0, [])       # batch size, a workspace for each member: kept from epoch to epoch
        self._taken = np.zeros(1, np.int64)     # steps so far, counted in compiled code where the rule is compiled
        # Alone, and a step takes too short a time to give up the GIL
        self._quick = not self.group.together and net.n_parameters <= sums.SMALL
        self._stepper = self._settings = self._made_for = None      # made for the settings it was made with
        self._set_masks()

    weight_decay, l1, batch_lam = _setting("c"), _setting("l1"), _setting("batch_lam")
    clip_value, clip_norm = _setting("clip_value"), _setting("clip_norm")

    @property
    def dropout(self) -> tuple[float, ...]:
        return self._plan.dropout

    @property
    def compiled(self) -> bool:
        """Has the optimizer a compiled twin?"""
        return self._rule is not None

    @property
    def regularisation(self) -> Regularisation:
        return self._regularisation

    @property
    def state(self):
        if self._rule:
            self._state["t"] = int(self._taken[0])
        if self.dropout:
            self._state |= {"dropout_seed": self._dropout_seed, "dropout_t": int(self._taken[0])}
        return self._state

    @state.setter
    def state(self, value):
        if self._rule:
            check_state(self.optimizer, value, self._theta, ("dropout_seed", "dropout_t") if self.dropout else ())
            if "bias" in self._state:       # the network's, whatever the training
                value = {**value, "bias": self._state["bias"]}
        seed, t = checks.masks(value) if self.dropout else (0, 0)
        self._taken[0] = value["t"] if self._rule else t
        self._state, self._stepper, self._dropout_seed = value, None, seed
        self._set_masks()

    def _set_masks(self, first=0, i=0):
        """What the next step drops of this rank's part i, its batch beginning at example `first`."""
        if self.dropout:
            seed = (self._dropout_seed + self.group.first(i) * APART) % 2**63     # no two parts drop alike
            self._plan.set_masks(seed, int(self._taken[0]), first)

    def step(self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """One step along D of these examples; returns their J before it, penalty included.

        X, Y, sample_weight as for `Network.cost_and_gradient`. A theta that is no longer finite is a ValueError.
        """
        if self._rule and self._quick and sample_weight is None and type(X) is np.ndarray and type(Y) is np.ndarray:
            settings = self.optimizer.settings()
            if self._stepper is None or settings != self._settings:
                self._prepare_step(settings)
            J = self._stepper.step(X, Y)
            if J is not None:
                return J
        return self.epoch(X, Y, sample_weight=sample_weight, batch_size=None)

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
        if self.group.together:
            with self.group.guard():
                return self.ranks.epoch(X, Y, batch_size, order, sample_weight)
        batch_size = None if batch_size is None else checks.count(batch_size, "batch_size")
        data = self.net.data(X, Y, sample_weight)
        checks.parameters(self._theta, self.net.plan, self.net.dtype, "net.theta")
        if order is not None:
            order = checks.order_of_examples(order, data.m)
        m = data.m if order is None else len(order)
        rows = m if batch_size is None else min(batch_size, m)
        with threads.crew(self.n_threads, sums.operations(self.net.plan, rows), m / rows) as self._crew:
            return self._epoch(data, batch_size, order)

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
        with self.group.guard():
            self.group.section(lambda: trainer_file.save(path, self, notes) if self.group.rank == 0 else None)

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
        with self.group.guard():
            kept = self.group.section(lambda: trainer_file.read(path, self) if self.group.rank == 0 else None)
            kept, = self.group.first_of(kept)
            self.group.section(lambda: self._go_on(kept))
        return kept.notes

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and copy keep: all that the next step goes on from."""
        return trainer_file.state(self)

    def __copy__(self) -> Self:
        return deepcopy(self)

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Become the trainer of a state, which is checked as arguments are, before anything has changed.

        It is kept, not copied: a network that is pickled beside its trainer is still the trainer's.
        """
        arguments, settings, state = trainer_file.own(kept)
        optimizer = arguments["optimizer"]
        twin = Trainer(**{**arguments, "optimizer": deepcopy(optimizer)})   # init may write into one in Python
        twin.optimizer = twin.optimizer if isinstance(optimizer, str) else optimizer
        twin._regularisation = states.regularisation_for(twin, settings)
        twin.state = states.state_for(twin, state)
        self.__dict__ = vars(twin)

    def _go_on(self, kept):
        """From what a file held, a `states.Fit`: all, or nothing where Ctrl-C or a lack of memory comes between."""
        numbers = {name: getattr(self.optimizer, name) for name in kept.numbers}
        before = numbers, self._regularisation, self.state, self._theta.copy()
        try:
            self._become(kept.numbers, kept.regularisation, kept.state, kept.theta)
        except BaseException:
            self._become(*before)
            raise

    def _become(self, numbers, regularisation, state, theta):
        for name, value in numbers.items():
            setattr(self.optimizer, name, value)
        self._regularisation, self.state = regularisation, state
        self._theta[:] = theta

    def _prepare_step(self, settings):
        """A stepper for these settings; before every step where the learning rate is a function."""
        plan = self._plan
        if self._stepper is None or settings != self._made_for:
            work = sums.Workspace(plan, 64, self._theta.dtype)
            self._stepper = _epoch.Stepper(
                plan.code, self._theta, self._Delta, work.block, work.rows, work.costs, self._compiled_rule(1.0),
                plan.lowest, plan.highest, (plan.output, plan.loss) == ("softmax", "cross_entropy"),
            )
        self._made_for = self._settings = settings
        if callable(settings[0]):
            self._settings, self._stepper.rate = None, self._rates(1)[0]

    def _workspaces(self, batch_size, n):
        size, works = self._works
        if size != batch_size or len(works) < n:
            works = [sums.Workspace(self._plan, batch_size, self._theta.dtype) for _ in range(n)]
            self._works = (batch_size, works)
        return works

    def _epoch(self, data, batch_size=None, order=None, rates=None, each=NOT_EACH):
        """The epoch's mean J. rates: learning rates of its steps, at most one a batch; None asks the optimizer.

        each (batches, 2), zeros: receives the mean cost and the penalty of each batch; none where weights sum to 0.
        """
        m = data.m if order is None else len(order)
        total, weight = self._steps(data, max(m, 2) if batch_size is None else batch_size, order, rates, each=each)
        return total / weight

    def _steps(self, data, batch_size, order=None, rates=None, sums=(0.0, 0.0), each=NOT_EACH):
        """The steps of an epoch or, cut between batches, of a piece of one, the same bits in pieces of any length.

        Returns the sums over the pieces so far, begun with `sums`: of m_b J of the batches, of m_b, in units of scale.
        """
        m = data.m if order is None else len(order)
        whole, batch_size = batch_size, min(batch_size, m)      # a short piece goes the way of the whole
        batches = -(-m // batch_size)
        rates = self._rates(batches) if rates is None else checks.given_rates(rates, batches, self._rule)
        if self._rule is None:
            steps = self._python_steps
        elif whole == 1 and self._online and not len(each):
            steps = self._online_steps
        elif whole > LARGE * sums.rows(self._plan, whole, self._theta.dtype):
            steps = self._large_steps
        else:
            steps = self._compiled_steps
        return steps(data.examples(order), m, batch_size, rates, data.scale, each, *sums)

    @property
    def _online(self):
        """Have the fused sweeps this rule? They copy theta once a call: not for the largest."""
        return (self._rule == "sgd" and not self.optimizer.slots and self._regularisation.decay_alone
                and not self.dropout and self.net.n_parameters <= ONLINE)

    def _rates(self, n):
        """The learning rates of the next n steps; empty where it is the same for all, or Python's to ask for."""
        rate = self.optimizer.settings()[0] if self._rule else None
        return checks.rates(rate, int(self._taken[0]), n) if callable(rate) else NO_RATES

    def _compiled_rule(self, scale):
        """What compiled steps are told of the optimizer and of what is done to D, weights being in units of scale."""
        first, *others = self.optimizer.settings()
        if missing := [slot for slot in self.optimizer.slots if slot not in self._state]:
            raise ValueError(f"{self.optimizer!r} needs {', '.join(missing)} in the state, which this training has "
                             "begun without; begin with a momentum above 0, or put a state with it back")
        return _epoch.Rule(
            self.net.plan.code, _kernels.rules[self._rule],
            np.array([0.0 if callable(first) else first, *others], np.float64), self._regularisation.code(scale),
            [self._state[slot] for slot in self.optimizer.slots], self._state.get("scalars", NO_RATES), self._taken,
            np.zeros(2 * _epoch.groups(self.net.plan.code)),
        )

    def _compiled_steps(self, examples, m, batch_size, rates, scale, each, total, weight):
        """All steps in compiled code; the calling thread is back in Python at least every 20 ms."""
        plan, theta, rule, before = self._plan, self._theta, self._compiled_rule(scale), int(self._taken[0])
        work = self._workspaces(batch_size, 1)[0]
        batch, batches = 0, -(-m // batch_size)
        while batch < batches:
            total, weight, batch, _ = self._crew.in_step(
                lambda budget, team, member, at=batch, rates=rates[self._taken[0] - before :], sums=(total, weight): (
                    _epoch.steps(plan.code, theta, examples, m, batch_size, at, batches, rule, rates, self._Delta,
                                 work.block, work.rows, work.costs, each, *sums, budget, team, member)
                )
            )
        return total, weight

    def _online_steps(self, examples, m, _, rates, scale, each, total, weight):
        """Plain SGD, one example a step: the fused sweeps."""
        plan, rule, before = self.net.plan, self._compiled_rule(scale), int(self._taken[0])
        work = sums.Workspace(plan, 1, self._theta.dtype)
        work.block[:] = 0
        packed = sums.aligned(_epoch.packed_size(plan.code, self._theta), self._theta.dtype)
        stride = max(1, int(1e6 / sums.operations(plan, 1)))
        done = 0
        while done < m:
            total, weight, done = _epoch.online_steps(
                plan.code, self._theta, examples, done, m, rule, rates[self._taken[0] - before :], work.block,
                work.rows, packed, total, weight, threads.SLICE, stride,
            )
        return total, weight

    def _large_steps(self, examples, m, batch_size, rates, scale, each, *sums):
        """Batches of many blocks: Delta shard by shard, then the compiled step."""
        plan, rule, before = self.net.plan, self._compiled_rule(scale), int(self._taken[0])

        def learn(m_b):
            rate = rates[self._taken[0] - before :]
            return _epoch.step(plan.code, self._theta, m_b, rule, rate, self._Delta)

        return self._accumulated_steps(examples, m, batch_size, learn, each, *sums)

    def _python_steps(self, examples, m, batch_size, _, scale, each, *sums):
        """The update rule in Python, one crossing a batch."""
        return self._accumulated_steps(examples, m, batch_size, lambda m_b: self._learn(m_b, scale), each, *sums)

    def _learn(self, m_b, scale=1.0):
        """A step of an update rule in Python along D of the summed Delta; the penalty before it"""
        plan, theta, regularisation = self.net.plan, self._theta, self._regularisation
        penalty = regularisation.penalty(plan, theta, m_b * scale)
        D = regularisation.regularise(plan, theta, self._Delta, m_b, scale)
        self.optimizer.update(theta, D, self._state)
        self._taken[0] += 1
        return penalty

    def _accumulated_steps(self, examples, m, batch_size, learn, each, total, weight):
        """Delta of each batch, then learn(m_b): a step along D that returns the penalty before it."""
        plan, theta, Delta = self._plan, self._theta, self._Delta
        work = self._workspaces(batch_size, self._crew.n)
        for first in range(0, m, batch_size):
            last = min(first + batch_size, m)
            m_b = examples.weight(first, last)
            if m_b == 0:    # nothing to learn from: no step
                continue
            Delta[:] = 0
            self._set_masks(first)
            cost = sums.accumulate_range(plan, theta, examples, first, last, work, Delta, self._crew)
            penalty = learn(m_b)
            if len(each):
                each[first // batch_size] = cost / m_b, penalty
            total += cost + m_b * penalty
            weight += m_b
        return total, weight
