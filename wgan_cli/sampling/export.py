"""Exporting a trained generator for other programs. The result is compared with the generator before it is kept."""

import io
import os
import warnings
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from wgan_cli.errors import InputError
from wgan_cli.networks.players import Generator

EXAMPLES = 2  # latents of the call that is recorded
CHECKED = (1, 5)  # latents of the calls that are compared; not EXAMPLES, so that a recorded batch size is noticed
TOLERANCE = 1e-4  # of values in [-1, 1]; other kernels sum in another order

Function = Callable[[Sequence[Tensor]], Tensor]


def export_generator(generator: Generator, form: str) -> tuple[bytes, float]:
    """Convert a generator to a function of latents (N, latent_dim), and of classes (N,) if it has classes.

    Args:
        generator: In eval mode, on the CPU.
        form: ``torchscript`` or ``onnx``. In ONNX the inputs are ``latents`` and ``classes``, the output ``images``.

    Returns:
        The content of the file, and the largest difference between its outputs and the generator's.

    Raises:
        InputError: If a package is missing, the exporter fails, or its result differs from the generator.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # torch calls TorchScript deprecated, but programs in C++ and on mobile phones still load it.
            warnings.simplefilter("ignore")
            content, function = EXPORTERS[form](generator, _make_examples(generator, EXAMPLES))
            checks = [_make_examples(generator, count) for count in CHECKED]
            difference = float(torch.stack([(function(each) - generator(*each)).abs().max() for each in checks]).max())
    except InputError:
        raise
    except Exception as error:  # the exporters raise many types of error
        reason = str(error).strip().partition("\n")[0][:200]
        raise InputError(
            f"this generator cannot be exported with the installed versions ({reason}); {_suggest_others(form)}"
        ) from error
    if not difference <= TOLERANCE:  # so that NaN is rejected
        raise InputError(f"the result differs from the generator by {difference:.1e}; {_suggest_others(form)}")
    return content, difference


def make_torchscript(generator: Generator, examples: Sequence[Tensor]) -> tuple[bytes, Function]:
    """Trace the generator; return a file's content, and the function that is loaded from it."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(generator, tuple(examples)), buffer)
    loaded = torch.jit.load(io.BytesIO(buffer.getvalue()))
    return buffer.getvalue(), lambda inputs: loaded(*inputs)


def make_onnx(generator: Generator, examples: Sequence[Tensor]) -> tuple[bytes, Function]:
    """Translate the generator; return a file's content, and the function that onnxruntime makes of it.

    Raises:
        InputError: If onnxruntime, or a package that torch's exporter needs, is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # otherwise onnxruntime sends telemetry once imported
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise InputError(f"needs {error.name}; install it with: pip install onnxruntime onnxscript") from error
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

    def run(inputs: Sequence[Tensor]) -> Tensor:
        feed = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    return content, run


EXPORTERS = {"onnx": make_onnx, "torchscript": make_torchscript}
SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt"}


def _suggest_others(form: str) -> str:
    return f"nothing was written; try {' or '.join(other for other in EXPORTERS if other != form)}"


def _make_examples(generator: Generator, count: int) -> list[Tensor]:
    """Draw arguments that the generator can be called with."""
    stream = torch.Generator().manual_seed(count)
    latents = torch.randn(count, generator.latent_dim, generator=stream)
    if generator.num_classes is None:
        return [latents]
    return [latents, torch.arange(count) % generator.num_classes]
