"""Training: Algorithm 1, its state, and its random streams. It knows nothing of files, settings or progress bars."""
