from .checks import _Count, _Flag, _Number
from .settings import Settings

class Schedule(Settings):
    def __call__(self, t: int) -> float: ...

class Constant(Schedule):
    learning_rate: float
    def __init__(self, learning_rate: _Number) -> None: ...

class Step(Schedule):
    learning_rate: float
    every: int
    factor: float
    def __init__(self, learning_rate: _Number, every: _Count, factor: _Number = 0.1) -> None: ...

class Exponential(Schedule):
    learning_rate: float
    factor: float
    def __init__(self, learning_rate: _Number, factor: _Number) -> None: ...

class InverseScaling(Schedule):
    learning_rate: float
    power: float
    def __init__(self, learning_rate: _Number, power: _Number = 0.5) -> None: ...

class Cosine(Schedule):
    learning_rate: float
    steps: int
    least: float
    warmup: int
    restarts: bool
    growth: int
    def __init__(
        self,
        learning_rate: _Number,
        steps: _Count,
        least: _Number = 0.0,
        warmup: _Count = 0,
        restarts: _Flag = False,
        growth: _Count = 1,
    ) -> None: ...

class OneCycle(Schedule):
    learning_rate: float
    steps: int
    rise: float
    start_divisor: float
    end_divisor: float
    def __init__(
        self,
        learning_rate: _Number,
        steps: _Count,
        rise: _Number = 0.3,
        start_divisor: _Number = 25.0,
        end_divisor: _Number = 1e4,
    ) -> None: ...

def between(start: float, end: float, share: float) -> float: ...
