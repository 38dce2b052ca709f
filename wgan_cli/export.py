"""A trained generator as a file for other programs, checked against the original before it is kept."""

import io
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from wgan_cli.files import whole
from wgan_cli.output import make_way, require_file, writing
from wgan_cli.parameters import SettingError, choose
from wgan_cli.players import Generator

EXAMPLES = 2  # images of the call that is recorded
CHECKED = (
    1,
    5,
)  # images of the calls that are compared: not EXAMPLES, so that a number of images that was recorded is noticed
TOLERANCE = 1e-4  # of values in [-1, 1]; other kernels round the sums in another order

Function = Callable[[Sequence[Tensor]], Tensor]


def export(generator: Generator, form: str, out: Path | None) -> str:
    """Write a generator as a file: a function of latents (N, latent_dim), and of classes (N,) where it has them.

    Args:
        generator: In eval mode, on the CPU.
        form: ``torchscript`` or ``onnx``; the latter calls its inputs ``latents`` and ``classes``, its output
            ``images``.
        out: Where to; None: ``generator.pt`` or ``generator.onnx`` here.

    Returns:
        What was written, and how far it is from the original.

    Raises:
        SettingError: If it cannot be written, what it takes is not installed, or it cannot be exported: the exporter
            fails, or makes something that does not do what the generator does.
    """
    suffix, make = choose(EXPORTS, {"name": form}, "export")
    out = out or Path(f"generator{suffix}")
    require_file(out, suffix)
    content, difference = _made(generator, form, make)
    with writing(out):
        replaced = make_way(out)
        with whole(out) as partial:
            partial.write_bytes(content)
    of = "latents" if generator.num_classes is None else "latents and classes"
    return f"wrote a function of {of} to {out}{replaced}; it differs from the original by at most {difference:.1e}"


def make_torchscript(generator: Generator, examples: Sequence[Tensor]) -> tuple[bytes, Function]:
    """Trace the generator; return a file's content, and the function that was read from it."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(generator, tuple(examples)), buffer)
    loaded = torch.jit.load(io.BytesIO(buffer.getvalue()))
    return buffer.getvalue(), lambda inputs: loaded(*inputs)


def make_onnx(generator: Generator, examples: Sequence[Tensor]) -> tuple[bytes, Function]:
    """Translate the generator; return a file's content, and the function that onnxruntime makes of it.

    Raises:
        SettingError: If onnxruntime, or what torch's exporter takes, is not installed.
    """
    # It reports to its makers what models it loads, from when it is imported; this is how it is told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        hint = f"needs {error.name}; install it with: pip install onnxruntime onnxscript"
        raise SettingError("export", "onnx", hint) from error
    names = ["latents", "classes"][: len(examples)]
    number = torch.export.Dim("number")
    program = torch.onnx.export(
        generator,
        tuple(examples),
        input_names=names,
        output_names=["images"],
        dynamic_shapes=[{0: number}] * len(examples),
        dynamo=True,
        verbose=False,
    )
    content = cast("torch.onnx.ONNXProgram", program).model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def function(inputs: Sequence[Tensor]) -> Tensor:
        feed = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    return content, function


# What the file's name ends with, and what makes its content.
EXPORTS: dict[str, tuple[str, Callable[[Generator, Sequence[Tensor]], tuple[bytes, Function]]]] = {
    "onnx": (".onnx", make_onnx),
    "torchscript": (".pt", make_torchscript),
}


def _made(
    generator: Generator, form: str, make: Callable[[Generator, Sequence[Tensor]], tuple[bytes, Function]]
) -> tuple[bytes, float]:
    """Return a file's content, and how far its images are from the generator's.

    Raises:
        SettingError: If there is no content, or they are too far.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # torch calls TorchScript deprecated, but it is what programs in C++ and on mobile phones still load.
            warnings.simplefilter("ignore")
            content, function = make(generator, _examples(generator, EXAMPLES))
            checks = [_examples(generator, count) for count in CHECKED]
            difference = float(torch.stack([(function(each) - generator(*each)).abs().max() for each in checks]).max())
    except SettingError:
        raise
    except Exception as error:  # the exporters are large, and each has errors of its own
        reason = str(error).strip().partition("\n")[0][:200]
        raise SettingError(
            "export", form, f"this generator cannot be exported with the versions installed ({reason}); {_others(form)}"
        ) from error
    if not difference <= TOLERANCE:  # as NaN is not
        raise SettingError(
            "export", form, f"what came out differs from the generator by {difference:.1e}; {_others(form)}"
        )
    return content, difference


def _others(form: str) -> str:
    return f"nothing was written; try export={' or '.join(other for other in EXPORTS if other != form)}"


def _examples(generator: Generator, count: int) -> list[Tensor]:
    """Draw what the generator can be called with."""
    stream = torch.Generator().manual_seed(count)
    latents = torch.randn(count, generator.latent_dim, generator=stream)
    if generator.num_classes is None:
        return [latents]
    return [latents, torch.arange(count) % generator.num_classes]
