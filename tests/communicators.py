"""Communicators for tests, with one rank or with several threads of this process, and helpers of these tests."""

import itertools
import threading

import numpy as np

import fastbp
from fastbp.distributed.group import RankError

TIMEOUT = 20  # seconds after which a rank that waits for another fails


class Serial:
    """One rank"""

    def Get_rank(self):
        return 0

    def Get_size(self):
        return 1

    def Allreduce(self, mine, total):
        assert not np.shares_memory(mine, total), "MPI forbids it"
        np.copyto(total, mine)

    def Bcast(self, array, root=0):
        pass


class Threads:
    """A rank of several, each a thread; it has only the four required methods."""

    def __init__(self, rank, shared):
        self.rank, self.shared, self.calls = rank, shared, 0

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.shared.size

    def Allreduce(self, mine, total):
        assert not np.shares_memory(mine, total), "MPI forbids it"
        arrays = self._meet(mine)
        assert {(a.shape, a.dtype) for a in arrays} == {(mine.shape, mine.dtype)}, "the ranks sum different arrays"
        result = arrays[0].copy()
        for a in arrays[1:]:
            result += a
        self._meet(None)        # all have read before anyone writes
        total[...] = result

    def Bcast(self, array, root=0):
        arrays = self._meet(array)
        assert {(a.shape, a.dtype) for a in arrays} == {(array.shape, array.dtype)}, "the ranks share different arrays"
        values = arrays[root].copy()
        self._meet(None)
        array[...] = values

    def Abort(self, code):
        self.shared.aborted.append((self.rank, code))
        self.shared.barrier.abort()

    def _meet(self, value):
        """The contributions of all ranks"""
        self.calls += 1
        self.shared.places[self.rank] = value
        self.shared.barrier.wait(TIMEOUT)
        values = list(self.shared.places)
        self.shared.barrier.wait(TIMEOUT)
        return values


class Segments(Threads):
    """The same, with Alltoall and Allgather"""

    def Alltoall(self, mine, received):
        arrays = self._meet(mine)
        parts = [a.reshape(self.shared.size, -1)[self.rank].copy() for a in arrays]
        self._meet(None)
        received.reshape(self.shared.size, -1)[...] = parts

    def Allgather(self, mine, received):
        arrays = [a.ravel() for a in self._meet(mine)]
        whole = np.concatenate(arrays)
        self._meet(None)
        received.reshape(-1)[...] = whole


class _Shared:
    def __init__(self, size):
        self.size, self.places, self.barrier, self.aborted = size, [None] * size, threading.Barrier(size), []


def ranks(size, function, kind=Threads):
    """[function(comm) of each rank], exceptions in place of results; a rank that ends early leaves others waiting"""
    shared, results = _Shared(size), [None] * size

    def run(rank):
        try:
            results[rank] = function(kind(rank, shared))
        except BaseException as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def all_of(size, function, kind=Threads):
    """The same, but no rank may fail"""
    results = ranks(size, function, kind)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


class Plain(fastbp.optimizers.Optimizer):
    """A rule that exists only in Python"""

    def __init__(self, rate=0.2):
        self.learning_rate = rate

    def init(self, theta):
        return {"t": 0, "mean": np.zeros_like(theta)}

    def update(self, theta, D, state):
        state["t"] += 1
        state["mean"] += 0.1 * (D - state["mean"])
        theta -= self.learning_rate * state["mean"]


def digits(m=400):
    X, y = fastbp.datasets.load_digits()
    return X[:m] / 16, y[:m]


def network(seed=0, dtype=np.float64, sizes=(64, 12, 10), **settings):
    return fastbp.Network(sizes, activation="tanh", output="softmax", dtype=dtype, seed=seed, **settings)


def same(results):
    """Do all these tuples of numbers and arrays have the same bits?"""
    first = results[0]
    return all(np.array_equal(a, b) for other in results[1:] for a, b in zip(first, other, strict=True))


def told(results, error, text, failed=1):
    """The failed rank raises its own error, the others raise a RankError that names it"""
    for rank, result in enumerate(results):
        if rank == failed:
            assert isinstance(result, error), result
            assert text in str(result)
            assert f"on rank {rank} of {len(results)}" in result.__notes__[0]
        else:
            assert isinstance(result, RankError), result
            assert f"rank {failed} of {len(results)} failed: {error.__name__}" in str(result)
            assert text in str(result)
            assert result.rank == failed


def shards(m, lengths):
    """Slices of m rows of these lengths"""
    ends = np.cumsum([0, *lengths])
    assert ends[-1] == m
    return [slice(a, b) for a, b in itertools.pairwise(ends)]

