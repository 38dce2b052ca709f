import functools

import pytest

from wgan_cli.data import DATASETS

glyphs = functools.cache(DATASETS["glyphs"])  # renders the digits once: it takes half a second


@pytest.fixture(autouse=True)
def _render_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "glyphs", glyphs)
