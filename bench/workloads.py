"""The workloads, as data: add one here, and every peer, table and picture includes it.

`reach` is the target for fastbp against the fastest peer of the same run (one thread), by dtype; `two_threads` the
target gain from a second core. If it is given, all peers also run with several threads; otherwise only fastbp does, to
show that more threads do no harm.
"""

import itertools
from dataclasses import dataclass, field

NO_HARM = 0.95  # the least gain of a second core if none is expected


@dataclass(frozen=True)
class Unit:
    """How seconds are shown: `value = scale * seconds / count`, or its inverse if more is better.

    `count` is that of the workload, so that the quick and the full size show the same unit.
    """

    name: str
    scale: float
    inverse: bool = False

    def value(self, seconds, count):
        """Return the figure the table shows."""
        return count / seconds / self.scale if self.inverse else self.scale * seconds / count


PER_EXAMPLE = Unit("µs/example", 1e6)
PER_CALL = Unit("µs/call", 1e6)
PER_ITERATION = Unit("µs/iteration", 1e6)
PER_EPOCH = Unit("µs/epoch", 1e6)
RATE = Unit("1000 examples/s", 1e3, inverse=True)
EPOCH = Unit("ms/epoch of 20,000", 1e3 * 20_000)
GRADIENT_5000 = Unit("ms, m = 5,000", 1e3 * 5_000)
GRADIENT_60000 = Unit("ms, m = 60,000", 1e3 * 60_000)


@dataclass(frozen=True)
class Workload:
    """One network, one kind of work on it, and how it is timed.

    `kind`:
      train      one call that trains `epochs` epochs
      step       one update per call, from Python, `rows` examples each
      gradient   J and D, a call on `rows` examples each, or on all m if rows is 0
      product    the Hessian of J times a vector, one call on all examples
      evaluate   J and the accuracy, a call on `rows` examples each
      predict    a call on a matrix of `rows` rows each, or on a vector if rows is 0
      minimize   `iterations` of L-BFGS-B on all examples
    `data` names a maker in data.py. `alone`: no peer has the same. `beside_steps`: fastbp's steps are also run alone.
    `x` is the abscissa of a growth figure, `group` the figure.
    """

    name: str
    kind: str
    layer_sizes: tuple
    data: str
    m: int
    unit: Unit
    quick_m: int = 0
    activation: str = "sigmoid"
    output: str = "sigmoid"
    loss: str = "cross_entropy"
    optimizer: str = "sgd"
    learning_rate: float = 0.0
    batch_size: int = 1
    weight_decay: float = 0.0
    rows: int = 0
    epochs: int = 1
    iterations: int = 0
    alone: bool = False
    beside_steps: bool = False
    reach: dict = field(default_factory=dict)
    two_threads: float | None = None
    group: str = "table"
    x: float = 0.0

    def size(self, full):
        """Return m of the full or of the quick run."""
        return self.m if full or not self.quick_m else self.quick_m

    def count(self, m):
        """Return the count for the unit: calls, iterations, epochs or examples."""
        if self.unit is PER_ITERATION:
            return self.iterations
        if self.unit is PER_EPOCH:
            return self.epochs
        return self.calls(m) if self.unit is PER_CALL else m

    def calls(self, m):
        """Return the number of calls in a run, each with its own rows; 1 if all examples go into one call."""
        return m // max(1, self.rows) if self.rows or self.kind == "predict" else 1

    @property
    def online(self):
        """Training example by example."""
        return self.kind == "train" and self.batch_size == 1

    @property
    def n_parameters(self):
        """Weights and biases."""
        return sum(n * (k + 1) for k, n in itertools.pairwise(self.layer_sizes))

    @property
    def functions(self):
        """The name of g for each layer of weights."""
        return [self.activation] * (len(self.layer_sizes) - 2) + [self.output]


def reach(float32, float64):
    """Return the two figures by dtype."""
    return {"float32": float32, "float64": float64}


def call(name, kind, rows):
    """Return a workload of short calls on the tiny classifier, `rows` rows each."""
    return Workload(name, kind, (4, 8, 3), "flowers", 1_000 * rows, PER_CALL, quick_m=200 * rows, rows=rows)


def control(name, kind):
    """Return a workload of a control loop: 10-32-32-1, tanh, squared error, 64 rows per call."""
    return Workload(
        f"{name}, 64 rows of 10-32-32-1 tanh", kind, (10, 32, 32, 1), "regression", 64 * 400, PER_CALL,
        quick_m=64 * 100, activation="tanh", output="identity", loss="squared_error", learning_rate=0.01,
        batch_size=64, rows=64,
    )  # fmt: skip


TABLE = (
    Workload(
        "online 784-30-10", "train", (784, 30, 10), "images", 20_000, PER_EXAMPLE, quick_m=1_000,
        learning_rate=0.05, reach=reach(3.0, 2.0),
    ),
    Workload(
        "online 4-8-3", "train", (4, 8, 3), "flowers", 50_000, PER_EXAMPLE, quick_m=10_000,
        loss="squared_error", learning_rate=0.5, reach=reach(2.0, 1.3),
    ),
    Workload(
        "online 64-100-100-10 sigmoid", "train", (64, 100, 100, 10), "images", 20_000, PER_EXAMPLE, quick_m=1_000,
        learning_rate=0.05, reach=reach(2.4, 2.2),
    ),
    Workload(
        "online 64-100-100-10 ReLU", "train", (64, 100, 100, 10), "images", 20_000, PER_EXAMPLE, quick_m=1_000,
        activation="relu", learning_rate=0.01, reach=reach(2.4, 2.2),
    ),
    Workload(
        "batch 32 784-128-10", "train", (784, 128, 10), "images", 60_000, RATE, quick_m=6_400,
        activation="relu", output="softmax", learning_rate=0.1, batch_size=32, reach=reach(1.25, 1.35), two_threads=1.3,
    ),
    Workload(
        "batch 2,000 784-256-128-10", "train", (784, 256, 128, 10), "images", 60_000, RATE, quick_m=4_000,
        activation="relu", output="softmax", learning_rate=0.1, batch_size=2_000, two_threads=1.7,
    ),
    Workload(
        "Adam 784-100-10", "train", (784, 100, 10), "images", 20_000, EPOCH, quick_m=4_000,
        activation="relu", output="softmax", optimizer="adam", learning_rate=1e-3, batch_size=200,
        reach=reach(1.25, 1.4), two_threads=1.6,
    ),
    Workload(
        "Adam 20-100-1 regression", "train", (20, 100, 1), "regression", 20_000, EPOCH, quick_m=6_000,
        activation="relu", output="identity", loss="squared_error", optimizer="adam", learning_rate=1e-3,
        batch_size=200, reach=reach(1.8, 1.8),
    ),
    Workload(
        "J and D 400-25-10", "gradient", (400, 25, 10), "images", 5_000, GRADIENT_5000,
        weight_decay=1 / 5_000, reach=reach(1.8, 1.6), two_threads=1.7,
    ),
    Workload(
        "J and D 784-256-128-10", "gradient", (784, 256, 128, 10), "images", 60_000, GRADIENT_60000, quick_m=4_000,
        output="softmax", reach=reach(1.1, 1.2), two_threads=1.7,
    ),
    Workload(
        "H p 64-30-10, m = 1,797", "product", (64, 30, 10), "images", 1_797, PER_CALL, weight_decay=1 / 1_797,
        reach=reach(1.0, 1.0),
    ),
    Workload(
        "H p 784-100-10, m = 5,000", "product", (784, 100, 10), "images", 5_000, PER_CALL, quick_m=1_000,
        output="softmax", weight_decay=1 / 5_000, reach=reach(1.0, 1.0),
    ),
    Workload(
        "L-BFGS 400-25-10, m = 5,000", "minimize", (400, 25, 10), "images", 5_000, PER_ITERATION, quick_m=500,
        weight_decay=1 / 5_000, iterations=30,
    ),
    Workload(
        "L-BFGS 4-8-3, m = 150", "minimize", (4, 8, 3), "flowers", 150, PER_ITERATION,
        weight_decay=1e-3, iterations=30,
    ),
    Workload("predict 4-8-3", "predict", (4, 8, 3), "flowers", 5_000, PER_CALL, quick_m=1_000, reach=reach(2.0, 2.0)),
    Workload(
        "predict 784-30-10", "predict", (784, 30, 10), "images", 5_000, PER_CALL, quick_m=1_000, reach=reach(1.5, 1.3)
    ),
    call("predict (1, 4) 4-8-3", "predict", 1),
    call("predict (64, 4) 4-8-3", "predict", 64),
    call("J and D of (1, 4) 4-8-3", "gradient", 1),
    call("J and D of (64, 4) 4-8-3", "gradient", 64),
    call("evaluate (1, 4) 4-8-3", "evaluate", 1),
    call("evaluate (64, 4) 4-8-3", "evaluate", 64),
    control("step", "step"),
    control("J and D", "gradient"),
    control("predict", "predict"),
    Workload(
        "train 64-30-10, a call of 1 epoch", "train", (64, 30, 10), "images", 1_408, PER_EPOCH, activation="relu",
        output="softmax", optimizer="adam", learning_rate=1e-3, batch_size=32, beside_steps=True,
    ),
    Workload(
        "train 64-30-10, each of 20 epochs", "train", (64, 30, 10), "images", 1_408, PER_EPOCH, activation="relu",
        output="softmax", optimizer="adam", learning_rate=1e-3, batch_size=32, epochs=20, alone=True, beside_steps=True,
    ),
)  # fmt: skip


def growth(group, x, layer_sizes, m=1_920):
    """Return one point of a growth figure: an epoch of SGD, batch 32, ReLU and softmax."""
    return Workload(
        f"growth with {group}: {x}", "train", layer_sizes, "images", m, PER_EXAMPLE, activation="relu",
        output="softmax", learning_rate=0.05, batch_size=32, group=group, x=x,
    )  # fmt: skip


GROWTH = (
    *(growth("m", m, (64, 100, 10), m) for m in (32, 320, 3_200, 32_000)),
    *(growth("width", width, (64, width, 10)) for width in (10, 30, 100, 300, 1_000)),
    *(growth("depth", depth, (64, *(100,) * depth, 10)) for depth in (1, 2, 4, 8)),
)

THREADS_CASE = next(w for w in TABLE if w.name == "J and D 784-256-128-10")  # the growth figure's gain by threads

WORKLOADS = {workload.name: workload for workload in TABLE + GROWTH}
