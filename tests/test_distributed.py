"""Groups of ranks and their sums; ranks are threads with a communicator of four methods."""


import numpy as np
import pytest
from communicators import Segments, Serial, Threads, all_of, digits, network, ranks, same, shards, told
from helpers import DTYPES, distance, tolerance

import fastbp
from fastbp import distributed
from fastbp.distributed.group import Group, bounds, pair_by_pair

# ---------------------------------------------------------------- groups


def test_rows_are_shared_out_in_order_and_parts_are_the_same_ones_for_any_number_of_ranks():
    for m in (0, 1, 7, 8, 30, 101):
        cut = {}
        for p in (1, 2, 4):
            own = all_of(p, lambda comm, m=m: distributed.rows(m, Group(comm, parts=4)))
            assert [i for each in own for i in range(m)[each]] == list(range(m))
            cut[p] = [first + each.start for each in own
                      for first, _ in bounds(each.stop - each.start, 4 // p)]
        assert cut[1] == cut[2] == cut[4]


def test_sums_are_added_pair_by_pair():
    class Term(str):
        def __iadd__(self, other):
            return Term(f"({self}+{other})")

    expectations = {1: "a", 2: "(a+b)", 3: "((a+b)+c)", 4: "((a+b)+(c+d))", 7: "(((a+b)+(c+d))+((e+f)+g))"}
    for n, expected in expectations.items():
        assert pair_by_pair([Term(letter) for letter in "abcdefg"[:n]]) == expected


@pytest.mark.parametrize("comm", [3, object(), "world", np.zeros(3), Serial])
def test_what_is_no_communicator_is_a_type_error_that_names_comm(comm):
    X, y = digits()
    for call in (
        lambda: fastbp.train(network(), X, y, epochs=1, comm=comm), lambda: fastbp.minimize(network(), X, y, comm=comm),
        lambda: network().cost_and_gradient(X, y, comm=comm), lambda: fastbp.Trainer(network(), comm=comm),
    ):
        with pytest.raises(TypeError, match="comm must be a communicator as of mpi4py"):
            call()


@pytest.mark.parametrize("parts", [0, 3, 6, 2.0])
def test_parts_must_be_the_ranks_times_a_power_of_two(parts):
    for error in ranks(2, lambda comm: Group(comm, parts=parts)):
        assert isinstance(error, (ValueError, TypeError))
        assert "parts" in str(error)


def test_parts_that_are_no_number_on_one_rank_are_raised_on_all():
    told(ranks(2, lambda comm: Group(comm, parts=[2, "two"][comm.Get_rank()])), TypeError, "parts must be")


class Elsewhere(Serial):
    """A communicator without this process"""

    def __init__(self, rank, size):
        self.place = rank, size

    def Get_rank(self):
        return self.place[0]

    def Get_size(self):
        return self.place[1]


@pytest.mark.parametrize("place", [(0, 0), (-1, 2), (2, 2), (None, 1), (0, "two")])
@pytest.mark.parametrize("use", [Group, lambda comm: fastbp.distributed.rows(10, comm)])
def test_a_communicator_without_this_process_is_refused(use, place):
    with pytest.raises(ValueError, match="comm must be a communicator with ranks, this process among them"):
        use(Elsewhere(*place))


def test_settings_are_told_apart_by_value_and_never_by_address():
    from fastbp.distributed.describe import digest

    assert digest(fastbp.Adam(1e-3)) == digest(fastbp.Adam(1e-3)) != digest(fastbp.Adam(2e-3))
    assert digest(fastbp.schedules.Cosine(0.1, steps=5)) == digest(fastbp.schedules.Cosine(0.1, steps=5))
    assert digest(fastbp.schedules.Cosine(0.1, steps=5)) != digest(fastbp.schedules.Cosine(0.1, steps=6))
    assert digest(np.float32(1)) == digest(1.0) != digest("1.0")
    assert digest({"a": 1, "b": [2, None]}) == digest({"b": (2, None), "a": 1})
    assert digest(np.zeros(3)) != digest(np.zeros(3, np.float32))
    assert digest(np.zeros(3)) == digest(np.zeros(3)) != digest(np.zeros((3, 1)))
    assert digest(fastbp.Adam) == digest(fastbp.Adam) != digest(fastbp.SGD)
    assert digest(digits) == digest(digits) != digest(network)
    assert digest({3, "a", 1.5}) == digest({"a", 1.5, 3}) != digest({3, "a"})
    assert digest([1, 2]) != digest([2, 1])


def test_digests_take_48_bits():
    from fastbp.distributed.describe import digest

    found = [digest(i) for i in range(300)]
    assert 2**47 < max(found) < 2**48
    assert len(set(found)) == 300


def test_settings_are_looked_into_four_objects_deep():
    from fastbp.distributed.describe import DEPTH, describe

    def within(value, depth):
        return within([value], depth - 1) if depth else value

    assert DEPTH == 4
    assert describe({1: {2: {3: {4: fastbp.Adam(1e-3)}}}}) == "{1: {2: {3: {4: fastbp.optimizers.Adam}}}}"
    assert describe(within(fastbp.Adam(1e-3), 2)) != describe(within(fastbp.Adam(2e-3), 2))
    assert describe(within(fastbp.Adam(1e-3), 4)) == "((((fastbp.optimizers.Adam))))"
    assert describe(fastbp.schedules.Constant(0.5)) == "fastbp.schedules.Constant{learning_rate: 0.5}"


# ---------------------------------------------------------------- sums


@pytest.mark.parametrize("kind", [Threads, Segments])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_J_and_D_are_those_of_all_rows_with_the_same_bits_for_1_2_and_4_ranks(dtype, weighted, kind):
    X, y = digits()
    w = np.random.default_rng(0).uniform(0, 2, len(X)) if weighted else None
    net, settings = network(dtype=dtype), {"lam": 0.7, "l1": 1e-3}
    J, D = net.cost_and_gradient(X, y, sample_weight=w, **settings)

    def on_rank(comm):
        group = Group(comm, parts=4)
        own = distributed.rows(len(X), group)
        w_own = None if w is None else w[own]
        J, D = net.cost_and_gradient(X[own], y[own], sample_weight=w_own, comm=group, **settings)
        assert net.cost(X[own], y[own], sample_weight=w_own, comm=group, **settings) == J
        return J, D, *net.evaluate(X[own], y[own], sample_weight=w_own, comm=group)

    results = [result for p in (1, 2, 4) for result in all_of(p, on_rank, kind)]
    assert same(results)
    assert results[0][0] == pytest.approx(J, rel=tolerance(dtype, "bits"))
    assert distance(results[0][1], D) < tolerance(dtype, "bits")
    assert results[0][2:] == pytest.approx(net.evaluate(X, y, sample_weight=w), rel=tolerance(dtype, "bits"))


@pytest.mark.parametrize("lengths", [(400, 0, 0), (0, 1, 399), (13, 380, 7)])
def test_shards_may_be_unequal_and_empty(lengths):
    X, y = digits()
    net = network()
    J, D = net.cost_and_gradient(X, y)

    def on_rank(comm):
        own = shards(len(X), lengths)[comm.Get_rank()]
        return (*net.cost_and_gradient(X[own], y[own], comm=comm), *net.evaluate(X[own], y[own], comm=comm))

    results = all_of(3, on_rank)
    assert same(results)
    assert results[0][0] == pytest.approx(J, rel=1e-13)
    assert distance(results[0][1], D) < 1e-13
    assert results[0][2:] == pytest.approx(net.evaluate(X, y), rel=1e-13)


def test_a_rank_may_have_only_weights_of_0_but_not_all_of_them():
    X, y = digits(60)
    net, w = network(), np.repeat([0.0, 1.0], 30)

    def on_rank(comm, w=w):
        own = distributed.rows(60, comm)
        return net.cost_and_gradient(X[own], y[own], sample_weight=w[own], comm=comm)

    J, D = net.cost_and_gradient(X, y, sample_weight=w)
    for got in all_of(2, on_rank):
        assert got[0] == pytest.approx(J, rel=1e-14)
        assert distance(got[1], D) < 1e-13
    for error in ranks(2, lambda comm: on_rank(comm, 0 * w)):
        assert isinstance(error, ValueError)
        assert "sample_weight must have a positive sum over all ranks" in str(error)
    for error in ranks(2, lambda comm: net.cost_and_gradient(X[:0], y[:0], comm=comm)):
        assert isinstance(error, ValueError)
        assert "X has 0 rows on every rank" in str(error)


def test_costs_of_any_size_arrive_as_they_are_in_float32():
    values = [1e-300, -3.5, 1e300, np.pi, 2.0**-1074, 0.0, -0.1]

    def on_rank(comm):
        from fastbp.distributed.sum import Part, Sum

        total = Sum(Group(comm), 3, np.float32, extra=1)
        sums = total(np.zeros(4), lambda i, Delta: (Delta.fill(1), Part(0.1, 3.0, comm.Get_rank() == 1))[1],
                     lambda: [values[comm.Get_rank()]])
        return *sums, total.Delta.copy(), total.extra[:, 0].copy()

    for cost, weight, more, Delta, extra in all_of(7, on_rank):
        assert (cost, weight, more) == (((0.1 + 0.1) + (0.1 + 0.1)) + ((0.1 + 0.1) + 0.1), 21.0, True)
        assert (Delta == 7).all()
        assert extra.tolist() == values


def test_infinite_and_missing_costs_arrive_too():
    def on_rank(comm):
        from fastbp.distributed.sum import Part, Sum

        value = [1.0, np.inf][comm.Get_rank()]
        return Sum(Group(comm), 1, np.float32)(np.zeros(2), lambda i, Delta: (Delta.fill(0), Part(value, 1))[1])[0]

    assert all_of(2, on_rank) == [np.inf, np.inf]
