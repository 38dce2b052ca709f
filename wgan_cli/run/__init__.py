"""A run on disk: its folder, checkpoints, tables and pictures, and when each of them is due."""
