"""Builds objects from settings: the only code that knows both."""
