"""A run on disk: its folder, checkpoints, metrics, and what is done after each update. Settings stop above here."""
