import functools

import pytest

from wgan_cli.data import DATASETS

glyphs = functools.cache(DATASETS["glyphs"])


@pytest.fixture(autouse=True)
def _render_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render the digits once: it takes half a second."""
    monkeypatch.setitem(DATASETS, "glyphs", glyphs)
