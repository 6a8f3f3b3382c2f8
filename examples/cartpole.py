"""The cart-pole of Barto, Sutton and Anderson (1983), as in Gym's CartPole-v1, for many carts at a time."""

import numpy as np

LIMIT = 500     # most steps of an episode


class CartPoles:
    """n carts. The state of each is (position, velocity, angle, angular velocity); the actions are 0, left, and 1.

    An episode ends when the pole falls over, when the cart leaves the track, or after LIMIT steps.
    """

    def __init__(self, n, rng):
        self.rng, self.state, self.steps = rng, np.empty((n, 4)), np.zeros(n, int)
        self.reset(np.ones(n, bool))

    def reset(self, which):
        """Restart these episodes"""
        self.state[which] = self.rng.uniform(-0.05, 0.05, (which.sum(), 4))
        self.steps[which] = 0

    def step(self, action):
        """Take one action per cart, with a reward of 1 -> (has the pole fallen, is the episode over)"""
        x, v, angle, omega = self.state.T
        sin, cos = np.sin(angle), np.cos(angle)
        push = (np.where(action == 1, 10.0, -10.0) + 0.05 * omega**2 * sin) / 1.1
        alpha = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        a = push - 0.05 * alpha * cos / 1.1
        self.state = np.stack([x + 0.02 * v, v + 0.02 * a, angle + 0.02 * omega, omega + 0.02 * alpha], axis=1)
        self.steps += 1
        fallen = (np.abs(self.state[:, 0]) > 2.4) | (np.abs(self.state[:, 2]) > 12 * np.pi / 180)
        return fallen, fallen | (self.steps >= LIMIT)


def mean_return(policy, rng, episodes=100):
    """The mean length of episodes under policy(states) -> actions"""
    carts, alive, lengths = CartPoles(episodes, rng), np.ones(episodes, bool), np.zeros(episodes)
    while alive.any():
        lengths += alive
        alive &= ~carts.step(policy(carts.state))[1]
    return lengths.mean()
