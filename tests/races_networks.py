"""Calls that read a network, its data and what is made of it, for the finder of races (races.py)."""

import copy
import pickle
import random
import threading

import numpy as np

import fastbp
from fastbp import container
from fastbp.engine import objective, regularisation

OUTPUTS = [("softmax", None), ("sigmoid", None), ("identity", None), ("exp", None)]


def half_squares(z, Y, w):
    """A caller's own loss: half the squared error"""
    e = z - np.reshape(Y, z.shape)
    w = np.ones(len(e)) if w is None else w
    return w * (e**2).sum(axis=1) / 2, w[:, np.newaxis] * e


class World:
    """A network, examples for it, and the calls that read them, drawn with a seed."""

    def __init__(self, seed, folder):
        draw = random.Random(seed)
        self.draw, self.seed, self.folder = draw, seed, folder
        rng = np.random.default_rng(seed)
        output, loss = draw.choice(OUTPUTS)
        s1, K, hidden = draw.randint(1, 30), draw.randint(2, 6), draw.choice([[], [9], [20, 7], [300]])
        self.dtype = draw.choice(["f4", "f8"])
        smoothing = {"label_smoothing": 0.1} if output in ("softmax", "sigmoid") and draw.random() < 0.5 else {}
        self.net = fastbp.Network([s1, *hidden, K], activation=draw.choice(["tanh", "relu", "gelu"]), output=output,
                                  loss=loss, dtype=self.dtype, seed=seed, **smoothing)
        m = draw.choice([1, 20, 200, 200, 2000])
        whole = rng.integers(-3, 4, (m, s1))
        self.X = draw.choice([whole, whole.astype("f4"), whole.astype("f8"), whole.astype(self.dtype)[::-1]])
        self.Y = rng.integers(0, K, m) if output == "softmax" else rng.integers(0, 2, (m, K)).astype(
            draw.choice(["i8", self.dtype, "u1"]))
        self.w = rng.uniform(0.5, 2, m)
        self.p = rng.standard_normal(self.net.n_parameters).astype(self.dtype)
        self.G = rng.standard_normal((m, K)).astype(self.dtype)
        self.data = self.net.data(self.X, self.Y)
        self.weighed = self.net.data(self.X, self.Y, self.w)
        self.operator = fastbp.curvature.hessian(self.net, self.X, self.Y, weight_decay=0.1)
        self.ensemble = fastbp.Ensemble([self.net, self.net.copy()])
        self.scale = fastbp.Standardise(self.X)
        self.none = regularisation.none(self.net.plan)
        self.own = fastbp.Network([s1, 5, K], output="identity", loss=half_squares, dtype=self.dtype, seed=seed)
        self.targets = rng.standard_normal((m, K)).astype(self.dtype)
        self.trainer = fastbp.Trainer(self.net.copy(), "adam", dropout=0.2 if hidden else 0.0, seed=seed)
        self.history = self.course()
        fastbp.save(self.path("network"), self.net)
        self.ensemble.save(self.path("ensemble"))

    def path(self, name):
        return self.folder / f"{self.seed}.{name}.fastbp"

    def course(self):
        """The history of a short training run"""
        return fastbp.train(self.net.copy(), self.X[:20], self.Y[:20], optimizer=fastbp.SGD(1e-5), epochs=3, seed=1,
                            validation_data=(self.X[:9], self.Y[:9]))

    def reads(self):
        """{name: a function without arguments}"""
        return self.predictions() | self.derivatives() | self.others() | self.losses_of_their_own() | self.dear()

    def predictions(self):
        net, X, Y, w, p, data = self.net, self.X, self.Y, self.w, self.p, self.data
        x, few = np.ascontiguousarray(X[0], self.dtype), X[:7]
        row, n_threads = X[0].tolist(), self.draw.choice([None, 1, 2])
        return {
            "predict a row": lambda: net.predict(x),
            "predict into out": lambda: net.predict(x, out=np.empty(net.layer_sizes[-1], self.dtype)),
            "predict a list": lambda: net.predict(row),
            "predict a few": lambda: net.predict(few),
            "predict": lambda: net.predict(X),
            "activations": lambda: net.activations(X),
            "activations of a few": lambda: net.activations(few),
            "deltas": lambda: net.deltas(few, Y[:7]),
            "all deltas": lambda: net.deltas(X, Y),
            "cost": lambda: net.cost(X, Y, lam=0.3),
            "cost of a few": lambda: net.cost(few, Y[:7]),
            "cost and gradient": lambda: net.cost_and_gradient(X, Y, weight_decay=0.1, n_threads=n_threads),
            "cost and gradient of a few": lambda: net.cost_and_gradient(few, Y[:7], lam=0.2, l1=1e-3),
            "weighed": lambda: net.cost_and_gradient(X, Y, sample_weight=w),
            "elsewhere": lambda: net.cost_and_gradient(few, Y[:7], theta=p),
            "evaluate": lambda: net.evaluate(X, Y),
            "evaluate a few": lambda: net.evaluate(few, Y[:7]),
            "evaluate with weights": lambda: net.evaluate(X, Y, sample_weight=w),
            "evaluate data": lambda: net.evaluate_data(data),
            "evaluate weighed data": lambda: net.evaluate_data(self.weighed),
            "data in units": lambda: [self.weighed.in_units_of(unit, net.dtype).w for unit in (0.5, 2.0)],
            "cost of data": lambda: objective.cost(net.theta, data, self.none, n_threads),
            "accumulate": lambda: net.accumulate(X, Y),
            "accumulate each": lambda: net.accumulate(few, Y[:7], True, sample_weight=w[:7]),
            "ensemble": lambda: self.ensemble.predict(X),
            "ensemble of a row": lambda: self.ensemble.predict(row),
        }

    def derivatives(self):
        net, X, Y, p = self.net, self.X, self.Y, self.p
        x, few, n_threads = np.ascontiguousarray(X[0], self.dtype), X[:7], self.draw.choice([None, 1, 2])
        return {
            "forward": lambda: net.forward(X, n_threads=n_threads),
            "forward a row": lambda: net.forward(x),
            "backward": lambda: net.backward(X, self.G, inputs=True),
            "backward from h": lambda: net.backward(X, self.G, wrt="h", n_threads=n_threads),
            "backward after forward": lambda: (net.forward(few), net.backward(few, self.G[:7])),
            "jacobian": lambda: net.jacobian(few),
            "jacobian by X": lambda: net.jacobian(few, wrt="X"),
            "gradients": lambda: net.gradients(few, Y[:7]),
            "norms": lambda: net.gradient_norms(X, Y),
            "norms of a few": lambda: net.gradient_norms(few, Y[:7]),
            "Hessian": lambda: net.hessian_product(X, Y, p),
            "Hessian of a few": lambda: net.hessian_product(few, Y[:7], p, weight_decay=0.1),
            "Gauss-Newton": lambda: net.gauss_newton_product(few, Y[:7], p),
            "Gauss-Newton, weighed": lambda: net.gauss_newton_product(X, Y, p, sample_weight=self.w),
            "operator": lambda: self.operator @ p,
            "operator of a matrix": lambda: self.operator.T @ np.stack([p, -p], axis=1),
            "a new operator": lambda: fastbp.curvature.gauss_newton(net, few, Y[:7]) @ p,
            "views": lambda: net.views(net.gradients(few, Y[:7])),
        }

    def others(self):
        """Copies, files, texts, scaling, metrics, an idle trainer"""
        net, X, Y, scale, history, trainer = self.net, self.X, self.Y, self.scale, self.history, self.trainer
        h = np.full(self.targets.shape, 0.25)
        labels = Y if Y.ndim == 1 else Y.argmax(axis=1)
        names = ("mse", "rmse", "mae", "r2", "accuracy", "balanced_accuracy", "cross_entropy")
        return {
            "scaled": lambda: scale.transform(X),
            "scaled back": lambda: scale.inverse(X),
            "moments": lambda: (fastbp.Standardise(X, self.w).mean, pickle.loads(pickle.dumps(scale)).scale),
            "folded": lambda: (scale.fold(net).theta, scale.unfold(net).theta),
            "copies": lambda: (net.copy().theta, copy.deepcopy(net).theta, pickle.loads(pickle.dumps(net)).theta),
            "converted": lambda: (net.copy("f4").theta, net.copy("f8").theta, net.layers(1, len(net.Theta) + 1).theta),
            "attributes": lambda: (net.theta, net.Theta, net.layer_sizes, net.n_parameters, str(net.dtype),
                                   net.activation, net.output, net.loss, net.loss_parameters, net.settings()),
            "shown": lambda: (repr(net), net.summary(), net._repr_html_(), repr(self.data), repr(scale),
                              repr(self.ensemble), len(self.ensemble), repr(self.operator)),
            "trainer shown": lambda: (repr(trainer), trainer.weight_decay, trainer.dropout, trainer.n_threads,
                                      trainer.free, trainer.learning_rate_factors, trainer.input_scale,
                                      trainer.mean_weight, trainer.compiled, trainer.conditions),
            "history": lambda: (repr(history)[:20], history.columns["J"], history["val_J"], len(history),
                                history.latest(), history.state()["J"], history.line()[:9],
                                history.examples_per_second > 0, len(history._repr_html_()) > 0),
            "frame": lambda: history.to_frame()[["J", "val_J"]].to_numpy(),
            "table": lambda: fastbp.many.table([net], [history])[["J", "n_parameters"]].to_numpy(),
            "metrics": lambda: [getattr(fastbp.metrics, name)(h, labels if name in names[4:] else self.targets)
                                for name in names],
            "digits": lambda: fastbp.datasets.load_digits(),
            "loaded": lambda: fastbp.load(self.path("network")).theta,
            "ensemble loaded": lambda: [each.theta for each in fastbp.Ensemble.load(self.path("ensemble")).nets],
            "container": lambda: sorted(container.read(self.path("network"))[0].items()),
        }

    def losses_of_their_own(self):
        """A loss in Python: another thread may come while it runs"""
        own, X, T, w = self.own, self.X, self.targets, self.w
        return {
            "own cost": lambda: own.cost(X[:50], T[:50], lam=0.1),
            "own gradient": lambda: own.cost_and_gradient(X[:50], T[:50], sample_weight=w[:50]),
            "own deltas": lambda: own.deltas(X[:7], T[:7]),
            "own evaluation": lambda: own.evaluate(X[:50], T[:50]),
        }

    def dear(self):
        """Calls that take longer: files, training of separate networks"""
        return {
            "dear: saved": self.saved, "dear: ensemble saved": self.ensemble_saved,
            "dear: check": lambda: fastbp.check_gradient(self.net, self.X[:7], self.Y[:7], directions=2, seed=0),
            "dear: trained": self.trained, "dear: trained with dropout": self.trained_with_dropout,
            "dear: trained along an own loss": self.trained_along_an_own_loss, "dear: many trained": self.many_trained,
            "dear: stepped": self.stepped, "dear: minimised": self.minimised, "dear: least squares": self.least_squares,
        }

    def saved(self):
        """Several threads write the same file, then read it"""
        path = self.path("saved")
        fastbp.save(path, self.net)
        return fastbp.load(path).theta

    def ensemble_saved(self):
        self.ensemble.save(self.path("ensemble saved"))
        return [each.theta for each in fastbp.Ensemble.load(self.path("ensemble saved")).nets]

    def trained(self):
        """A separate network, trained on the shared examples"""
        net = self.net.copy()
        rate = fastbp.schedules.Cosine(1e-3, 50)
        history = fastbp.train(net, self.X, self.Y, optimizer=fastbp.Adam(rate), epochs=2, batch_size=16, seed=1,
                               sample_weight=self.w)
        return net.theta, history.J

    def trained_with_dropout(self):
        net = self.net.copy()
        history = fastbp.train(net, self.X, self.Y, optimizer=fastbp.SGD(1e-4), epochs=2, batch_size=16, seed=1,
                               input_dropout=0.1, validation_split=0.3 if len(self.X) > 9 else 0.0, metrics=["mse"],
                               callbacks=[fastbp.callbacks.EarlyStopping(patience=3)] if len(self.X) > 9 else [])
        return net.theta, history.J, history.val_J

    def trained_along_an_own_loss(self):
        net = self.own.copy()
        history = fastbp.train(net, self.X[:50], self.targets[:50], optimizer="rmsprop", epochs=2, batch_size=16,
                               seed=1)
        return net.theta, history.J

    def many_trained(self):
        nets = [self.net.copy(), self.net.copy()]
        histories = fastbp.train_many(nets, self.X, self.Y, optimizer=[fastbp.SGD(1e-5), fastbp.Adam(1e-4)], epochs=2,
                                      seed=3, batch_size=16, n_threads=2)
        return [(net.theta, history.J) for net, history in zip(nets, histories, strict=True)]

    def stepped(self):
        net = self.net.copy()
        trainer = fastbp.Trainer(net, fastbp.SGD(1e-5))
        J = [trainer.step(self.X[:7], self.Y[:7]), trainer.epoch(self.X, self.Y)]
        trainer.forward(self.X[:7])
        trainer.step(self.X[:7], gradient=self.G[:7])
        trainer.apply(self.p)
        twins = copy.copy(trainer), copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))
        path = self.folder / f"{self.seed}.{threading.get_ident()}.fastbp"
        trainer.save(path, {"a": 1})
        steps = [twin.step(self.X[:7], self.Y[:7]) for twin in twins]
        return net.theta, J, steps, twins[0].restore(path), trainer.state

    def minimised(self):
        net = self.net.copy()
        fastbp.minimize(net, self.X[:20], self.Y[:20], method="L-BFGS", maxiter=500, weight_decay=0.1)
        return net.theta

    def least_squares(self):
        net = fastbp.Network([self.X.shape[1], 2, 1], output="identity", seed=0)
        fastbp.minimize(net, self.X[:20], self.targets[:20, 0], method="lm", maxiter=5, weight_decay=0.1)
        return net.theta

