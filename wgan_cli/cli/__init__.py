"""The commands: read the command line, and report mistakes. Torch is imported only when a run starts."""
