import builtins
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from tests.builders import make_rules, make_state, train_for
from wgan_cli import export as exporting
from wgan_cli.export import EXPORTS, export
from wgan_cli.networks import GENERATORS
from wgan_cli.parameters import SettingError
from wgan_cli.players import Generator

BATCHES = (1, 2, 3, 7, 64, 65)


def make_generator(network: str, num_classes: int | None, channels: int = 1, size: int = 12) -> Generator:
    """With normalisation by statistics that are not those of the beginning, and with contrast."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_sizes": (6, 5)} if network == "mlp" else {"width": 2}
    part: Any = GENERATORS[network]
    generator: Generator = part(size, channels, num_classes, latent_dim=4, normalization="batch", **sizes)
    for module in generator.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)  # as training may: the first ones are small
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    return generator.eval().requires_grad_(False)


def inputs(generator: Generator, count: int) -> list[Tensor]:
    latents = torch.randn(count, generator.latent_dim)
    if generator.num_classes is None:
        return [latents]
    return [latents, torch.randint(generator.num_classes, (count,))]


def torchscript(path: Path, given: Sequence[Tensor]) -> Tensor:
    """As a program that has no Python beside would load it."""
    images: Tensor = torch.jit.load(path)(*given)
    return images


def by_onnx(path: Path, given: Sequence[Tensor]) -> Tensor:
    import onnxruntime  # here, where the exporter has told it to report to nobody

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {name: each.numpy() for name, each in zip(["latents", "classes"], given, strict=False)}
    (images,) = session.run(["images"], feed)
    return torch.from_numpy(images)


LOADERS = {"torchscript": torchscript, "onnx": by_onnx}


@pytest.mark.filterwarnings("ignore:.*torch.jit")  # deprecated
@pytest.mark.parametrize("num_classes", [None, 3])
@pytest.mark.parametrize("network", GENERATORS)
@pytest.mark.parametrize("form", ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
def test_the_file_does_what_the_generator_does(
    form: str, network: str, num_classes: int | None, tmp_path: Path
) -> None:
    """For any number of images, and for each class its own."""
    path = tmp_path / f"g{EXPORTS[form][0]}"
    generator = make_generator(network, num_classes, channels=3 if num_classes else 1)
    words = export(generator, form, path)
    assert words.startswith(f"wrote a function of latents{' and classes' if num_classes else ''} to {path}; it differs")
    assert list(tmp_path.iterdir()) == [path]
    for count in BATCHES:
        given = inputs(generator, count)
        images = LOADERS[form](path, given)
        assert images.dtype == torch.float32
        assert images.shape == (count, 3 if num_classes else 1, 12, 12)
        torch.testing.assert_close(images, generator(*given), rtol=0, atol=1e-5)
    if num_classes:
        latents = torch.randn(1, 4).expand(num_classes, 4).contiguous()
        images = LOADERS[form](path, [latents, torch.arange(num_classes)])
        assert not torch.allclose(images[0], images[1], atol=1e-4)


@pytest.mark.slow
def test_an_onnx_file_names_and_checks_itself(tmp_path: Path) -> None:
    export(make_generator("dcgan", 3), "onnx", tmp_path / "g.onnx")
    model = onnx.load(tmp_path / "g.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [each.name for each in model.graph.input] == ["latents", "classes"]
    assert [each.name for each in model.graph.output] == ["images"]
    shapes = [
        [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [["number", 4], ["number"], ["number", 1, 12, 12]]
    assert not any(each.external_data for each in model.graph.initializer)  # one file, with the weights in it


@pytest.mark.parametrize("form", ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
@pytest.mark.parametrize("num_classes", [None, 1])
def test_a_trained_generator(form: str, num_classes: int | None, tmp_path: Path) -> None:
    """As training leaves it: with averages of its own; and of a single class."""
    labels = None if num_classes is None else torch.zeros(14, dtype=torch.int64)
    state = make_state("dcgan", num_classes=num_classes, ema=True)
    generator = train_for(state, make_rules(labels=labels), 5).sampler.eval()
    before = {name: each.clone() for name, each in generator.state_dict().items()}
    words = export(generator, form, tmp_path / f"g{EXPORTS[form][0]}")
    assert float(words.rpartition(" ")[2]) < 1e-5
    assert not generator.training
    assert all(torch.equal(each, before[name]) for name, each in generator.state_dict().items())


def test_default_names_and_replacing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = make_generator("mlp", None)
    assert "to generator.pt; it differs" in export(generator, "torchscript", None)
    first = Path("generator.pt").read_bytes()
    generator.get_parameter("last.bias").add_(1)
    assert "to generator.pt (and replaced what was there); it" in export(generator, "torchscript", None)
    assert Path("generator.pt").read_bytes() != first
    export(generator, "torchscript", Path("deep/er/a.PT"))
    assert {path.name for path in tmp_path.rglob("*")} == {"generator.pt", "deep", "er", "a.PT"}


@pytest.mark.parametrize("form", EXPORTS)
@pytest.mark.parametrize("name", ["a.txt", "a", ".pt", "folder"])
def test_a_wrong_name(form: str, name: str, tmp_path: Path) -> None:
    """Which is found before anything is exported."""
    suffix = EXPORTS[form][0]
    name = f"folder{suffix}" if name == "folder" else name
    (tmp_path / f"folder{suffix}").mkdir()
    wrong = "is a folder" if name.startswith("folder") else rf"must be the name of a \{suffix} file"
    with pytest.raises(SettingError, match=wrong) as refused:
        export(Generator(), form, tmp_path / name)
    assert refused.value.key == "out"


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = make_generator("mlp", None)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="cannot be written") as refused:
        export(generator, "torchscript", tmp_path / "file" / "a.pt")
    assert refused.value.key == "out"

    export(generator, "torchscript", tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()

    def half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(SettingError, match=r"a.pt: cannot be written \(No space left on device\)"):
        export(generator, "torchscript", tmp_path / "a.pt")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "a.pt"}
    assert (tmp_path / "a.pt").read_bytes() == before


def wrong(kind: str) -> Any:
    """An exporter whose file does not do what the generator does, or which fails."""

    def make(generator: Generator, _: Sequence[Tensor]) -> tuple[bytes, exporting.Function]:
        def function(given: Sequence[Tensor]) -> Tensor:
            images: Tensor = generator(*given)
            if kind == "a batch that was recorded" and len(images) != exporting.EXAMPLES:
                raise RuntimeError("expected 2 rows\nat graph.cpp:7")
            if kind == "one image only" and len(images) > 1:
                images[-1] += 1e-3
            if kind == "nearly":
                images += 2e-4
            return images.mul_(float("nan")) if kind == "NaN" else images

        if kind == "a failure":
            raise NotImplementedError("no such operator\n  in frame 1\n  in frame 2")
        return b"content", function

    return make


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("a batch that was recorded", "cannot be exported with the versions installed (expected 2 rows)"),
        ("one image only", "differs from the generator by 1.0e-03"),
        ("nearly", "differs from the generator by 2.0e-04"),
        ("NaN", "differs from the generator by nan"),
        ("a failure", "(no such operator)"),
    ],
)
@pytest.mark.parametrize("form", EXPORTS)
def test_what_goes_wrong_is_said_and_not_kept(
    kind: str, expected: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = EXPORTS[form][0]
    old = tmp_path / f"a{suffix}"
    old.write_text("old")
    monkeypatch.setitem(EXPORTS, form, (suffix, wrong(kind)))
    for out in (old, tmp_path / "new" / f"b{suffix}"):
        with pytest.raises(SettingError) as refused:
            export(make_generator("mlp", None), form, out)
        words = str(refused.value)
        assert words.startswith(f"export={form}: ")
        assert expected in words
        assert f"try export={'onnx' if form == 'torchscript' else 'torchscript'}" in words
        assert len(words.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text() == "old"

    monkeypatch.setitem(EXPORTS, form, (suffix, wrong("nothing")))
    export(make_generator("mlp", None), form, old)
    assert old.read_bytes() == b"content"


class Branching(Generator):
    """What tracing cannot see: how it goes on depends on how many latents there are."""

    latent_dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 9)

    def forward(self, latents: Tensor) -> Tensor:
        images: Tensor = self.last(latents).tanh().view(-1, 1, 3, 3)
        return images if len(latents) == exporting.EXAMPLES else images.flip(3)


def test_a_generator_that_tracing_gets_wrong(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="differs from the generator"):
        export(Branching().eval(), "torchscript", tmp_path / "a.pt")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["onnxruntime", "onnxscript"])
def test_onnx_is_not_installed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(module: str, *rest: Any) -> Any:
        if module.split(".")[0] == name:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return found(module, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingError) as refused:
        export(make_generator("mlp", None), "onnx", tmp_path / "a.onnx")
    assert str(refused.value) == f"export=onnx: needs {name}; install it with: pip install onnxruntime onnxscript"
    assert not any(tmp_path.iterdir())
    export(make_generator("mlp", None), "torchscript", tmp_path / "a.pt")  # which does not need it


def test_an_unknown_form(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="did you mean onnx"):
        export(make_generator("mlp", None), "onx", tmp_path / "a.onnx")
