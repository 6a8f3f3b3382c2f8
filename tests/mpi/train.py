"""A rank of training on the digits: `mpiexec -n N python train.py FOLDER FORM`; rank 0 prints the results."""

import hashlib
import sys
import warnings

import numpy as np
from mpi4py import MPI

import fastbp
from fastbp import distributed

comm = MPI.COMM_WORLD
folder, form = sys.argv[1:]
X, y = fastbp.datasets.load_digits()
X, y = X[:1601] / 16, y[:1601]
group = distributed.Group(comm, parts=4)
own = distributed.rows(len(X), group)
net = fastbp.Network([64, 30, 10], activation="relu", output="softmax", dtype=np.float32, seed=comm.Get_rank())
told = []


class Pause:
    count = 0

    def on_batch_end(self, training):
        self.count += 1
        if self.count == 30:
            training.pause("for now")


if form == "minimize":
    warnings.filterwarnings("ignore", "minimize ended at its limit")
    result = fastbp.minimize(net, X[own], y[own], lam=1.0, maxiter=30, comm=group)
    told += [result.nfev, result.fun.hex()]
elif form == "sync":
    history = fastbp.train(net, X[own], y[own], epochs=3, batch_size=64, seed=1, comm=comm, sync_every=3)
    told += [value.hex() for value in history.J]
else:
    history = fastbp.train(
        net, X[own], y[own], optimizer="adam", epochs=4, batch_size=64, weight_decay=1e-4, dropout=0.1, seed=1,
        comm=group, validation_split=0.1, metrics=["balanced_accuracy"], checkpoint=f"{folder}/{form}", resume=True,
        callbacks=[Pause()] if form == "pause" and comm.Get_rank() == 0 else [])
    told += [value.hex() for value in history.J + history.val_J]
told += [value.hex() for value in net.evaluate(X[own], y[own], comm=group)]
digest = hashlib.sha256(net.theta.tobytes()).digest()
assert comm.allgather(digest) == [digest] * comm.Get_size()
if comm.Get_rank() == 0:
    print(digest.hex(), *told)
