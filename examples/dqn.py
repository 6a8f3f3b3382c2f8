"""DQN: a network learns Q(state, action) of a cart-pole from a memory of steps (Mnih et al. 2015, van Hasselt 2016).

    J = (1/m) sum huber(Q(s, a) - y),   y = r + 0.99 Q'(s', argmax Q(s', .)), or y = r if the pole has fallen
"""

import sys

import numpy as np
from cartpole import CartPoles, mean_return

import fastbp


def q_loss(z, Y, w):
    """The Huber loss of the action that was taken; Y has the columns action and y"""
    rows, action = np.arange(len(z)), Y[:, 0].astype(int)
    e, slopes = z[rows, action] - Y[:, 1], np.zeros_like(z)
    slopes[rows, action] = c = np.clip(e, -1, 1)
    return c * (e - c / 2), slopes


SCALE = np.array([0.5, 0.5, 5.0, 0.5])      # of the states, to about [-1, 1]


class Memory:
    """The last `size` steps, one per row: state, action, fallen, next state"""

    def __init__(self, size):
        self.rows, self.n = np.empty((size, 10)), 0

    def add(self, *columns):
        new = np.column_stack(columns)
        self.rows[np.arange(self.n, self.n + len(new)) % len(self.rows)] = new
        self.n += len(new)

    def sample(self, m, rng):
        rows = self.rows[rng.integers(0, min(self.n, len(self.rows)), m)]
        return rows[:, :4], rows[:, 4], rows[:, 5], rows[:, 6:]


def train(seed, updates=20000):
    """The network, and the mean return of its greedy policy"""
    rng = np.random.default_rng(seed)
    net = fastbp.Network([4, 64, 64, 2], activation="tanh", loss=q_loss, seed=seed)
    slow, best, best_return = net.copy(), net.theta.copy(), 0.0
    trainer = fastbp.Trainer(net, fastbp.Adam(fastbp.schedules.Cosine(1e-3, updates)), clip_norm=10.0)
    carts, memory = CartPoles(8, rng), Memory(50_000)
    for update in range(updates):
        state, explore = SCALE * carts.state, max(0.02, 1 - update / 1500)
        action = np.where(rng.random(8) < explore, rng.integers(0, 2, 8), net.predict(state).argmax(axis=1))
        fallen, over = carts.step(action)
        memory.add(state, action, fallen, SCALE * carts.state)
        carts.reset(over)
        if update < 100:
            continue
        X, action, fallen, following = memory.sample(128, rng)
        Q, choice = slow.predict(following), net.predict(following).argmax(axis=1)
        y = 1 + 0.99 * (1 - fallen) * Q[np.arange(128), choice]
        trainer.step(X, np.column_stack([action, y]))
        slow.theta[:] += 0.01 * (net.theta - slow.theta)
        if update % 500 == 499:
            score = mean_return(lambda X: net.predict(SCALE * X).argmax(axis=1), rng, 20)
            if score > best_return:
                best, best_return = net.theta.copy(), score
            if score == 500:
                break
    net.theta = best
    return net, mean_return(lambda X: net.predict(SCALE * X).argmax(axis=1), rng)


if __name__ == "__main__":
    for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
        print(f"seed {seed}: mean return {train(seed)[1]:.0f} of 500")
