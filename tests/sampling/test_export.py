import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from tests.builders import bits, build_network
from wgan_cli.errors import InputError
from wgan_cli.networks import GENERATORS
from wgan_cli.networks.players import Generator
from wgan_cli.sampling import export
from wgan_cli.sampling.export import EXPORTERS, export_generator

FORMS = ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)]


def make_generator(network: str, num_classes: int | None, channels: int = 1) -> Generator:
    """A generator as training leaves it: BatchNorm statistics have changed, and class embeddings are not small."""
    own: dict[str, Any] = {"hidden_sizes": (6, 5)} if network == "mlp" else {"width": 2}
    own |= {"latent_dim": 4, "normalization": "batch"}
    generator: Generator = build_network(GENERATORS[network], (channels, 12, 12), num_classes, **own)
    for name, tensor in generator.state_dict().items():
        if "embedding" in name or "running_mean" in name:
            nn.init.normal_(tensor)
        elif "running_var" in name:
            nn.init.uniform_(tensor, 0.5, 2)
    return generator.eval().requires_grad_(False)


def run_file(form: str, path: Path, inputs: Sequence[Tensor]) -> Tensor:
    if form == "torchscript":
        images: Tensor = torch.jit.load(path)(*inputs)
        return images
    import onnxruntime  # here, after the exporter has switched off its telemetry

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {name: each.numpy() for name, each in zip(["latents", "classes"], inputs, strict=False)}
    return torch.from_numpy(session.run(["images"], feed)[0])


@pytest.mark.filterwarnings("ignore:.*torch.jit")  # deprecated
@pytest.mark.parametrize("num_classes", [None, 3])
@pytest.mark.parametrize("network", GENERATORS)
@pytest.mark.parametrize("form", FORMS)
def test_the_result_is_the_same_function(form: str, network: str, num_classes: int | None, tmp_path: Path) -> None:
    """For any number of latents and for every class. The generator stays as it was."""
    path, channels = tmp_path / "generator", 3 if num_classes else 1
    generator = make_generator(network, num_classes, channels)
    before = bits(generator)
    content, difference = export_generator(generator, form)
    path.write_bytes(content)
    assert difference < 1e-5
    assert not generator.training
    assert bits(generator) == before
    for count in (1, 2, 3, 7, 64, 65):
        inputs = [torch.randn(count, 4), *([torch.randint(num_classes, (count,))] if num_classes else [])]
        images = run_file(form, path, inputs)
        assert images.dtype == torch.float32
        assert images.shape == (count, channels, 12, 12)
        torch.testing.assert_close(images, generator(*inputs), rtol=0, atol=1e-5)
    if num_classes:
        latents = torch.randn(1, 4).expand(3, 4).contiguous()
        images = run_file(form, path, [latents, torch.arange(3)])
        assert not torch.allclose(images[0], images[1], atol=1e-4)


@pytest.mark.slow
def test_an_onnx_file_is_complete_and_names_its_inputs() -> None:
    content, _ = export_generator(make_generator("dcgan", 1), "onnx")
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        each.name: [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"latents": ["number", 4], "classes": ["number"], "images": ["number", 1, 12, 12]}
    assert not any(each.external_data for each in model.graph.initializer)


def change_last(images: Tensor) -> Tensor:
    images[-1] += 1e-3 * (len(images) > 1)
    return images


def require_recorded_size(images: Tensor) -> Tensor:
    if len(images) != export.EXAMPLES:
        raise RuntimeError("expected 2 rows\nat graph.cpp:7")
    return images


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (require_recorded_size, "cannot be exported with the installed versions (expected 2 rows)"),
        (change_last, "differs from the generator by 1.0e-03"),
        (lambda images: images + 2e-4, "differs from the generator by 2.0e-04"),
        (lambda images: images * float("nan"), "differs from the generator by nan"),
    ],
)
@pytest.mark.parametrize("form", EXPORTERS)
def test_a_wrong_result_is_rejected(
    change: Callable[[Tensor], Tensor], expected: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXPORTERS, form, lambda generator, _: (b"content", lambda inputs: change(generator(*inputs))))
    with pytest.raises(InputError) as rejected:
        export_generator(make_generator("mlp", None), form)
    (other,) = EXPORTERS.keys() - {form}
    assert expected in str(rejected.value)
    assert str(rejected.value).endswith(f"; nothing was written; try {other}")
    assert len(str(rejected.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["onnxruntime", "onnxscript"])
def test_onnx_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    with pytest.raises(InputError) as rejected:
        export_generator(make_generator("mlp", None), "onnx")
    assert str(rejected.value) == f"needs {name}; install it with: pip install onnxruntime onnxscript"
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"  # set before onnxruntime is imported
    export_generator(make_generator("mlp", None), "torchscript")  # does not need it
