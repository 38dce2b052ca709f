import pytest

from tests.commands import compose
from wgan_cli.cli.command_line import list_options
from wgan_cli.cli.synonyms import OPTIONS, SETTINGS, suggest_option, suggest_setting
from wgan_cli.settings import GROUPS


def test_what_is_suggested_exists() -> None:
    losses = ("wasserstein", "wasserstein_gp")
    configs = [compose("dataset=image_folder", "dataset.root=x", f"loss={loss}") for loss in losses]
    for setting in SETTINGS:
        group, _, key = setting.partition(".")
        assert any(key in config[group] if key else group in config for config in configs), setting
    for words in OPTIONS:
        for word in words.split():
            group, _, option = word.partition("=")
            assert option in list_options(group)


def test_a_name_stands_for_one_thing() -> None:
    settings = [name for names in SETTINGS.values() for name in names.split()]
    assert len(settings) == len(set(settings))
    for group in GROUPS:
        names = [name for words, names in OPTIONS.items() if words.startswith(f"{group}=") for name in names.split()]
        assert len(names) == len(set(names))
        assert not set(names) & {option.replace("_", "") for option in list_options(group)}


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        *(("lr", "optimizer.learning_rate"), ("lrD", "optimizer.critic_learning_rate"), ("nz", "generator.latent_dim")),
        *(("img_size", "dataset.image_size"), ("image_size", "dataset.image_size"), ("n_epochs", "epochs")),
        *(("lambda_gp", "constraint.weight"), ("root", "dataset.root"), ("name", "out"), ("output-dir", "out")),
        *(
            ("b1", "optimizer.betas"),
            ("clamp_lower", "clip_value"),
            ("Diters", "n_critic"),
            ("batchSize", "batch_size"),
        ),
    ],
)
def test_names_of_settings(name: str, setting: str) -> None:
    assert suggest_setting(name) == f" (did you mean {setting}?)"
    assert suggest_setting("qqqq") == ""


@pytest.mark.parametrize(
    ("group", "option", "meant"),
    [
        *(("loss", "wgan_gp", "wasserstein_gp"), ("loss", "LSGAN", "least_squares"), ("loss", "Hinge", "hinge")),
        ("loss", "wgan-lp", "loss=wasserstein_gp constraint=lipschitz_penalty"),
        *(
            ("dataset", "FashionMNIST", "fashion_mnist"),
            ("optimizer", "RMSprop", "rmsprop"),
            ("loss", "hinje", "hinge"),
        ),
    ],
)
def test_names_of_options(group: str, option: str, meant: str) -> None:
    assert suggest_option(group, option, list_options(group)) == f" (did you mean {meant}?)"
    assert suggest_option(group, "qqqq", list_options(group)) == ""
