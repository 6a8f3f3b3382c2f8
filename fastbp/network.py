"""The network: its parameters by the textbook's names, and what can be computed from them."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Never, Self, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _kernels, html, keywords, show
from ._types import Comm, Count, Flag, Floats, Loss, Number, PerLayer, Seed
from .derivatives import Derivatives
from .distributed.group import Group, as_group, guard
from .distributed.shard import Shard
from .engine import checks, initialize, memory, objective, sums
from .engine.data import Data
from .engine.plan import SMOOTHING, Plan, pair
from .evaluation import Evaluation, cost_of, evaluation

STATE = {"layer_sizes", "activation", "output", "loss", "loss_parameters", "dtype", "init", "eps", "theta"}


class Network(Derivatives):
    """A feed-forward network, fully connected: layers 1 to L, of s_l units each.

    Parameters
    ----------
    layer_sizes : list of int
        s_1 .. s_L without bias units; [s_1, s_L] has no hidden layer.
    activation : str or list of str
        g of the hidden layers, one name or one a layer: sigmoid, tanh, relu (g'(0) = 0), identity,
        leaky_relu (slope 0.01), elu (alpha 1), softplus, silu, gelu (erf form).
    output : str, optional
        g of the last layer: sigmoid, softmax (K >= 2), identity, tanh or exp. None: the one that belongs to the loss,
        sigmoid for cross_entropy, exp for poisson, identity for the others; sigmoid without a loss.
    loss : str or function, optional
        cross_entropy (with sigmoid or softmax), squared_error (``1/2 |h - y|^2``; any output but exp),
        poisson (with exp); with identity also absolute_error, huber and quantile (the pinball loss). None: the one
        that belongs to the output, cross_entropy for sigmoid and softmax, squared_error for identity and tanh, poisson
        for exp. Or a loss of your own, with any output: a function f(z, Y, w) that returns the costs (m,) and their
        derivatives dcost/dz (m, K), both multiplied by w, or a scipy.LowLevelCallable: docs/your_own_loss.md.
    huber_delta : float, optional
        Of loss="huber": the cost is e^2/2 up to ``|e| = huber_delta`` (usually 1), e = h - y, and linear beyond.
    quantile : float, optional
        Of loss="quantile": the output learns this quantile of y given x, in (0, 1); 0.5 is the median.
    label_smoothing : float
        Of loss="cross_entropy", a in [0, 1): J and D take (1 - a) y + a/K in place of y, K = 2 with sigmoid. So do
        training, `cost`, `cost_and_gradient` and `gradients`; `evaluate`, val_J and metrics take y itself.
    dtype : numpy.float32 or numpy.float64
        Of the parameters and of all arithmetic; costs are summed in float64.
    init : str, or start values
        glorot_uniform, he_normal (biases 0); normal (eps 0.01), uniform (eps 0.12), nguyen_widrow (biases drawn too);
        or theta itself, flat (n_parameters,), or a list of Theta, one (s_{l+1}, s_l + 1) a layer.
    eps : float, optional
        Standard deviation of init="normal", half width of init="uniform".
    seed : int, numpy Generator or None
        Of the random numbers; None draws fresh entropy.

    Attributes
    ----------
    theta : ndarray (n_parameters,)
        All parameters, ``concatenate([T.ravel() for T in Theta])``; assigning copies the values in.
    Theta : tuple of ndarray
        Views of theta, Theta[l - 1] the textbook's Theta(l) with shape (s_{l+1}, s_l + 1), bias in column 0.

    See Also
    --------
    train : Train it.
    Trainer : Train it step by step.
    minimize : Train it with all examples at once.

    Notes
    -----
    Formulas: Ng, Machine Learning, lectures 8-9 (forward propagation, backpropagation); see docs/math.md.
    Names may be spelled as in scikit-learn, Keras and PyTorch: logistic, linear, swish, ReLU, mse, mean_squared_error,
    MSELoss, log_loss, BCE, mae, kaiming_normal and so on. Categorical_crossentropy alone implies softmax.

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> net = fastbp.Network([2, 2, 1], init=[[[-30, 20, 20], [10, -20, -20]], [[-10, 20, 20]]])
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> net.predict(X).round(3).ravel()     # Theta of the course: XNOR
    array([1., 0., 0., 1.])
    """

    @keywords.explained
    def __init__(
        self, layer_sizes: Iterable[SupportsIndex], *, activation: str | list[str] | tuple[str, ...] = "sigmoid",
        output: str | None = None, loss: Loss | None = None, huber_delta: Number | None = None,
        quantile: Number | None = None, label_smoothing: Number = 0.0, dtype: DTypeLike = np.float64,
        init: str | NDArray[Any] | list[Any] | tuple[Any, ...] = "glorot_uniform", eps: Number | None = None,
        seed: Seed = None,
    ) -> None:
        smoothing = checks.number(label_smoothing, SMOOTHING, high=1) or None
        plan = Plan(layer_sizes, activation, *pair(output, loss), huber_delta=huber_delta, quantile=quantile,
                    label_smoothing=smoothing)
        dtype = checks.float_dtype(dtype)
        self._hold(plan, memory.fixed(plan.n_parameters, dtype), *initialize.check(init, eps, plan, dtype))
        self.initialize(seed)

    def _hold(self, plan: Plan, theta: Floats, init: str | Floats, eps: float | None) -> None:
        """Set everything that makes up a network; theta (n_parameters,) becomes its own."""
        with self.__dict__.get("_turn") or _kernels.Turn():
            self._take_up(plan, theta, init, eps)

    def _take_up(self, plan: Plan, theta: Floats, init: str | Floats, eps: float | None) -> None:
        theta = memory.fixed_copy(theta)    # Theta and compiled code point into it
        self._plan, self._theta, self._init, self._eps = plan, theta, init, eps
        self._dtype = theta.dtype
        self._Theta = plan.views(theta)
        self._predict_row = sums.row_predictor(plan, theta)
        self._evaluator = sums.evaluator(plan, theta.dtype)     # every method below asks it first
        self._pass = self._products = None
        self._turn = _kernels.Turn()    # of whoever changes theta

    def initialize(self, seed: Seed = None) -> None:
        """Draw the parameters anew by the network's `init` (or put its start values back)."""
        rng = checks.generator(seed)
        with self._turn:
            self._writeable()[:] = initialize.draw(self._init, self._eps, self._plan, self.dtype, rng)
        if not isinstance(self._init, str):
            initialize.warn_if_equal_units(self)

    @property
    def theta(self) -> Floats:
        return self._theta

    @theta.setter
    def theta(self, values: ArrayLike) -> None:
        with self._turn:
            self._writeable()[:] = checks.parameters(values, self._plan, self.dtype)

    @property
    def Theta(self) -> tuple[Floats, ...]:
        return self._Theta

    @Theta.setter
    def Theta(self, values: Never) -> None:
        raise AttributeError("net.Theta are views of net.theta; write net.Theta[l][:] = ... for one of them, or "
                             "net.theta = np.concatenate([T.ravel() for T in matrices]) for all")

    @property
    def plan(self) -> Plan:
        """Layout and functions, as the layers below know them."""
        return self._plan

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        return self._plan.layer_sizes

    @property
    def n_parameters(self) -> int:
        return self._plan.n_parameters

    @property
    def dtype(self) -> np.dtype[np.floating[Any]]:
        return self._dtype

    @property
    def activation(self) -> tuple[str, ...]:
        """g of each hidden layer, a tuple of names."""
        return self._plan.activations

    @property
    def output(self) -> str:
        return self._plan.output

    @property
    def loss(self) -> Loss:
        """A name, or the function that was passed."""
        own = self._plan.own
        return self._plan.loss if own is None else own.told if own.function is None else own.function

    @property
    def loss_parameters(self) -> dict[str, float]:
        """The parameter of the loss as {name: value}, such as {"huber_delta": 1.0}; empty where it has none."""
        return dict(self._plan.loss_parameters)

    def copy(self, dtype: DTypeLike | None = None) -> Self:
        """A copy with its own parameters, in another dtype if one is given."""
        twin = type(self).__new__(type(self))
        twin.__setstate__(self.__getstate__() | ({} if dtype is None else {"dtype": dtype}))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """The state that pickle, copy and files keep; a ValueError if theta is not finite."""
        own = {} if self._plan.own is None else {"loss": self._plan.own}
        return self.settings() | own | {"init": self._init, "theta": self._check_theta()}

    def settings(self) -> dict[str, Any]:
        """The state without its arrays, as JSON; init is None if it is start values."""
        return {
            "layer_sizes": list(self.layer_sizes), "activation": list(self.activation), "output": self.output,
            "loss": self._plan.loss if self._plan.own is None else self._plan.own.told,
            "loss_parameters": self.loss_parameters, "dtype": self.dtype.name,
            "init": self._init if isinstance(self._init, str) else None, "eps": self._eps,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become the network of a state; it is checked like arguments, before anything has changed."""
        self._restore(state, np.array)

    def _restore(self, state: dict[str, Any], own: Callable[[Floats], Floats]) -> None:
        """As `__setstate__`, keeping own(array) of theta and of start values: a copy, or the array itself."""
        checks.members(state, STATE, "the state of a Network")
        parameters = state["loss_parameters"]
        if not isinstance(parameters, dict) or not all(isinstance(name, str) for name in parameters):
            raise TypeError(f"loss_parameters must be a dict by name; got {parameters!r:.200}")
        plan = Plan(state["layer_sizes"], state["activation"], state["output"], state["loss"], **parameters)
        dtype, init, eps = checks.float_dtype(state["dtype"]), state["init"], state["eps"]
        theta = own(checks.parameters(state["theta"], plan, dtype))
        if isinstance(init, np.ndarray) and eps is None:
            init = own(checks.parameters(init, plan, dtype, "init"))
        else:
            init, eps = initialize.check(init, eps, plan, dtype)
        self._hold(plan, theta, init, eps)

    if not TYPE_CHECKING:   # type checkers know the attributes
        def __getattr__(self, name):
            raise AttributeError(keywords.attribute(name), name=name, obj=self)

    def __repr__(self) -> str:
        return show.line(self)

    def _repr_html_(self) -> str:
        """The layers as a table in a notebook."""
        return html.network(self)

    def summary(self) -> str:
        """The layers as a table: units, function, shape of Theta, parameters."""
        return show.table(self)

    def data(
        self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None,
        names: Sequence[str] = ("X", "Y", "sample_weight"),
    ) -> Data:
        """X, Y and weights checked against this network, for `evaluate_data`; make new data after changing X or Y."""
        return Data(self._plan, self.dtype, X, Y, sample_weight, names)

    def predict(self, X: ArrayLike, *, out: Floats | None = None) -> Floats:
        """h(x) = a(L) of each example.

        Parameters
        ----------
        X : (m, s_1), or (s_1,) for one example
        out : ndarray (m, K) or (K,), optional
            Receives h and is returned; of the network's dtype, C-contiguous. It may overlap X.

        Returns
        -------
        ndarray (m, K), or (K,) for one example
        """
        h = self._predict_row(X, out)
        if h is None:
            h = self._evaluator.predict(X, self._theta, out)
        return objective.predict(self._plan, self._theta, self.dtype, X, out) if h is None else h

    def accumulate(
        self, X: ArrayLike, Y: ArrayLike, per_example: Flag = False, *, sample_weight: ArrayLike | None = None,
    ) -> tuple[float, tuple[Floats, ...]]:
        """The sums over the examples: forward, delta, Delta(l) += delta(l+1) [1, a(l)]'.

        Parameters
        ----------
        per_example : bool
            True runs the textbook's loop, one example at a time (gemv and ger of BLAS). False sums the same by
            blocks of examples (products of matrices). In float32 the rounding of the loop grows with m.

        Returns
        -------
        (float, tuple of ndarray)
            The sum of the costs, and Delta(1) .. Delta(L-1) with the shapes of Theta.
        """
        theta, data = self._check_theta(), self.data(X, Y, sample_weight)
        Delta = np.zeros_like(theta)
        if checks.flag(per_example, "per_example"):
            data.refuse_own("accumulate(per_example=True)")
            cost = sums.accumulate_per_example(self._plan, theta, data.examples(), data.m, Delta)
        else:
            cost = data.accumulate(theta, Delta)
        if data.scale != 1:
            with np.errstate(over="ignore", under="ignore"):
                Delta *= Delta.dtype.type(data.scale)
            cost *= data.scale
            if not (np.isfinite(cost) and np.isfinite(Delta).all()):
                raise ValueError(f"sample_weight is so large that the sums overflow in {self.dtype.name}")
        return cost, self._plan.views(Delta)

    def cost_and_gradient(
        self, X: ArrayLike, Y: ArrayLike, *, theta: ArrayLike | None = None, weight_decay: PerLayer = 0.0,
        lam: Number | None = None, l1: Number = 0.0, sample_weight: ArrayLike | None = None,
        out: Floats | None = None, n_threads: Count | None = None, comm: Comm | Group | None = None,
    ) -> tuple[float, NDArray[Any]]:
        """J and D = dJ/dtheta.

        J = (1/m) sum_i cost(i) + (c/2) sum Theta_ij^2 + l1 sum ``|Theta_ij|`` (j >= 1);
        D = Delta/m + c Theta + l1 sign(Theta) (j >= 1, sign(0) = 0), Delta/m (j = 0).

        Parameters
        ----------
        X : (m, s_1)
        Y : (m, K); (m,) targets for K = 1; (m,) integer labels 0 .. K-1 for K > 1
            Labels go with softmax, and with sigmoid or tanh outputs as their low and high values.
        theta : (n_parameters,), optional
            Evaluate here, in theta's dtype (float32 or float64); net.theta stays as it is.
        weight_decay : float, or one a Theta
            c.
        lam : float, optional
            The course's lambda: c = lam / m.
        l1 : float
        sample_weight : (m,), optional
            Weights; m is then their sum, in J, in D and in lam / m.
        out : ndarray (n_parameters,), optional
            Receives D and is returned.
        n_threads : int, optional
            At most this many threads; None decides by what was measured to help. Never changes a bit.
        comm : communicator, or fastbp.distributed.Group, optional
            Of mpi4py. X, Y and sample_weight are this rank's rows, possibly none (``X[:0]``). J and D are those of all
            rows, the same bits on each rank; theta and the settings must be the same on all. See docs/distributed.md.

        Returns
        -------
        (float, ndarray)
            J and D, flat like theta.

        Raises
        ------
        ValueError, TypeError
            Naming the argument, before anything has changed.
        RankError
            Another rank has raised one of these.
        """
        if comm is None and sample_weight is None:
            result = self._evaluator.cost_and_gradient(
                X, Y, self._theta if theta is None else theta, weight_decay, lam, l1, out, n_threads)
            if result is not None:
                return result
        group = as_group(comm)
        with guard(group):
            theta, data, penalties = evaluation(
                self, X, Y, sample_weight, group, theta=theta, out=out, weight_decay=weight_decay, lam=lam, l1=l1)
            J, D = objective.cost_and_gradient(theta, data, penalties, n_threads)
        if out is None:
            return J, D
        out[:] = D
        return J, out

    def cost(
        self, X: ArrayLike, Y: ArrayLike, *, theta: ArrayLike | None = None, weight_decay: PerLayer = 0.0,
        lam: Number | None = None, l1: Number = 0.0, sample_weight: ArrayLike | None = None,
        n_threads: Count | None = None, comm: Comm | Group | None = None,
    ) -> float:
        """J alone; arguments as for `cost_and_gradient`."""
        if comm is None and sample_weight is None:
            J = self._evaluator.cost(X, Y, self._theta if theta is None else theta, weight_decay, lam, l1, n_threads)
            if J is not None:
                return J
        group = as_group(comm)
        with guard(group):
            theta, data, penalties = evaluation(
                self, X, Y, sample_weight, group, theta=theta, weight_decay=weight_decay, lam=lam, l1=l1)
            return objective.cost(theta, data, penalties, n_threads)

    def evaluate(
        self, X: ArrayLike, Y: ArrayLike, *, sample_weight: ArrayLike | None = None, comm: Comm | Group | None = None,
    ) -> Evaluation:
        """The mean cost without penalty and, for classes, the fraction of the examples in the right class.

        The cost is that of Y itself, without label smoothing.

        Right is the largest output (labels, or one 1 a row), or every output on the right side of the middle of its
        range (K = 1, or several labels an example). comm as for `cost_and_gradient`.
        """
        if comm is None and sample_weight is None:
            result = self._evaluator.evaluate(X, Y, self._theta)
            if result is not None:
                return Evaluation(*result)
        group = as_group(comm)
        with guard(group):
            data = self.data(X, Y, sample_weight) if group is None else evaluation(self, X, Y, sample_weight, group)[1]
            return self.evaluate_data(data)

    def evaluate_data(self, data: Data | Shard) -> Evaluation:
        """`evaluate` for examples that `data` of this network, or of an equal one, has checked."""
        self._check_theta()
        cost = cost_of(self, data)
        if data.classes is None:
            return Evaluation(cost, None)
        return Evaluation(cost, data.accuracy(self._outputs))

    def _outputs(self, data: Data) -> Floats:
        """h (m, K) of the examples."""
        h = np.empty((data.m, self.layer_sizes[-1]), self.dtype)
        sums.predict(self._plan, self._theta, data.X, h)
        return h

    def _writeable(self) -> Floats:
        """theta, as it was made and not frozen"""
        return checks.output_array(self._theta, (self.n_parameters,), self.dtype, "net.theta")
