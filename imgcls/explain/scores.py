"""Quantitative scores of explanation maps: against masks of the subject, and against the model (ROAD)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pytorch_grad_cam.metrics.road import ROADLeastRelevantFirst, ROADMostRelevantFirst
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from torch import Tensor, nn

from imgcls.evaluation.statistics import over_seeds, wilson
from imgcls.explain.activations import check_images, device_of, one_per_image
from imgcls.messages import UserError
from imgcls.models.surgery import eval_mode
from imgcls.reproducibility import derive_seed, fork_rng, generator


# ------------------------------------------------------------------ the subject
def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """Whether the maximum of each map is on the subject (Zhang et al. 2018, "Top-down neural attention").

    Args:
        maps: (N, H, W), not negative; false for a map that is zero everywhere.
        masks: bool (N, H, W), true on the subject.

    Returns:
        bool (N,).
    """
    maps, masks = _pairs(maps, masks)
    return masks.gather(1, maps.argmax(1, keepdim=True))[:, 0] & (maps.amax(1) > 0)


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of each map's sum on the subject (Wang et al. 2020, Score-CAM); 0 for a map that is zero everywhere.

    Shapes: (N, H, W) twice, as in `pointing_game`, to float32 (N,).
    """
    maps, masks = _pairs(maps, masks)
    total = maps.double().sum(1)
    return torch.where(total > 0, (maps * masks).double().sum(1) / total, 0.0).float()


def mask_iou(maps: Tensor, masks: Tensor, threshold: float = 0.5) -> Tensor:
    """Intersection over union of the subject and the area where a map reaches `threshold` times its maximum.

    Shapes: (N, H, W) twice, as in `pointing_game`, to float32 (N,); 0 for a map that is zero everywhere.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"threshold is a share of the maximum, above 0 and at most 1; got {threshold!r}")
    maps, masks = _pairs(maps, masks)
    top = maps.amax(1, keepdim=True)
    above = (maps >= threshold * top) & (top > 0)
    return (above & masks).sum(1) / (above | masks).sum(1)


def localisation(methods: Mapping[str, Tensor], masks: Tensor) -> pd.DataFrame:
    """How well maps localise the subject, compared with the baselines of `uninformative_maps`.

    A method that does not exceed all baselines is no evidence that the prediction depends on the subject.

    Args:
        methods: name -> maps (N, H, W) of the same images.
        masks: bool (N, H, W).

    Returns:
        One row per method, baselines last: method; pointing, energy and iou, means over the images, each with its
        95 % interval as `_low` and `_high` (Wilson for the first, Student's t for the others); n.
    """
    rows = []
    for name, maps in {**methods, **uninformative_maps(masks.shape)}.items():
        points = pointing_game(maps, masks)
        measured = {
            "pointing": wilson(int(points.sum()), len(points)),
            "energy": over_seeds(energy_inside(maps, masks).numpy()),
            "iou": over_seeds(mask_iou(maps, masks).numpy()),
        }
        row = {"method": name, "n": len(points)}
        for what, interval in measured.items():
            row |= {what: interval.value, f"{what}_low": interval.low, f"{what}_high": interval.high}
        rows.append(row)
    return pd.DataFrame(rows)


def uninformative_maps(shape: Sequence[int]) -> dict[str, Tensor]:
    """Maps that do not depend on any model, as baselines for explanations.

    "centre" is a Gaussian in the middle of the image with a standard deviation of a quarter of its sides. "random" is
    noise on 7 x 7 cells, as coarse as a typical class activation map, and the same in every call.

    Shapes: (N, H, W) as a tuple to name -> float32 (N, H, W) on the CPU, not negative.
    """
    n, height, width = shape
    y = (torch.arange(height) - (height - 1) / 2) / (height / 4)
    x = (torch.arange(width) - (width - 1) / 2) / (width / 4)
    centre = torch.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / 2)
    cells = torch.rand(n, 1, 7, 7, generator=generator(0, "random maps"))
    noise = F.interpolate(cells, (height, width), mode="bilinear", align_corners=False)[:, 0]
    return {"centre": centre.expand(n, -1, -1), "random": noise - noise.amin((1, 2), keepdim=True)}


def _pairs(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    if maps.shape != masks.shape or maps.ndim != 3:
        raise UserError(f"maps {tuple(maps.shape)} and masks {tuple(masks.shape)} must both be (N, H, W)")
    if masks.dtype != torch.bool or not masks.flatten(1).any(1).all():
        raise UserError("masks must be bool and contain some of the subject in every image; leave out the other images")
    if (maps < 0).any():
        raise UserError("maps must not be negative")
    return maps.flatten(1), masks.flatten(1)


# ------------------------------------------------------------------ the model
def road(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: int | Sequence[int] | Tensor | None = None,
    percentiles: Sequence[float] = (20, 40, 60, 80),
    batch_size: int = 64,
    seed: int = 0,
) -> Tensor:
    """Whether the model depends on the important pixels of a map: remove and debias (ROAD, Rong et al. 2022).

    Pixels are replaced by a noisy interpolation of their neighbours, first the most and then the least important. The
    score is half the difference in confidence, averaged over the shares removed. It is in [-0.5, 0.5], and 0 for an
    uninformative map. Ties are broken at random before the library's computation: of a constant area (a class
    activation map is often exactly zero on half of the image) the library would remove all or nothing.

    Args:
        model: from `models.create_model`.
        images: (N, C, H, W), `uint8` or floats in [0, 1].
        maps: (N, H, W); only the order of the pixels counts.
        targets: class whose probability is measured: one per image, one for all, or None for the predicted class.
        percentiles: 100 minus the percentage of pixels removed, for each step.
        batch_size: images per pass.
        seed: random seed for ties and for the noise of the imputation; the noise depends on the batch size too.

    Returns:
        float32 (N,), one score per image.

    Raises:
        ValueError: maps or targets that do not fit the images, or percentiles outside of 1 to 99.
    """
    check_images(images, "road")
    if maps.shape != (len(images), *images.shape[-2:]):
        raise UserError(f"maps {tuple(maps.shape)} do not fit images {tuple(images.shape)}; give one (H, W) per image")
    if not len(percentiles) or not all(1 <= p <= 99 for p in percentiles):
        raise UserError(f"percentiles must be numbers from 1 to 99, at least one, not {tuple(percentiles)!r}")
    targets, device = one_per_image(targets, len(images)), device_of(model)
    orders = break_ties(maps, seed).numpy()
    scale, scores = 255 if images.dtype == torch.uint8 else 1, []
    with eval_mode(model), torch.no_grad(), fork_rng():
        torch.default_generator.manual_seed(derive_seed(seed, "road"))
        for start in range(0, len(images), batch_size):
            some = slice(start, start + batch_size)
            batch = images[some].to(device, torch.float32) / scale
            chosen = model(batch).argmax(1).tolist() if targets is None else targets[some]
            outputs = [ClassifierOutputSoftmaxTarget(target) for target in chosen]
            least, most = (
                np.mean([metric(p)(batch, orders[some], outputs, model, return_diff=False) for p in percentiles], 0)
                for metric in (ROADLeastRelevantFirst, ROADMostRelevantFirst)
            )
            scores.append(torch.from_numpy(least - most) / 2)
    return torch.cat(scores).float()


def break_ties(maps: Tensor, seed: int) -> Tensor:
    """The rank of each map's pixels from 0 to 1, float32 (N, H, W), with ties in random order."""
    flat = maps.detach().cpu().double().flatten(1)
    shuffle = torch.rand(flat.shape, generator=generator(seed, "ties")).argsort(1)
    order = shuffle.gather(1, flat.gather(1, shuffle).argsort(dim=1, stable=True))
    ranks = torch.empty_like(flat).scatter_(1, order, torch.linspace(0, 1, flat.shape[1]).double().expand_as(flat))
    return ranks.view(maps.shape).float()
