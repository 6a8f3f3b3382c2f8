"""Cox regression: the risk of an event over time, learned from times that are partly censored.

The loss is minus the partial log-likelihood of Breslow: event i costs log(sum of e^z over all still at risk) - z_i. It
couples all examples of a batch. Without a hidden layer this is the textbook's proportional-hazards model.
"""

import numpy as np

import fastbp


def partial_likelihood(z, Y, w):
    """Y has the columns time and event (0: censored); weights are not used"""
    order = np.argsort(-Y[:, 0], kind="stable")     # the risk set of an example: those before it, and ties
    time, event, risk = Y[order, 0], Y[order, 1], np.exp(z[order, 0] - z.max())
    last_tie = np.searchsorted(-time, -time, side="right") - 1
    at_risk = np.cumsum(risk)[last_tie]
    costs, slopes = np.empty(len(z)), np.empty_like(z)
    costs[order] = event * (z.max() + np.log(at_risk) - z[order, 0])
    first_tie = np.searchsorted(-time, -time, side="left")
    later_events = np.cumsum((event / at_risk)[::-1])[::-1][first_tie]    # events whose risk set has the example
    slopes[order, 0] = risk * later_events - event
    return costs, slopes


def concordance(z, time, event):
    """The fraction of the pairs with known order in which the higher risk came first"""
    known = (time[:, None] < time[None, :]) & (event[:, None] == 1)
    return ((z[:, None] > z[None, :]) & known).sum() / known.sum()


def patients(m, rng):
    """Standardised measurements, and (time, event); the true log risk is x_0 - 0.5 x_1 + x_2^2 / 2"""
    X = rng.standard_normal((m, 5))
    risk = X[:, 0] - 0.5 * X[:, 1] + 0.5 * X[:, 2] ** 2
    time, censored = rng.exponential(np.exp(-risk)), rng.exponential(2.0, m)
    return X, np.column_stack([np.minimum(time, censored), time <= censored])


def main():
    rng = np.random.default_rng(0)
    (X, Y), (X_test, Y_test) = patients(2000, rng), patients(1000, rng)
    linear = fastbp.Network([5, 1], loss=partial_likelihood, seed=0)
    fastbp.minimize(linear, X, Y)
    print("coefficients:", np.round(linear.Theta[0][0, 1:], 2))
    deep = fastbp.Network([5, 16, 1], activation="tanh", loss=partial_likelihood, seed=0)
    fastbp.train(deep, X, Y, optimizer=fastbp.Adam(0.01), epochs=60, batch_size=500, weight_decay=1e-3, seed=0)
    for name, net in (("linear", linear), ("16 hidden units", deep)):
        print(f"{name}: concordance {concordance(net.forward(X_test)[:, 0], *Y_test.T):.3f}")


if __name__ == "__main__":
    main()
