"""Training on several ranks: their batches, steps and hooks, a layer over those of one process."""
