"""The image patches that activate a unit of a network most, by exact receptive fields."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pandas as pd
import torch
from torch import Tensor, nn

from imgcls.explain.activations import Recorded, as_channels, check_images, device_of, find_layer, recording


def strongest_patches(
    model: nn.Module, images: Tensor, layer: str | nn.Module, units: Sequence[int] | Tensor, k: int = 3,
    batch_size: int = 64,
) -> pd.DataFrame:  # fmt: skip
    """The images that activate each unit most, and the receptive field of its strongest position in each.

    The receptive field is clipped at the image's border. It is found by propagating NaN from every row and column of
    pixels, and hence exact, also with paddings and branches; behind global pooling or attention it is the whole image.

    Args:
        model: from `models.create_model`.
        images: (N, C, H, W), `uint8` or floats in [0, 1].
        layer: module, or its name.
        units: its channels.
        k: images per unit.
        batch_size: images per pass.

    Returns:
        One row per unit and image, strongest first: unit, rank (from 1), image (its index), activation, and the box
        in pixels: top, left, bottom, right, the latter two exclusive.

    Raises:
        ValueError: k out of range, or an unknown unit or layer.
    """
    check_images(images, "strongest_patches")
    if not 1 <= k <= len(images):
        raise ValueError(f"k={k} images per unit, of {len(images)}; choose from 1 to {len(images)}")
    module, device = find_layer(model, layer), device_of(model)
    values, positions = [], []
    with recording(model, module, images.shape[-2:]) as output, torch.no_grad():
        for start in range(0, len(images), batch_size):
            model(images[start : start + batch_size].to(device))
            best = output[0][:, as_channels(units, output[0])].float().flatten(2).max(2)
            values.append(best.values.cpu())
            positions.append(best.indices.cpu())
    width = output[0].shape[-1]
    strongest = torch.cat(values).topk(k, dim=0)  # (k, units)
    positions = torch.cat(positions).gather(0, strongest.indices)
    rows, columns = receptive_fields(model, module, images.shape[1:], batch_size)
    table = []
    for u, unit in enumerate(units):
        for rank in range(k):
            y, x = divmod(int(positions[rank, u]), width)
            (top, bottom), (left, right) = rows[y], columns[x]
            box = {"top": top, "left": left, "bottom": bottom, "right": right}
            value = {"image": int(strongest.indices[rank, u]), "activation": float(strongest.values[rank, u])}
            table.append({"unit": int(unit), "rank": rank + 1, **value, **box})
    return pd.DataFrame(table)


def receptive_fields(
    model: nn.Module, layer: nn.Module, shape: Sequence[int], batch_size: int = 64
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """First and last pixel, the latter exclusive, that each row and each column of a layer's map depends on.

    `shape` is that of one image, (C, H, W).
    """
    tensors = {name: t.detach().cpu() for name, t in (*model.named_parameters(), *model.named_buffers())}
    fields = []
    with recording(model, layer, shape[-2:], stop=True) as output, torch.no_grad(), reference_convolutions():
        for dim in (1, 2):  # rows, then columns of pixels
            reached = []
            for some in torch.arange(shape[dim]).split(batch_size):
                x = torch.full((len(some), *shape), 0.5)
                for image, at in zip(x, some, strict=True):
                    image.select(dim, int(at)).fill_(torch.nan)
                with suppress(Recorded):
                    torch.func.functional_call(model, tensors, (x,))
                reached.append(output[0].isnan().any(1).any(3 - dim))
            fields.append([_span(column) for column in torch.cat(reached).T])  # of (pixels, positions)
    return tuple(fields)


@contextmanager
def reference_convolutions() -> Iterator[None]:
    """Convolution by one matrix product; Winograd's computes several positions at once and spreads NaN over all."""
    fast, *_ = torch.backends.mkldnn.set_flags(False, _fp32_precision=None)  # not `flags`, which changes TF32 too
    try:
        with torch.backends.nnpack.flags(enabled=False):
            yield
    finally:
        torch.backends.mkldnn.set_flags(fast, _fp32_precision=None)


def _span(reached: Tensor) -> tuple[int, int]:
    positions = reached.nonzero()[:, 0]
    return int(positions[0]), int(positions[-1]) + 1
