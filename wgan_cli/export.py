"""A trained generator as a file for other programs, checked against the original before it is kept."""

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from wgan_cli.parameters import SettingError, choose
from wgan_cli.players import Generator

CHECKED = 5  # images; another number than that of the example, so that a fixed batch size is noticed
TOLERANCE = 1e-4  # of values in [-1, 1]; other kernels round the sums in another order

Function = Callable[[Sequence[Tensor]], Tensor]


def export(generator: Generator, form: str, out: Path | None) -> str:
    """Write a generator as a file: a function of latents (N, latent_dim), and of classes (N,) where it has them.

    Args:
        generator: In eval mode, on the CPU.
        form: ``torchscript`` or ``onnx``.
        out: Where to; None: ``generator.pt`` or ``generator.onnx`` here.

    Returns:
        What was written, and how far it is from the original.

    Raises:
        SettingError: If it cannot be written, or ONNX is not installed.
        RuntimeError: If the file does not do what the generator does; it is not kept.
    """
    suffix, write = choose(EXPORTS, {"name": form}, "export")
    out = out or Path(f"generator{suffix}")
    if out.suffix.lower() != suffix or out.is_dir():
        raise SettingError("out", out, f"must be the name of a {suffix} file")
    replaced = " (and replaced what was there)" if out.exists() else ""
    partial = out.with_name(f".{out.name}.partial{suffix}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        function = write(generator, _examples(generator, 2), partial)
        inputs = _examples(generator, CHECKED)
        with torch.no_grad():
            difference = float((function(inputs) - generator(*inputs)).abs().max())
        if not difference <= TOLERANCE:
            raise RuntimeError(f"the exported generator differs from the original by {difference:.1e}")
        partial.replace(out)
    except OSError as error:
        raise SettingError("out", out, f"cannot be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)
    of = "latents" if generator.num_classes is None else "latents and classes"
    return f"wrote a function of {of} to {out}{replaced}; it differs from the original by at most {difference:.1e}"


def write_torchscript(generator: Generator, examples: Sequence[Tensor], path: Path) -> Function:
    """Trace the generator, write it, and return the function that the file holds."""
    with warnings.catch_warnings():
        # torch calls TorchScript deprecated, but it is what programs in C++ and on mobile phones still load.
        warnings.simplefilter("ignore")
        torch.jit.trace(generator, tuple(examples)).save(path)
        loaded = torch.jit.load(path)
    return lambda inputs: loaded(*inputs)


def write_onnx(generator: Generator, examples: Sequence[Tensor], path: Path) -> Function:
    """Write the generator for any number of images, and return the function that onnxruntime makes of the file."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise SettingError(
            "export", "onnx", f"needs {error.name}; install it with: pip install 'wgan-cli[onnx]'"
        ) from error
    names = ["latents", "classes"][: len(examples)]
    number = torch.export.Dim("number")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # it reports each stage
        warnings.simplefilter("ignore")
        torch.onnx.export(
            generator,
            tuple(examples),
            path,
            input_names=names,
            output_names=["images"],
            dynamic_shapes=[{0: number}] * len(examples),
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def function(inputs: Sequence[Tensor]) -> Tensor:
        feed = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    return function


EXPORTS: dict[str, tuple[str, Callable[[Generator, Sequence[Tensor], Path], Function]]] = {
    "onnx": (".onnx", write_onnx),
    "torchscript": (".pt", write_torchscript),
}


def _examples(generator: Generator, count: int) -> list[Tensor]:
    """Draw what the generator can be called with."""
    stream = torch.Generator().manual_seed(count)
    latents = torch.randn(count, generator.latent_dim, generator=stream)
    if generator.num_classes is None:
        return [latents]
    return [latents, torch.arange(count) % generator.num_classes]
