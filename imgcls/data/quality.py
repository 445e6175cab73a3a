"""Images that may be useless for training, by simple statistics of their pixels and sizes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from imgcls.data.similarity import blocks
from imgcls.data.splits import Split

PLAIN = 4.0 / 255  # deviation of every channel below which an image has one colour
DARK = 0.2  # maximum brightness, without the brightest 1 % of the pixels
BRIGHT = 0.9  # minimum brightness, without the darkest 5 % of the pixels
SHARP = 0.05  # deviation of pixels from the mean of their 3 × 3 neighbourhood, relative to that of the image, when it
SHARP_AT = 64  # is reduced to this size: a larger image of the same scene is smoother from pixel to pixel
NARROW = 0.35  # shorter side divided by the longer one


def suspicious_images(splits: Sequence[Split]) -> dict[str, list[str]]:
    """Names of images of (almost) one colour, very dark, very bright, blurred, and of an extreme aspect ratio.

    The first four are properties of the decoded images, and an image has the first of them that applies; an image that
    was enlarged is never called blurred. The kinds follow cleanvision, the thresholds are our own.

    Returns:
        {"of one colour" | "very dark" | "very bright" | "blurred" | "very narrow": names}
    """
    found: dict[str, list[str]] = {}
    for split in splits:
        for rows in blocks(len(split)):
            for kind, flags in _flags(split.images[rows], None if split.sizes is None else split.sizes[rows]).items():
                places = flags.nonzero().squeeze(1).tolist()
                found.setdefault(kind, []).extend(split.names[rows.start + i] for i in places)
    return found


def _flags(images: torch.Tensor, sizes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Whether each image (N, C, H, W) is of a kind, each (N,)."""
    pixels = images.float() / 255
    gray = pixels.mean(dim=1, keepdim=True)
    ordered = gray.flatten(1).sort(dim=1).values  # (N, H * W)
    last = ordered.shape[1] - 1
    small = F.adaptive_avg_pool2d(gray, min(SHARP_AT, images.shape[2]))
    smooth = F.avg_pool2d(F.pad(small, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    sharpness = (small - smooth).flatten(1).std(dim=1, correction=0) / small.flatten(1).std(
        dim=1, correction=0
    ).clamp_min(1e-6)
    shorter, longer = (None, None) if sizes is None else sizes.aminmax(dim=1)
    none = torch.zeros(len(images), dtype=torch.bool)
    kinds = {
        "of one colour": (pixels.flatten(2).std(dim=2, correction=0) < PLAIN).all(dim=1),
        "very dark": ordered[:, round(0.99 * last)] < DARK,
        "very bright": ordered[:, round(0.05 * last)] > BRIGHT,
        "blurred": none if sizes is None else (sharpness < SHARP) & (shorter >= images.shape[2]),
    }
    seen = none
    for kind, flags in kinds.items():
        kinds[kind], seen = flags & ~seen, flags | seen
    return kinds | {"very narrow": none if sizes is None else shorter < NARROW * longer}
