"""The workloads, as data: add one here and every peer, table and picture knows it.

`reach` is what fastbp must reach against the fastest peer of the same run (one thread), by dtype; `gemm_limit` is the
largest multiple of the GEMMs alone that is allowed; `two_threads` the gain wanted from a second core.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Unit:
    """How seconds are shown: `value = scale * seconds / count`, or its inverse where more is better.

    `count` is the number of examples (or of calls) of the run, so that the quick and the full size show the same unit.
    """

    name: str
    scale: float
    inverse: bool = False

    def value(self, seconds, count):
        """Return the figure the table shows."""
        return count / seconds / self.scale if self.inverse else self.scale * seconds / count


PER_EXAMPLE = Unit("µs/example", 1e6)
PER_CALL = Unit("µs/call", 1e6)
RATE = Unit("1000 examples/s", 1e3, inverse=True)
EPOCH = Unit("ms/epoch of 20,000", 1e3 * 20_000)
GRADIENT_5000 = Unit("ms, m = 5,000", 1e3 * 5_000)
GRADIENT_60000 = Unit("ms, m = 60,000", 1e3 * 60_000)


@dataclass(frozen=True)
class Workload:
    """One network, one kind of work on it, and how it is timed.

    `kind`: "train" (one epoch of training), "gradient" (J and D over all m examples) or "predict" (m calls from Python,
    one row each). `data` names a maker in data.py. `x` is the abscissa of a growth figure, `group` the figure.
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
    reach: dict = field(default_factory=dict)
    gemm_limit: dict = field(default_factory=dict)
    two_threads: float = 0.95
    group: str = "table"
    x: float = 0.0

    def size(self, full):
        """Return m: of the full run, or of the quick one."""
        return self.m if full or not self.quick_m else self.quick_m

    @property
    def online(self):
        """Training example by example."""
        return self.kind == "train" and self.batch_size == 1

    @property
    def n_parameters(self):
        """Weights and biases."""
        return sum(n * (k + 1) for k, n in zip(self.layer_sizes, self.layer_sizes[1:], strict=False))


def reach(float32, float64):
    """Return the two figures by dtype."""
    return {"float32": float32, "float64": float64}


TABLE = (
    Workload(
        "online 784-30-10", "train", (784, 30, 10), "images", 20_000, PER_EXAMPLE, quick_m=2_000,
        learning_rate=0.05, reach=reach(3.0, 2.0),
    ),
    Workload(
        "online 4-8-3", "train", (4, 8, 3), "flowers", 50_000, PER_EXAMPLE, quick_m=10_000,
        loss="squared_error", learning_rate=0.5, reach=reach(2.0, 1.3),
    ),
    Workload(
        "online 64-100-100-10 sigmoid", "train", (64, 100, 100, 10), "images", 20_000, PER_EXAMPLE, quick_m=2_000,
        learning_rate=0.05, reach=reach(2.4, 2.2),
    ),
    Workload(
        "online 64-100-100-10 ReLU", "train", (64, 100, 100, 10), "images", 20_000, PER_EXAMPLE, quick_m=2_000,
        activation="relu", learning_rate=0.01, reach=reach(2.4, 2.2),
    ),
    Workload(
        "batch 32 784-128-10", "train", (784, 128, 10), "images", 60_000, RATE, quick_m=6_400,
        activation="relu", output="softmax", learning_rate=0.1, batch_size=32, reach=reach(1.25, 1.35),
    ),
    Workload(
        "batch 2,000 784-256-128-10", "train", (784, 256, 128, 10), "images", 60_000, RATE, quick_m=4_000,
        activation="relu", output="softmax", learning_rate=0.1, batch_size=2_000, two_threads=1.7,
    ),
    Workload(
        "Adam 784-100-10", "train", (784, 100, 10), "images", 20_000, EPOCH, quick_m=4_000,
        activation="relu", output="softmax", optimizer="adam", learning_rate=1e-3, batch_size=200,
        reach=reach(1.25, 1.4),
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
        output="softmax", reach=reach(1.1, 1.2), gemm_limit=reach(1.08, 1.15), two_threads=1.7,
    ),
    Workload("predict 4-8-3", "predict", (4, 8, 3), "flowers", 5_000, PER_CALL, quick_m=1_000, reach=reach(2.0, 2.0)),
    Workload(
        "predict 784-30-10", "predict", (784, 30, 10), "images", 5_000, PER_CALL, quick_m=1_000, reach=reach(1.5, 1.3)
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
