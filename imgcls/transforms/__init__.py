"""Random augmentation of whole batches, one independent draw per image.

Every transform is a frozen dataclass (plain data: comparable, printable, `dataclasses.asdict`-able) with

    draw(n, height, width, generator) -> dict of parameter tensors, first axis n, on the CPU
    apply(images, parameters) -> images, a deterministic function of its two arguments
    transform(images, generator) = apply(images, draw(...))

Images are (N, C, H, W), uint8 or float in [0, 1]; dtype, device and memory format are preserved. Arithmetic is
float32, rounded once to the nearest level where the images are uint8. All random numbers come from the CPU
generator, so the parameters are the same on every device and thread count. `MixUp` and `CutMix` take and return
targets too.

Pixels outside the image (`mode`): "constant" is black, "reflect" mirrors without repeating the border pixel,
"edge" repeats the border pixel.
"""

from imgcls.transforms.base import Transform, apply, preview, resize
from imgcls.transforms.colour import ColorJitter
from imgcls.transforms.geometry import (
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
)
from imgcls.transforms.mix import CutMix, MixUp
from imgcls.transforms.trivial_augment import TRIVIAL_OPERATIONS, TrivialAugment

__all__ = [
    "TRIVIAL_OPERATIONS", "ColorJitter", "CutMix", "MixUp", "RandomAffine", "RandomCrop", "RandomHorizontalFlip",
    "RandomResizedCrop", "RandomRotation", "RandomVerticalFlip", "Transform", "TrivialAugment", "apply", "preview",
    "resize",
]  # fmt: skip
