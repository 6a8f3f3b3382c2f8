"""Progress on a terminal and in other streams."""

import io
import re
from contextlib import nullcontext

import pytest
from helpers import problem

import fastbp
from fastbp.training import feed, progress


@pytest.fixture
def history():
    p = problem((4, 6, 3), "tanh", "softmax", m=40)
    return fastbp.train(p.network(), p.X, p.labels, epochs=3, validation_split=0.25, metrics=["mse"], seed=0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_a_bar_tells_rate_cost_and_validation(history):
    pytest.importorskip("tqdm")
    stream = Terminal()
    with progress.bar(3, stream) as report:
        report(history)
    text = stream.getvalue()
    for name in ("J", "val_J"):
        assert f"{name} {history[name][-1]:.5f}" in text
    for part in ("1/3", "examples/s", "val_accuracy", "mse"):
        assert part in text, part


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "file"])
def test_long_epochs_tell_how_far_they_are_and_short_ones_do_not(stream, history, monkeypatch):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress.bar(5, stream) as report:
        report(history, 10_000)
        assert "10" not in stream.getvalue()
        now = 2.0
        report(history, 20_000)
        now = 2.1
        report(history, 30_000)
    text = stream.getvalue()
    assert re.search(r"epoch 4(/5)?: 20(,000|\.0k) examples", text)
    assert "30" not in text.split("examples", 1)[1].split("]")[0]


@pytest.mark.parametrize("form", ["windows", "chunks"])
def test_an_epoch_reports_after_each_of_its_pieces(form, monkeypatch):
    seen = []
    monkeypatch.setattr(progress, "bar", lambda epochs, done: nullcontext(lambda history, examples=None: seen.append(
        (len(history), examples))))  # fmt: skip
    monkeypatch.setattr(feed, "PIECE", 1)
    p = problem(m=20)
    data = (p.X, p.Y) if form == "windows" else ([(p.X, p.Y)],)
    fastbp.train(p.network(), *data, epochs=2, batch_size=4, window=8, progress=True)
    assert seen == [(0, 8), (0, 16), (0, 20), (1, None), (1, 8), (1, 16), (1, 20), (2, None)]


def test_elsewhere_plain_lines_and_about_ten_of_them(history):
    stream = io.StringIO()
    with progress.bar(200, stream) as report:
        for epoch in range(1, 201):
            report(fastbp.History(J=[1.0] * epoch, seconds=[0.001] * epoch, examples=10))
    lines = stream.getvalue().splitlines()
    assert 10 <= len(lines) <= 13
    assert lines[-1] == "epoch 200/200: J 1.00000, 10,000 examples/s"


class Broken(io.StringIO):
    """A stream whose methods fail from the n-th call on"""

    def __init__(self, n, error, terminal):
        super().__init__()
        self.left, self.error, self.terminal = n, error, terminal

    def _spend(self):
        self.left -= 1
        if self.left < 0:
            raise self.error

    def isatty(self):
        self._spend()
        return self.terminal

    def write(self, text):
        self._spend()
        return super().write(text)

    def flush(self):
        self._spend()


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("error", [BrokenPipeError("gone"), ValueError("I/O operation on closed file"),
                                   UnicodeEncodeError("ascii", "x", 0, 1, "no"), OSError(28, "No space left")])
@pytest.mark.parametrize("n", [0, 1, 2, 5, 9])
def test_fault_61_a_broken_stream_ends_the_reports_and_not_the_training(n, error, terminal, monkeypatch):
    p = problem()
    monkeypatch.setattr("sys.stderr", Broken(n, error, terminal))
    net, silent = p.network(), p.network()
    history = fastbp.train(net, p.X, p.Y, epochs=12, seed=0, progress=True)
    monkeypatch.undo()
    assert len(history) == 12
    fastbp.train(silent, p.X, p.Y, epochs=12, seed=0)
    assert net.theta.tobytes() == silent.theta.tobytes()


@pytest.mark.parametrize("stream", [None, io.StringIO(), object()])
def test_fault_61_no_stream_at_all_and_a_closed_one_are_none(stream, monkeypatch, capsys):
    p = problem()
    if isinstance(stream, io.StringIO):
        stream.close()
    monkeypatch.setattr("sys.stderr", stream)
    assert len(fastbp.train(p.network(), p.X, p.Y, epochs=3, seed=0, progress=True)) == 3
    monkeypatch.undo()
    assert capsys.readouterr().out == ""


def test_fault_61_an_error_of_the_training_still_arrives(monkeypatch):
    class Fails:
        def on_epoch_end(self, training):
            raise KeyError("as planned")

    monkeypatch.setattr("sys.stderr", Broken(0, BrokenPipeError(), True))
    with pytest.raises(KeyError, match="as planned"):
        fastbp.train(problem().network(), problem().X, problem().Y, epochs=3, progress=True, callbacks=[Fails()])
