"""A package, so that every test can say ``from tests.references import …`` from wherever pytest is started."""
