"""Several ranks that train together: their batches, their steps, their training; a layer over those of one process."""
