"""REINFORCE: a policy learns to balance a pole only from the returns of its own episodes.

    J = -(1/m) sum advantage log pi(action | state),   dJ/dz = (1/m) advantage (pi - one_hot(action))
"""

import sys

import numpy as np
from cartpole import CartPoles, mean_return

import fastbp


def policy_gradient(z, Y, w):
    """Y has the columns action and advantage"""
    action, advantage = Y[:, 0].astype(int), Y[:, 1]
    log_pi = z - np.logaddexp(z[:, 0], z[:, 1])[:, np.newaxis]
    right = np.eye(2)[action]
    return -advantage * (right * log_pi).sum(axis=1), advantage[:, np.newaxis] * (np.exp(log_pi) - right)


def episodes(net, n, rng):
    """Run n episodes of the policy -> (states, actions, returns) of all their steps"""
    carts, alive, steps = CartPoles(n, rng), np.ones(n, bool), []
    while alive.any():
        state = carts.state.copy()
        action = (rng.random(n) < net.predict(state)[:, 1]).astype(int)
        steps.append((state, action, alive.copy()))
        alive &= ~carts.step(action)[1]
    later, returns = np.zeros(n), []
    for _, _, lives in reversed(steps):
        later = lives * (1 + 0.99 * later)
        returns.append(later)
    mask = np.array([lives for _, _, lives in steps])
    return (np.array([state for state, _, _ in steps])[mask], np.array([action for _, action, _ in steps])[mask],
            np.array(returns[::-1])[mask])


def train(seed, updates=150):
    """The policy, and its mean return"""
    rng = np.random.default_rng(seed)
    net = fastbp.Network([4, 32, 2], activation="tanh", output="softmax", loss=policy_gradient, seed=seed)
    trainer = fastbp.Trainer(net, fastbp.Adam(0.01), clip_norm=1.0)
    for update in range(updates):
        states, actions, returns = episodes(net, 16, rng)
        advantage = (returns - returns.mean()) / (returns.std() + 1e-8)
        trainer.step(states, np.column_stack([actions, advantage]))
        if update % 10 == 9 and mean_return(lambda X: net.predict(X).argmax(axis=1), rng, 20) == 500:
            break
    return net, mean_return(lambda X: net.predict(X).argmax(axis=1), rng)


if __name__ == "__main__":
    for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
        print(f"seed {seed}: mean return {train(seed)[1]:.0f} of 500")
