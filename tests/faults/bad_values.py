"""Values that are bad for an argument of some kind: each kind is a function of a generator that draws one of them."""

import datetime
import fractions
from types import SimpleNamespace

import numpy as np

ODD = {
    "none": lambda rng: None,
    "object": lambda rng: object(),
    "text": lambda rng: "".join(rng.choice(list("abcxyz 019.-_é"), rng.integers(0, 12))),
    "bytes": lambda rng: rng.bytes(int(rng.integers(0, 6))),
    "list": lambda rng: rng.standard_normal(int(rng.integers(1, 4))).tolist(),
    "nested": lambda rng: [[1, [2, 3]], [4]],
    "dict": lambda rng: {"a": int(rng.integers(10))},
    "set": lambda rng: {1, 2},
    "complex": lambda rng: complex(*rng.standard_normal(2)),
    "function": lambda rng: lambda *_: None,
    "class": lambda rng: rng.choice([int, float, SimpleNamespace]),
    "ellipsis": lambda rng: ...,
    "date": lambda rng: datetime.date(2020, 1, 1),
    "date64": lambda rng: np.datetime64("2020-01-01"),
    "array": lambda rng: rng.standard_normal(int(rng.integers(2, 5))),
    "texts": lambda rng: np.array(["a", "b"]),
    "objects": lambda rng: np.array([None, 1], object),
    "record": lambda rng: np.zeros(2, "f8,i4"),
    "nan": lambda rng: float("nan"),
    "infinity": lambda rng: float(rng.choice([np.inf, -np.inf])),
    "true": lambda rng: bool(rng.integers(2)),
    "numpy true": lambda rng: np.True_,
    "fraction": lambda rng: fractions.Fraction(1, 3),
    "float": lambda rng: float(rng.uniform(1, 100)),
    "negative": lambda rng: -int(rng.integers(1, 2**40)),
    "generator": lambda rng: iter([1, 2]),
}


def odd(rng, *but):
    """Anything except these"""
    names = [name for name in ODD if name not in but]
    return ODD[names[rng.integers(len(names))]](rng)


def one_of(*kinds):
    return lambda rng: kinds[rng.integers(len(kinds))](rng)


def is_not(*but):
    return lambda rng: odd(rng, *but)


def count(low=1, *but):
    """A value that is not a whole number of at least `low`"""
    return one_of(
        is_not("negative", *but),
        lambda rng: low - 1 - int(rng.integers(0, 10 ** int(rng.integers(1, 18)))),
        lambda rng: np.int64(low - 1 - rng.integers(0, 100)),
        lambda rng: float(low + rng.integers(0, 10)),
        lambda rng: np.float32(low + rng.integers(0, 10)),
        lambda rng: np.array(low + 1),
        lambda rng: str(low + 1),
        lambda rng: [low + 1],
    )


def number(low=0.0, high=np.inf, *but, open_low=False, open_high=True):
    """A value that is not a finite number in this interval"""
    kinds = [
        is_not("float", "fraction", "negative", *but),
        lambda rng: low - float(10.0 ** rng.uniform(-9, 300)) - abs(low) * 1e-9,
        lambda rng: -(10**400),
        lambda rng: str(float(rng.uniform(0, 1))),
        lambda rng: np.array(0.5),
        lambda rng: np.float64("nan"),
        lambda rng: np.complex64(1),
    ]
    if open_low:
        kinds += [lambda rng: low, lambda rng: np.float32(low)]
    if np.isfinite(high):
        kinds += [lambda rng: high + float(10.0 ** rng.uniform(-9, 300)) + abs(high) * 1e-9]
        if open_high:
            kinds += [lambda rng: high, lambda rng: np.float64(high)]
    else:
        kinds += [lambda rng: 10**400, lambda rng: np.inf]
    return one_of(*kinds)


def rate(*but):
    """A value that is neither a positive number nor a function of the step"""
    return number(0, np.inf, "function", *but, open_low=True)


def flag(*but):
    """A value that is neither True nor False"""
    return one_of(is_not("true", "numpy true", *but), lambda rng: int(rng.integers(0, 2)), lambda rng: 1.0,
                  lambda rng: "True", lambda rng: np.array([True]))


def name(accepted, *but):
    """A value that is none of these words (names of functions ignore case)"""
    def misspelt(rng):
        word = accepted[rng.integers(len(accepted))]
        return [word.upper() + "S", word + " ", word[:-1] + "?", [word], (word,), word.encode()][rng.integers(6)]

    return one_of(is_not(*but), misspelt, misspelt)


def seed(rng):
    """A value from which numpy cannot make a generator"""
    return one_of(
        is_not("none", "true", "numpy true", "nested"), lambda rng: -1 - int(rng.integers(2**62)), lambda rng: 1.5,
        lambda rng: [-1], lambda rng: np.array([0.5, 1]),
    )(rng)


def array_like(good, rng, cells=True, largest=None):
    """The array `good` turned into something that is not an array of numbers: another kind, or a bad cell"""
    good = np.asarray(good)
    kinds = [
        lambda: odd(rng, "list", "array", "nan", "infinity", "true", "numpy true", "float", "negative", "fraction",
                    "texts", "objects", "record", "nested"),
        lambda: good.astype(object), lambda: good.astype(complex), lambda: good.astype(str), lambda: good.astype("S9"),
        lambda: good.astype("datetime64[s]") if good.dtype.kind in "iu" else np.zeros(good.shape, "m8[s]"),
        lambda: np.zeros(good.shape, "f8,i4"), lambda: np.ma.masked_array(good, mask=np.zeros(good.shape, bool)),
        lambda: good[..., np.newaxis, np.newaxis], lambda: good.tolist() and [good.tolist(), [[[1]]]],
    ]
    if cells and good.size:
        bad = [np.nan, np.inf, -np.inf] + ([1e300, -1e39] if largest == np.float32 else [])

        def cell():
            a = good.astype(np.float64)
            a.flat[rng.integers(a.size)] = bad[rng.integers(len(bad))]
            return a if rng.integers(2) else a.tolist()

        kinds += [cell] * 6
    return kinds[rng.integers(len(kinds))]()


def examples(X, dtype, one_row=False):
    """A bad X (m, n): too many or too few columns, too many dimensions, or any of `array_like`"""
    def draw(rng):
        other = [
            lambda: X[:, 1:], lambda: np.hstack([X, X]), lambda: X[None], lambda: X[0, :0] if one_row else X[:, :0],
            lambda: np.append(X[0], 1.0), lambda: float(X[0, 0]), lambda: X[:, :, None],
            lambda: __import__("scipy.sparse").sparse.csr_matrix(X),
        ]
        return other[rng.integers(len(other))]() if rng.integers(3) == 0 else array_like(X, rng, largest=dtype)

    return draw


def answers(Y, K, plan, dtype):
    """A bad Y for these m examples: another length or width, out of reach, or any of `array_like`"""
    def draw(rng):
        m, i = len(Y), rng.integers(len(Y))
        other = [lambda: Y[:-1] if rng.integers(2) else np.concatenate([Y, Y[:1]]), lambda: 1, lambda: np.asarray(Y)[0],
                 lambda: np.zeros((m, K + 1)), lambda: np.zeros((m, K, 1))]
        labels = Y.ndim == 1 and K > 1
        if labels:
            def label():
                y = Y.astype(np.int64)
                y[i] = [K, -1, -(2**62), 2**62, K + rng.integers(2**40), 2**32, 2**31, 2**33 + 1][rng.integers(8)]
                return y if rng.integers(2) else y.tolist()

            other += [label] * 6 + [lambda: Y.astype(float), lambda: Y[:, None] if K > 1 else None]
        elif np.isfinite(plan.highest) or np.isfinite(plan.lowest):
            def cell():
                y = np.array(Y, np.float64)
                above = np.isfinite(plan.highest) and (not np.isfinite(plan.lowest) or rng.integers(2))
                y.flat[rng.integers(y.size)] = (plan.highest + 10.0 ** rng.uniform(-3, 20) if above
                                                else plan.lowest - 10.0 ** rng.uniform(-3, 20))
                return y

            other += [cell] * 4
        return other[rng.integers(len(other))]() if rng.integers(2) else array_like(Y, rng, not labels, dtype)

    return draw


def weights(m, dtype):
    """Bad weights for m examples"""
    good = np.ones(m)

    def draw(rng):
        i = rng.integers(m)
        other = [
            lambda: np.ones(m + 1), lambda: np.ones(m - 1), lambda: np.ones((m, 1)), lambda: np.zeros(m), lambda: 1.0,
            lambda: np.where(np.arange(m) == i, -(10.0 ** rng.uniform(-3, 20)), 1), lambda: np.full(m, -1.0),
            lambda: np.full(m, 1e-60 if dtype == np.float32 else 0), lambda: [],
        ]
        bad = None
        while bad is None:      # means no weights, which is fine
            bad = other[rng.integers(len(other))]() if rng.integers(2) else array_like(good, rng, largest=dtype)
        return bad

    return draw


def parameters(theta, none=True):
    """A bad theta for this size"""
    def draw(rng):
        n = len(theta)
        other = [lambda: np.zeros(n + 1), lambda: np.zeros(n - 1), lambda: np.zeros((1, n)), lambda: 0.0, lambda: []]
        bad = None
        while bad is None:
            bad = other[rng.integers(len(other))]() if rng.integers(3) == 0 else array_like(theta, rng)
            if none and bad is None:
                break
        return bad

    return draw


def room(shape, dtype):
    """A bad array for a result of this shape and dtype"""
    def draw(rng):
        locked = np.zeros(shape, dtype)
        locked.setflags(write=False)
        wide = np.zeros([2 * n for n in shape], dtype)
        other = [
            lambda: np.zeros((*shape, 1), dtype), lambda: np.zeros([n + 1 for n in shape], dtype), lambda: locked,
            lambda: np.zeros(shape, np.float32 if dtype == np.float64 else np.float64), lambda: np.zeros(shape, int),
            lambda: wide[tuple(slice(None, None, 2) for _ in shape)] if locked.size > 1 else locked,
            lambda: np.zeros(shape, np.dtype(dtype).newbyteorder()), lambda: np.zeros(shape).tolist(),
            lambda: np.frombuffer(bytearray(locked.nbytes + 1), np.uint8)[1:].view(dtype).reshape(shape),
            lambda: odd(rng, "none", "array"),
        ]
        return other[rng.integers(len(other))]()

    return draw
