"""Every update rule with every penalty and clipping agrees with the textbook, with its Python twin and with torch."""

import numpy as np
import pytest
import reference_rules as oracle
from helpers import DTYPES, distance, problem, tolerance

import fastbp
from fastbp import _kernels, optimizers, rules
from fastbp.engine import threads

RULES = {
    "sgd": (lambda a=0.1: fastbp.SGD(a), lambda a=0.1: oracle.SGD(a)),
    "momentum": (lambda a=0.05: fastbp.SGD(a, 0.9), lambda a=0.05: oracle.SGD(a, mu=0.9)),
    "nesterov": (lambda a=0.05: fastbp.SGD(a, 0.8, True), lambda a=0.05: oracle.SGD(a, mu=0.8, nesterov=True)),
    "adam": (
        lambda a=0.01: fastbp.Adam(a, 0.8, 0.95, 1e-6),
        lambda a=0.01: oracle.Adam(a, b1=0.8, b2=0.95, epsilon=1e-6),
    ),
    "adam, epsilon hat": (
        lambda a=0.01: fastbp.Adam(a, 0.8, 0.95, 1e-3, epsilon_hat=True),
        lambda a=0.01: oracle.Adam(a, b1=0.8, b2=0.95, epsilon=1e-3, hat=True),
    ),
    "adamw": (
        lambda a=0.01: fastbp.AdamW(a, 0.8, 0.95, 1e-6, weight_decay=0.3),
        lambda a=0.01: oracle.Adam(a, b1=0.8, b2=0.95, epsilon=1e-6, decay=0.3),
    ),
    "nadam": (
        lambda a=0.01: optimizers.Nadam(a, 0.8, 0.95, 1e-6, momentum_decay=0.1),
        lambda a=0.01: oracle.Nadam(a, b1=0.8, b2=0.95, epsilon=1e-6, psi=0.1),
    ),
    "rmsprop": (
        lambda a=0.01: fastbp.RMSprop(a, 0.8, 1e-4), lambda a=0.01: oracle.RMSprop(a, rho=0.8, epsilon=1e-4)
    ),
    "rmsprop, momentum": (
        lambda a=0.01: fastbp.RMSprop(a, 0.8, 1e-4, 0.5),
        lambda a=0.01: oracle.RMSprop(a, rho=0.8, epsilon=1e-4, mu=0.5),
    ),
    "adagrad": (
        lambda a=0.05: optimizers.Adagrad(a, 0.1, 1e-6), lambda a=0.05: oracle.Adagrad(a, initial=0.1, epsilon=1e-6)
    ),
    "rprop": (
        lambda: optimizers.RPROP(0.01, 0.4, 1.3, 0.007, 0.02),
        lambda: oracle.RPROP(0.01, minus=0.4, plus=1.3, least=0.007, most=0.02),
    ),
}  # fmt: skip
SCHEDULED = [name for name in RULES if name != "rprop"]  # learning_rate is its first step alone
OPTIONS = {
    "nothing": {},
    "c": {"c": 0.02},
    "c per Theta": {"c": (0.3, 0.0, 0.05)},
    "l1": {"l1": 0.01},
    "batch_lam": {"batch_lam": 0.1},
    "clip_value": {"clip_value": 0.02},
    "clip_norm": {"clip_norm": 0.1},
    "all": {"c": (0.0, 0.1, 0.02), "l1": 0.01, "batch_lam": 0.05, "clip_value": 0.05, "clip_norm": 0.2},
}
SIZES = (6, 19, 9, 4)


def trainer(p, rule, optimizer=None, c=0.0, **options):
    return fastbp.Trainer(p.network(), optimizer or RULES[rule][0](), weight_decay=c, **options)


def in_python(optimizer):
    """The same rule in Python: a subclass that overrides update is never run compiled"""
    cls = type("InPython", (type(optimizer),), {"update": lambda *args: super(cls, args[0]).update(*args[1:])})
    twin = object.__new__(cls)
    vars(twin).update(vars(optimizer))
    return twin


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("rule", RULES)
def test_rule_takes_the_textbooks_steps_along_the_textbooks_d(rule, option, batch_size, dtype):
    p, w = problem(SIZES, "tanh", m=24, dtype=dtype), None
    if option == "batch_lam":
        w = p.weights
    going = trainer(p, rule, **OPTIONS[option])
    J = [going.epoch(p.X, p.Y, batch_size=batch_size, sample_weight=w) for _ in range(2)]
    theta, expected = oracle.train(
        p.model, p.theta.astype(np.longdouble), p.X, p.Y, RULES[rule][1](), epochs=2, batch_size=batch_size, w=w,
        **OPTIONS[option],
    )  # fmt: skip
    assert distance(going.net.theta, theta) < tolerance(dtype, "training")
    np.testing.assert_allclose(J, expected, rtol=tolerance(dtype, "training"))


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("rule", RULES)
def test_coefficients_of_1_and_equal_limits_are_nothing_special(rule, batch_size):
    p = problem((6, 16, 7, 4), "tanh", m=14)    # whole groups of units, and one less
    for option in (
        {"c": 1.0}, {"c": (0.0, 1.0, 0.0)}, {"l1": 1.0}, {"batch_lam": 1.0}, {"clip_value": 1.0},
        {"clip_value": 0.03, "clip_norm": 0.03}, {"c": 1.0, "l1": 1.0, "clip_value": 1.0, "clip_norm": 1.0},
    ):  # fmt: skip
        going = trainer(p, rule, **option)
        J = going.epoch(p.X, p.Y, batch_size=batch_size)
        theta, expected = oracle.train(
            p.model, p.theta.astype(np.longdouble), p.X, p.Y, RULES[rule][1](), epochs=1, batch_size=batch_size,
            **option,
        )  # fmt: skip
        assert distance(going.net.theta, theta) < tolerance(float, "training"), option
        assert pytest.approx(expected[0], rel=1e-12) == J, option


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("rule", RULES)
def test_python_form_of_the_rule_is_the_compiled_one(rule, option, dtype):
    p = problem(SIZES, m=30, dtype=dtype)
    compiled = trainer(p, rule, **OPTIONS[option])
    python = trainer(p, rule, in_python(RULES[rule][0]()), **OPTIONS[option])
    assert compiled.steps.compiled
    assert python.steps.compiled is None
    for _ in range(3):
        J = compiled.epoch(p.X, p.Y, batch_size=8)
        assert python.epoch(p.X, p.Y, batch_size=8) == pytest.approx(J, rel=tolerance(dtype, "training"))
    assert distance(compiled.net.theta, python.net.theta) < tolerance(dtype, "training")
    for name in ("t", *compiled.optimizer.slots, *(["scalars"] if "scalars" in compiled.state else [])):
        np.testing.assert_allclose(
            compiled.state[name], python.state[name], rtol=1e-9 if dtype == np.float64 else 1e-2,
            atol=1e-12 if dtype == np.float64 else 1e-5,
        )  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("rule", RULES)
def test_single_steps_are_those_of_whole_epochs(rule, option):
    """The quick step, the epoch, and the batch that is summed range by range apply the same rule"""
    p = problem(SIZES, m=60)
    stepped, whole = (trainer(p, rule, **OPTIONS[option]) for _ in range(2))
    for _ in range(4):
        assert stepped.step(p.X, p.Y) == pytest.approx(whole.epoch(p.X, p.Y, batch_size=None), rel=1e-14)
        np.testing.assert_array_equal(stepped.net.theta, whole.net.theta)


@pytest.mark.parametrize("option", ["c per Theta", "all"])
@pytest.mark.parametrize("rule", RULES)
def test_large_batches_take_the_textbooks_steps(rule, option):
    p = problem((4, 3, 3, 2), m=9_000)
    going = trainer(p, rule, **OPTIONS[option])
    for _ in range(2):
        going.epoch(p.X, p.Y, batch_size=5_000)
    start, textbook = p.theta.astype(np.longdouble), RULES[rule][1]()
    theta, _ = oracle.train(p.model, start, p.X, p.Y, textbook, epochs=2, batch_size=5_000, **OPTIONS[option])
    assert distance(going.net.theta, theta) < tolerance(float, "training")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("rule", ["momentum", "adamw", "nadam", "rprop"])
def test_any_number_of_members_gives_the_same_bits(rule, option):
    p, bits = problem((20, 70, 33, 10), m=600, dtype=np.float32), set()
    for n in (1, 2, 3):
        going = trainer(p, rule, **OPTIONS[option])
        data = going.net.data(p.X, p.Y)
        with threads.Crew(n, apart=True) as going.steps.crew:
            assert going.steps.crew.n == n
            J = [going.steps.mean(data, 200) for _ in range(4)]
        kept = [np.asarray(value).tobytes() for value in going.state.values()]
        bits.add((going.net.theta.tobytes(), *J, *kept))
    assert len(bits) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(6, 9, 4), (1, 20, 17, 1), (33, 3)])
def test_members_who_divide_a_single_panel_have_the_bits_of_one(sizes, dtype):
    """A panel has 4 to 32 examples; a batch in it is cut in two, and its last example may stand alone"""
    p = problem(sizes, m=66, dtype=dtype)
    for batch_size in (3, 4, 5, 6, 8, 9, 11, 16, 17, 20, 31, 32, 33):
        bits = set()
        for n in (1, 2, 3):
            going = trainer(p, "adam", c=0.01, seed=3, **({"dropout": 0.2} if sizes[1:-1] else {"input_dropout": 0.2}))
            with threads.Crew(n) as going.steps.crew:
                J = [going.steps.mean(going.net.data(p.X, p.Y, w), batch_size) for w in (None, p.weights)]
            bits.add((going.net.theta.tobytes(), *J))
        assert len(bits) == 1, batch_size


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("rule", RULES)
def test_an_epoch_cut_into_calls_gives_the_same_bits(rule, option, batch_size, monkeypatch):
    """With a budget of 0 every call returns after its first step (online: after a few)"""
    p, bits = problem((90, 90, 30, 3), m=40), []
    for slice_ in (10.0, 0.0):
        monkeypatch.setattr(threads, "SLICE", slice_)
        optimizer = RULES[rule][0]() if rule == "rprop" else RULES[rule][0](lambda t: 0.01 / (1 + t))
        going = trainer(p, rule, optimizer, **OPTIONS[option])
        J = going.epoch(p.X, p.Y, batch_size=batch_size)
        bits.append((J, going.net.theta.tobytes(), going.state["t"]))
    assert bits[0] == bits[1]
    assert bits[0][2] == 40 // batch_size


# ---------------------------------------------------------------- states


@pytest.mark.parametrize("option", ["nothing", "all"])
@pytest.mark.parametrize("rule", RULES)
def test_a_state_put_back_is_the_state_that_steps_go_on_from(rule, option):
    p = problem(SIZES, m=30)
    first, second = (trainer(p, rule, **OPTIONS[option]) for _ in range(2))
    first.epoch(p.X, p.Y, batch_size=4)
    second.step(p.X, p.Y)
    second.net.theta = first.net.theta
    second.state = {name: value if name == "t" else value.copy() for name, value in first.state.items()}
    for go in (lambda each: each.step(p.X, p.Y), lambda each: each.epoch(p.X, p.Y, batch_size=4)):
        assert go(first) == go(second)
        np.testing.assert_array_equal(first.net.theta, second.net.theta)
    for name, value in first.state.items():
        np.testing.assert_array_equal(value, second.state[name])


@pytest.mark.parametrize("wrong", ["lacking", "short", "float32", "read-only", "t", "scalars", "no dict"])
def test_states_that_do_not_fit_are_refused_before_anything_is_written(wrong):
    p = problem()
    going = trainer(p, "nadam")
    going.step(p.X, p.Y)
    before = going.state
    state = {name: np.copy(value) for name, value in before.items()} | {"t": 1}
    if wrong == "lacking":
        del state["v"]
    elif wrong == "read-only":
        state["v"].setflags(write=False)
    elif wrong == "no dict":
        state = [state]
    else:
        name, value = {
            "short": ("v", state["v"][:-1]), "float32": ("v", state["v"].astype("f4")), "t": ("t", -1),
            "scalars": ("scalars", np.ones(2)),
        }[wrong]  # fmt: skip
        state[name] = value
    with pytest.raises((ValueError, TypeError), match="state"):
        going.state = state
    assert going.state is before


def test_every_rule_of_the_kernels_has_its_class_and_its_name():
    assert set(_kernels.rules) == set(optimizers.NAMED)
    for name, cls in optimizers.NAMED.items():
        assert name in str(rules.resolve(name, np.float64).compiled) == cls.compiled
    assert {type(make()).compiled for make, _ in RULES.values()} == set(_kernels.rules)


# ---------------------------------------------------------------- learning rates that change


def falling(t):
    return 0.05 / (1 + 0.3 * t)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("option", ["nothing", "c per Theta", "all"])
@pytest.mark.parametrize("rule", SCHEDULED)
def test_learning_rate_may_be_a_function_of_the_step(rule, option, batch_size, dtype):
    p = problem(SIZES, m=24, dtype=dtype)
    theta, expected = oracle.train(
        p.model, p.theta.astype(np.longdouble), p.X, p.Y, RULES[rule][1](falling), epochs=2, batch_size=batch_size,
        **OPTIONS[option],
    )  # fmt: skip
    for optimizer in (RULES[rule][0](falling), in_python(RULES[rule][0](falling))):
        going = trainer(p, rule, optimizer, **OPTIONS[option])
        J = [going.epoch(p.X, p.Y, batch_size=batch_size) for _ in range(2)]
        assert distance(going.net.theta, theta) < tolerance(dtype, "training")
        np.testing.assert_allclose(J, expected, rtol=tolerance(dtype, "training"))
    given = trainer(p, rule, **OPTIONS[option])
    batches = -(-24 // batch_size)
    for epoch in range(2):
        rates = [falling(t) for t in range(epoch * batches, (epoch + 1) * batches)]
        total, weight = given.steps.take(given.net.data(p.X, p.Y), batch_size, rates=rates)
        assert total / weight == pytest.approx(J[epoch], rel=1e-5)
    assert distance(given.net.theta, theta) < tolerance(dtype, "training")


@pytest.mark.parametrize("rule", SCHEDULED)
def test_single_steps_follow_the_function_too(rule):
    p = problem(SIZES, m=24)
    stepped, whole = (trainer(p, rule, RULES[rule][0](falling)) for _ in range(2))
    for first in range(0, 24, 6):
        stepped.step(p.X[first : first + 6], p.Y[first : first + 6])
    whole.epoch(p.X, p.Y, batch_size=6)
    np.testing.assert_array_equal(stepped.net.theta, whole.net.theta)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("twin", [lambda optimizer: optimizer, in_python], ids=["compiled", "python"])
def test_batches_of_no_weight_are_no_steps(twin, batch_size):
    """Batches of weight 0 have no step, so they use up no learning rate"""
    p = problem(m=24)
    w = np.repeat([0.0, 1.0, 0.0, 1.0, 1.0, 0.0], 4)
    weighted, present = (trainer(p, "sgd", twin(fastbp.SGD(falling))) for _ in range(2))
    weighted.epoch(p.X, p.Y, batch_size=batch_size, sample_weight=w)
    present.epoch(p.X[w > 0], p.Y[w > 0], batch_size=batch_size)
    assert weighted.state["t"] == present.state["t"] == 12 // batch_size
    assert distance(weighted.net.theta, present.net.theta) < tolerance(float, "bits")


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, "a", None, True, np.ones(2)])
@pytest.mark.parametrize("twin", [lambda optimizer: optimizer, in_python], ids=["compiled", "python"])
def test_bad_learning_rates_of_a_function_are_named_before_the_epoch_or_the_step(twin, value):
    p = problem(m=24)
    going = trainer(p, "adam", twin(fastbp.Adam(lambda t: 0.1 if t < 2 else value)))
    message = r"learning_rate\(2\)"
    if going.steps.compiled:
        with pytest.raises((ValueError, TypeError), match=message):
            going.epoch(p.X, p.Y, batch_size=6)
        assert going.net.theta.tobytes() == p.theta.tobytes()
    going.step(p.X, p.Y)
    going.step(p.X, p.Y)
    before = going.net.theta.copy()
    with pytest.raises((ValueError, TypeError), match=message):
        going.step(p.X, p.Y)
    np.testing.assert_array_equal(going.net.theta, before)
    assert going.state["t"] == 2


@pytest.mark.parametrize("rates", [[0.1], [0.1, -0.1], [0.1, np.nan], [[0.1, 0.1]], "a"])
def test_bad_rates_are_refused(rates):
    p = problem(m=8)
    going = trainer(p, "sgd")
    with pytest.raises((ValueError, TypeError), match="rates"):
        going.steps.take(going.net.data(p.X, p.Y), 4, rates=rates)
    assert going.net.theta.tobytes() == p.theta.tobytes()


def test_a_rate_of_0_moves_nothing_but_the_state():
    p = problem(m=8)
    going = trainer(p, "adam", fastbp.Adam(lambda t: 0.0))
    for go in (lambda: going.step(p.X, p.Y), lambda: going.epoch(p.X, p.Y, batch_size=4)):
        go()
        assert going.net.theta.tobytes() == p.theta.tobytes()
    assert going.state["t"] == 3
    assert going.state["v"].any()
