"""The arithmetic of one network: layout, data, sums over examples, threads. It knows no loop, files or ranks."""
