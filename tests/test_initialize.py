"""Start values: the schemes and their statistics, seeds, given values, and the warning about equal units."""

import numpy as np
import pytest
from helpers import DTYPES, problem, untouched_global_random_state

import fastbp


def biases_and_weights(net, l=0):
    return net.Theta[l][:, 0], net.Theta[l][:, 1:]


@pytest.mark.parametrize("dtype", DTYPES)
def test_glorot_draws_within_its_bound_and_biases_zero(dtype):
    net = fastbp.Network([300, 200, 100], dtype=dtype, init="glorot_uniform", seed=0)
    for l, (fan_in, fan_out) in enumerate([(300, 200), (200, 100)]):
        b, W = biases_and_weights(net, l)
        bound = np.sqrt(6 / (fan_in + fan_out))
        assert not b.any()
        assert np.abs(W).max() <= bound * (1 + 1e-6)
        assert np.abs(W).max() > 0.99 * bound
        assert W.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)
        assert abs(W.mean()) < 0.03 * bound


@pytest.mark.parametrize("dtype", DTYPES)
def test_he_draws_with_variance_two_over_fan_in_and_biases_zero(dtype):
    net = fastbp.Network([300, 200, 100], dtype=dtype, activation="relu", init="he_normal", seed=0)
    for l, fan_in in enumerate([300, 200]):
        b, W = biases_and_weights(net, l)
        assert not b.any()
        assert W.std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.03)
        assert abs(W.mean()) < 0.01
        assert np.abs(W).max() > 3 * W.std()


def test_normal_draws_weights_and_biases_of_size_one_hundredth():
    net = fastbp.Network([100, 900, 1], init="normal", seed=0)
    b, W = biases_and_weights(net)
    assert W.std() == pytest.approx(0.01, rel=0.03)
    assert b.std() == pytest.approx(0.01, rel=0.15)
    assert abs(W.mean()) < 2e-4
    assert np.abs(W).max() > 0.03


def test_uniform_draws_weights_and_biases_within_twelve_hundredths():
    net = fastbp.Network([100, 900, 1], init="uniform", seed=0)
    b, W = biases_and_weights(net)
    for values in (b, W):
        assert 0.11 < np.abs(values).max() <= 0.12
        assert values.std() == pytest.approx(0.12 / np.sqrt(3), rel=0.06)


@pytest.mark.parametrize(("activation", "steep"), [("tanh", 1), ("sigmoid", 2), ("relu", 1)])
def test_nguyen_widrow_spreads_the_hidden_units_evenly(activation, steep):
    net = fastbp.Network([3, 20, 6, 2], activation=activation, init="nguyen_widrow", seed=0)
    b, W = biases_and_weights(net)
    beta = 0.7 * 20 ** (1 / 3) * steep
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), beta, rtol=1e-12)
    np.testing.assert_allclose(b * np.sign(W[:, 0]), np.linspace(-beta, beta, 20), rtol=1e-12)
    b, W = biases_and_weights(net, 1)
    beta, halves = 0.7 * 6 ** (1 / 20) * steep, 2 if activation == "sigmoid" else 1    # sigmoids lie in [0, 1]
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), beta * halves, rtol=1e-12)
    centred = b if halves == 1 else b + W.sum(axis=1) / 2
    np.testing.assert_allclose(centred * np.sign(W[:, 0]), np.linspace(-beta, beta, 6), rtol=1e-10)
    last = net.Theta[2]
    assert np.abs(last).max() <= 0.5
    assert last.std() == pytest.approx(1 / np.sqrt(12), rel=0.4)
    alone = fastbp.Network([3, 1, 1], activation=activation, init="initnw", seed=0)
    assert alone.Theta[0][0, 0] == 0


@pytest.mark.parametrize("init", ["glorot_uniform", "he_normal", "normal", "uniform", "nguyen_widrow"])
def test_a_seed_fixes_the_starting_values_and_none_draws_fresh_ones(init):
    def draw(seed):
        return fastbp.Network([4, 5, 3], init=init, seed=seed).theta.copy()

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()
    assert (draw(None) != draw(None)).any()
    net = fastbp.Network([4, 5, 3], init=init, seed=7)
    net.theta[:] = 1
    net.initialize(1)
    np.testing.assert_array_equal(net.theta, draw(1))


def test_numpys_global_random_state_is_neither_used_nor_moved():
    with untouched_global_random_state():
        first = fastbp.Network([4, 5, 3]).theta.copy()
    with untouched_global_random_state():
        assert (fastbp.Network([4, 5, 3]).theta != first).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_start_values_are_copied_in_flat_or_as_matrices(dtype):
    p = problem((3, 4, 2))
    Theta = [T.copy() for T in p.model.Theta(p.theta)]
    for init in (p.theta, p.theta.tolist(), Theta, tuple(Theta), [T.tolist() for T in Theta]):
        net = fastbp.Network((3, 4, 2), dtype=dtype, init=init)
        np.testing.assert_array_equal(net.theta, p.theta.astype(dtype))
        assert not np.shares_memory(net.theta, p.theta)


def test_units_that_start_equal_are_warned_of():
    with pytest.warns(UserWarning, match=r"(?i)equal|same|symmetr"):
        fastbp.Network([3, 4, 2], init=np.zeros(26))
    values = fastbp.Network([3, 4, 2], seed=0)
    values.Theta[0][2] = values.Theta[0][1]
    values.Theta[1][:, 3] = values.Theta[1][:, 2]
    with pytest.warns(UserWarning, match=r"(?i)equal|same|symmetr"):
        fastbp.Network([3, 4, 2], init=values.theta)


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("call", ["train", "minimize"])
def test_units_that_start_equal_are_warned_of_where_training_begins(call, layer):
    p = problem((3, 4, 5, 2), m=10)
    net = p.network()
    net.Theta[layer - 1][2] = net.Theta[layer - 1][1]
    net.Theta[layer][:, 3] = net.Theta[layer][:, 2]
    options = {"optimizer": fastbp.SGD(0.1), "epochs": 1} if call == "train" else {"maxiter": 1}
    with pytest.warns(UserWarning, match=r"(?i)equal|same|symmetr"):
        getattr(fastbp, call)(net, p.X, p.Y, **options)


def test_zeros_without_a_hidden_layer_and_single_units_are_fine():
    fastbp.Network([3, 2], init=np.zeros(8))  # any warning is an error here
    fastbp.Network([3, 1, 2], init=np.zeros(8))


def test_none_is_no_way_to_start():
    with pytest.raises(TypeError, match=r"init must be one of .* got None"):
        fastbp.Network([3, 2], init=None)


def test_matrices_of_several_shapes_may_stand_in_an_array_of_objects():
    Theta = [np.arange(9.0).reshape(3, 3), np.arange(4.0).reshape(1, 4)]
    held = np.empty(2, object)
    held[:] = Theta
    net = fastbp.Network([2, 3, 1], init=held)
    assert all((own == given).all() for own, given in zip(net.Theta, Theta, strict=True))
