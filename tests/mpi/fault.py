"""A rank of long training in which something goes wrong: `mpiexec -n 2 python [-m mpi4py] fault.py FOLDER FAULT`."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

import fastbp

comm = MPI.COMM_WORLD
rank, folder, fault = comm.Get_rank(), Path(sys.argv[1]), sys.argv[2]
(folder / f"pid {rank}").write_text(str(os.getpid()))
X, y = fastbp.datasets.load_digits()
X, y = X[rank::2] / 16, y[rank::2]
net = fastbp.Network([64, 30 + (fault == "network" and rank), 10], output="softmax", seed=0,
                     dtype=np.float32 if fault == "dtype" and rank else np.float64)


def look(training):
    if training.epoch == 3:
        (folder / f"running {rank}").touch()
    if training.epoch != 5 or rank != 1:
        return
    if fault == "callback":
        raise RuntimeError("something is wrong in a callback")
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "exit":
        os._exit(3)


if fault == "input" and rank == 1:
    X[7, 5] = np.nan
if fault == "outside" and rank == 1:
    raise RuntimeError("something is wrong outside")
if fault == "gone" and rank == 1:
    sys.exit("rank 1 has nothing to do")
optimizer = fastbp.Adam(1e-3 * (1 + (fault == "optimizer" and rank)))
fastbp.train(net, X, y, optimizer=optimizer, epochs=10**6, batch_size=50, comm=comm, callbacks=[look],
             checkpoint=folder / "kept")
