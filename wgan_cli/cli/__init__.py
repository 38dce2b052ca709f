"""The commands: read the command line, report mistakes. Torch is imported only once a run begins."""
