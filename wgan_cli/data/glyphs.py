"""Digits rendered from the font that Pillow embeds: a dataset without files or downloads."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

from wgan_cli.data.dataset import Channels, Dataset, ImageSize, Limit, allocate_images
from wgan_cli.settings import Seed

TRAIN_COUNT = 24_000
TEST_COUNT = 4_000

# Lengths are fractions of an image's side. The proportions are roughly MNIST's.
DIGIT_HEIGHT = 0.66
OUTLINES = (-2 / 256, 0.0, 2 / 256, 4 / 256)  # how far the font's outline is moved outwards
BLURS = (0.004, 0.01, 0.016)  # standard deviations of a Gaussian
CONTRAST = 1.3  # keeps thin strokes white despite the blur

# The random deformations range from minus to plus these values.
ROTATION = math.radians(15)
SHEAR = 0.3
SCALE = 0.13  # of the digit, as a logarithm
STRETCH = 0.16  # of its width against its height, as a logarithm
SHIFT = 0.12  # in half sides
WARP = 0.11  # of each wave of the elastic deformation, in half sides and for the longest wave

SUPERSAMPLED_UP_TO = 64  # the edges in larger images are blurred over enough pixels to be sampled directly
SAMPLES_AT_ONCE = 2**20


def glyphs(image_size: ImageSize = 28, channels: Channels = 1, limit: Limit = None, seed: Seed = 0) -> Dataset:
    """Render digits, white on black and all different: 24,000 for training and 4,000 for testing.

    Args:
        image_size: Pixels along a side. The same seed gives the same digits at every size.
        channels: 1, or 3 equal ones.
        limit: Render at most this many images of each part, the first ones.
        seed: Decides every image. The two parts are drawn independently of each other.

    Returns:
        Labelled images of the classes 0 to 9, equally frequent.
    """
    drawings = _draw_digits(image_size * _choose_supersampling(image_size))
    train, train_labels = _render(drawings, TRAIN_COUNT, limit, image_size, channels, np.random.default_rng([seed, 0]))
    test, test_labels = _render(drawings, TEST_COUNT, limit, image_size, channels, np.random.default_rng([seed, 1]))
    return Dataset(train, test, train_labels, test_labels, "0123456789")


def _choose_supersampling(image_size: int) -> int:
    return 2 if image_size <= SUPERSAMPLED_UP_TO else 1


def _draw_digits(size: int) -> Tensor:
    """Draw every digit in every stroke weight and blur, upright and centred.

    Returns:
        float32 in [0, 1], (10, weights × blurs, size, size).
    """
    large = max(256, 2 * size)
    drawings = [
        np.asarray(
            _draw_digit(digit, outline, large)
            .filter(ImageFilter.GaussianBlur(blur * large))
            .resize((size, size), Image.Resampling.BOX)
        )
        for digit in "0123456789"
        for outline in OUTLINES
        for blur in BLURS
    ]
    return torch.from_numpy(np.stack(drawings)).float().div(255).view(10, -1, size, size)


def _draw_digit(digit: str, outline: float, size: int) -> Image.Image:
    """Draw one digit with its outline moved outwards, or inwards if ``outline`` is negative."""
    font = ImageFont.load_default(size * DIGIT_HEIGHT / 0.7)  # its digits are 0.7 font sizes high
    left, top, right, bottom = font.getbbox(digit)
    centred = ((size - left - right) / 2, (size - top - bottom) / 2)
    image = Image.new("L", (size, size))
    pixels = round(outline * size)
    ImageDraw.Draw(image).text(centred, digit, fill=255, font=font, stroke_width=max(0, pixels))
    return image.filter(ImageFilter.MinFilter(1 - 2 * pixels)) if pixels < 0 else image


def _render(
    drawings: Tensor, total: int, limit: int | None, image_size: int, channels: int, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Render one part of the dataset.

    Returns:
        Images, uint8, (count, channels, image_size, image_size), and labels, int64, (count,).
    """
    # Drawn for all images, so that a limited dataset is the beginning of the complete one.
    labels = torch.from_numpy(random.random((total // 10, 10)).argsort(1).ravel()[:limit])
    looks = torch.from_numpy(random.integers(drawings.shape[1], size=total)[:limit])
    coefficients = _draw_deformations(total, random)[:limit]

    factor = _choose_supersampling(image_size)
    basis = _compute_basis(image_size * factor)
    images = allocate_images((len(labels), channels, image_size, image_size))
    at_once = max(1, SAMPLES_AT_ONCE // basis.shape[0] ** 2)
    for start in range(0, len(labels), at_once):
        part = slice(start, start + at_once)
        grid = (basis @ coefficients[part] @ basis.T).permute(0, 2, 3, 1)
        sampled = F.grid_sample(drawings[labels[part], looks[part]].unsqueeze(1), grid, align_corners=False)
        images[part] = F.avg_pool2d(sampled, factor).mul(255 * CONTRAST).clamp(max=255).round().to(torch.uint8)
    return images, labels


def _compute_basis(size: int) -> Tensor:
    """Return the functions that make up the deformations, at the pixels along a side: 1, the coordinate, and waves.

    Returns:
        float32, (size, 5).
    """
    t = (torch.arange(size) + 0.5) * 2 / size - 1
    return torch.stack([torch.ones(size), t, *(torch.cos(math.pi * k * (t + 1) / 2) for k in (1, 2, 3))], dim=1)


def _draw_deformations(count: int, random: np.random.Generator) -> Tensor:
    """Draw random deformations, which map each pixel of an image to a position in a drawing.

    The position is a sum of products of a function of y and a function of x, both from :func:`_compute_basis`. 1 and
    the coordinate make affine maps, products with waves smooth elastic ones.

    Returns:
        The coefficients of the products, float32, (count, x and y, 5 functions of y, 5 functions of x).
    """
    angle, shear, scale, stretch, x, y = random.uniform(-1, 1, (6, count)) * np.array(
        [[ROTATION], [SHEAR], [SCALE], [STRETCH], [SHIFT], [SHIFT]]
    )
    wide, high = np.exp(scale + stretch / 2), np.exp(scale - stretch / 2)
    # A wave in both directions is shorter than either, and short waves must be weak. Wave 0 is the constant.
    frequency = np.array([0, np.inf, 1, 2, 3])
    frequency = np.hypot(frequency[:, None], frequency)
    strength = np.divide(WARP, frequency**2, where=frequency > 0, out=np.zeros((5, 5)))
    coefficients = random.uniform(-1, 1, (count, 2, 5, 5)) * strength
    coefficients[:, :, 0, 0] = np.stack([x, y], 1)
    coefficients[:, 0, 0, 1] = np.cos(angle) / wide
    coefficients[:, 0, 1, 0] = (np.sin(angle) + shear * np.cos(angle)) / wide
    coefficients[:, 1, 0, 1] = -np.sin(angle) / high
    coefficients[:, 1, 1, 0] = (np.cos(angle) - shear * np.sin(angle)) / high
    return torch.from_numpy(coefficients).float()
