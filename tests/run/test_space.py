import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.builders import CADENCE, make_state
from wgan_cli.parameters import SettingError
from wgan_cli.run.space import check_space, checkpoint_files

TEN_EPOCHS = replace(CADENCE, epochs=10)


def test_as_many_files_as_the_rest_of_the_run_leaves() -> None:
    """Of epochs 3, 6, 9 and, as it is the last, 10."""
    state = make_state()
    assert checkpoint_files(state, TEN_EPOCHS, None) == 4
    assert checkpoint_files(state, TEN_EPOCHS, 2) == 2
    assert checkpoint_files(state, TEN_EPOCHS, 7) == 4
    assert checkpoint_files(state, replace(TEN_EPOCHS, max_steps=30), None) == 1
    state.critic_updates = 850
    assert checkpoint_files(state, TEN_EPOCHS, None) == 1
    state.critic_updates = 1000
    assert checkpoint_files(state, TEN_EPOCHS, None) == 1  # at least the last


@pytest.mark.parametrize("exists", [True, False])
def test_free_disk(exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the folder, or of what there is on the way to it."""
    folder = tmp_path if exists else tmp_path / "outputs" / "run"
    asked = []

    def disk_usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=5_000_000)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert check_space(folder, "resume", 1_000_000, 4) is None  # four, and a fifth while it is written
    warning = check_space(folder, "resume", 1_000_000, 5)
    assert warning is not None
    assert "will take 6.0 MB" in warning
    assert "5.0 MB left" in warning
    assert "checkpoint.keep=3" in warning
    assert check_space(folder, "resume", 2_500_000, 1) is None
    with pytest.raises(SettingError, match=r"needs 5\.0 MB for two checkpoints, and .* has 5\.0 MB left") as refused:
        check_space(folder, "resume", 2_500_001, 1)
    assert refused.value.key == "resume"
    assert set(asked) == {tmp_path}
