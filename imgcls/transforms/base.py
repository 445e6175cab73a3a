"""Base of all transforms: applying and previewing them, random numbers, dtypes and groups of images."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from imgcls.messages import UserError
from imgcls.precision import send
from imgcls.reproducibility import generator as seeded_generator

Parameters = dict[str, Tensor]
Transform = Callable[[Tensor, Generator], Tensor]
Change = Callable[[Tensor, Tensor], Tensor]


class BatchTransform:
    """A transform in two steps: `draw` parameters for each image, then `apply` them."""

    def draw(self, n: int, height: int, width: int, generator: Generator) -> Parameters:
        """Parameters for n images of height x width pixels; tensors with first axis n, on the CPU."""
        raise NotImplementedError

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Change each image by its own parameters; (N, C, H, W) in and out."""
        raise NotImplementedError

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Draw for every image from `generator`, then apply; (N, C, H, W) in and out."""
        check_images(images)
        return self.apply(images, self.draw(len(images), *images.shape[-2:], generator))


def apply(
    transforms: Sequence[Transform],
    images: Tensor,
    generator: Generator,
    size: int | None = None,
    rows: slice = slice(None),
) -> Tensor:
    """Apply the transforms in order, all drawing from one generator; (N, C, H, W) in and out.

    Images that are the `rows` of a larger batch of `size` get the same parameters as in the whole batch.

    Raises:
        TypeError: the images are part of a larger batch, and a transform has no `draw` and `apply`.
    """
    whole = size is None or size == len(images)
    for transform in transforms:
        if whole:
            images = transform(images, generator)
        elif hasattr(transform, "draw") and hasattr(transform, "apply"):
            parameters = transform.draw(size, *images.shape[-2:], generator)
            images = transform.apply(images, {name: values[rows] for name, values in parameters.items()})
        else:
            raise TypeError(f"{transform!r} cannot be applied to a part of a batch: it has no draw and apply")
    return images


def preview(transforms: Sequence[Transform], image: Tensor, count: int = 16, seed: int = 0) -> Tensor:
    """One image augmented `count` times; (C, H, W) to (count, C, H, W)."""
    if image.ndim != 3:
        raise UserError(f"preview takes one image of shape (C, H, W); got {tuple(image.shape)}")
    return apply(transforms, image.repeat(count, 1, 1, 1), seeded_generator(seed, "preview"))


def resize(images: Tensor, side: int) -> Tensor:
    """Bilinear resizing with antialiasing; (N, C, H, W) to (N, C, side, side), same dtype."""
    check_images(images)
    if images.shape[-2:] == (side, side):
        return images
    resized = F.interpolate(to_levels(images), size=(side, side), mode="bilinear", antialias=True)
    return from_levels(resized, images)


def uniform(interval: tuple[float, float], n: int, generator: Generator) -> Tensor:
    """Float32 (n,)."""
    low, high = interval
    return low + (high - low) * torch.rand(n, generator=generator)


def check_images(images: Tensor) -> None:
    """Raise unless the images are (N, C, H, W), uint8 or float."""
    if images.ndim != 4:
        hint = "; add the batch axis with images[None]" if images.ndim == 3 else ""
        raise UserError(f"images must have shape (N, C, H, W); got {tuple(images.shape)}{hint}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise TypeError(f"images must be uint8, or float in [0, 1]; got {images.dtype}")


def restore(values: Tensor, images: Tensor) -> Tensor:
    """`values` with the dtype and memory format of `images`; for uint8, levels in [0, 255] are rounded."""
    if values.dtype != images.dtype:
        values = values.round() if images.dtype == torch.uint8 else values
        values = values.to(images.dtype)
    channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return values.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def to_levels(images: Tensor) -> Tensor:
    """Float32 in [0, 255] for every dtype: sums of whole levels are exact in any order."""
    return images.float() if images.dtype == torch.uint8 else images.float() * 255


def from_levels(levels: Tensor, images: Tensor) -> Tensor:
    """Levels in [0, 255] with the range, dtype and memory format of `images`."""
    return restore(levels if images.dtype == torch.uint8 else levels / 255, images)


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """One value per image, on the device of `like`, shaped to broadcast over (N, C, H, W)."""
    return send(values, like.device).view(-1, 1, 1, 1)


def grouped(images: Tensor, group: Tensor, changes: Sequence[Change | None]) -> Tensor:
    """Apply `changes[group[i]]` to image i, None for no change; `group` is on the CPU.

    A change gets the images of its group and their CPU indices, the rows of their parameters.
    """
    order = group.long().argsort(stable=True)
    counts = group.long().bincount(minlength=len(changes)).tolist()
    if len(images) in counts:  # one group has all images
        change = changes[counts.index(len(images))]
        return change(images, order) if change else images
    chunks = images.index_select(0, send(order, images.device)).split(counts)
    parts = [
        change(chunk, index) if change and len(index) else chunk
        for change, chunk, index in zip(changes, chunks, order.split(counts), strict=True)
    ]
    return torch.cat(parts).index_select(0, send(order.argsort(), images.device))
