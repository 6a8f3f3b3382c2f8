"""Paths of checkpoints: relative, odd, links, none at all."""

import os

import pytest
from test_checkpoint_course import X, Y, network, run, same

import fastbp
from fastbp.training import checkpoint


@pytest.fixture
def path(quick_folder):
    return quick_folder / "t"


@pytest.mark.parametrize("kind", [str, os.fsencode])
def test_a_relative_path_is_the_same_file_wherever_the_process_goes(path, monkeypatch, kind):
    away = path.parent / "away"
    away.mkdir()
    monkeypatch.chdir(path.parent)
    whole, net = network(), network()
    expected = run(whole)
    run(net, epochs=3, checkpoint=kind("t"), callbacks=[lambda training: os.chdir(away)])
    assert not list(away.iterdir())
    os.chdir(path.parent)
    same(net, run(net, checkpoint=kind("t"), resume=True), whole, expected)


@pytest.mark.parametrize("name", ["with space", "Θ", "x" * 255, os.fsdecode(b"\xff"), "%s {0} \n", ".hidden", "-n"])
def test_any_name_that_the_system_takes_will_do(path, name):
    path = path.parent / name
    whole, net = network(), network()
    expected = run(whole)
    run(net, epochs=2, checkpoint=path)
    same(net, run(net, checkpoint=path, resume=True), whole, expected)
    with pytest.raises(ValueError, match="epochs is 1"):
        run(net, epochs=1, checkpoint=path, resume=True)


def test_a_symbolic_link_stays_and_leads_to_the_checkpoint(path):
    target = path.parent / "target"
    path.symlink_to(target)
    run(network(), epochs=2, checkpoint=path, resume=True)
    assert path.is_symlink()
    assert len(checkpoint.read(target).history) == 2


@pytest.mark.parametrize("name", ["", ".", "no/such/t"])
def test_a_path_that_is_no_file_is_an_error_before_the_first_step(path, monkeypatch, name):
    monkeypatch.chdir(path.parent)
    net = network()
    theta = net.theta.copy()
    for resume in (False, True):
        with pytest.raises(OSError):
            run(net, checkpoint=name, resume=resume)
    assert (net.theta == theta).all()
    assert not list(path.parent.iterdir())


def test_one_path_for_several_trainings_holds_the_last(path):
    for seed in range(3):
        net = network(seed)
        run(net, epochs=2, checkpoint=path, resume=False)
        assert (fastbp.load(path).theta == net.theta).all()
    with pytest.raises(ValueError, match="layer_sizes"):
        fastbp.train(fastbp.Network([5, 2]), X, Y, epochs=3, checkpoint=path, resume=True)
