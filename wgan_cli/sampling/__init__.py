"""Samples of a trained generator, and the generator itself, as files."""
