"""Data, training, pruning and evaluation: from RadioML HDF5 to a checkpoint."""
