"""Do explanations find what they should? Scores of maps against masks, body parts and the model, beside baselines."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pytorch_grad_cam.metrics.road import ROADLeastRelevantFirst, ROADMostRelevantFirst
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from scipy import ndimage
from torch import Tensor, nn

from imgcls import models
from imgcls.evaluation.statistics import over_seeds, wilson
from imgcls.explain.shared import check_images, device_of, targets_of
from imgcls.reproducibility import derive_seed, fork_rng, generator


# ------------------------------------------------------------------ the subject
def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """Whether the highest point of each map lies on the subject (Zhang et al. 2018, "Top-down neural attention").

    Args:
        maps: (N, H, W), not negative; a map that is zero everywhere points nowhere and loses.
        masks: bool (N, H, W), true on the subject.

    Returns:
        bool (N,).
    """
    maps, masks = _pairs(maps, masks)
    return masks.gather(1, maps.argmax(1, keepdim=True))[:, 0] & (maps.amax(1) > 0)


def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of each map that lies on the subject (Wang et al. 2020, Score-CAM); 0 for a map that is zero everywhere.

    Shapes: (N, H, W) twice, as in `pointing_game`, to float32 (N,).
    """
    maps, masks = _pairs(maps, masks)
    total = maps.double().sum(1)
    return torch.where(total > 0, (maps * masks).double().sum(1) / total, 0.0).float()


def mask_iou(maps: Tensor, masks: Tensor, threshold: float = 0.5) -> Tensor:
    """Intersection over union of the subject and where a map reaches `threshold` times its highest value.

    Shapes: (N, H, W) twice, as in `pointing_game`, to float32 (N,); 0 for a map that is zero everywhere.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a share of the highest value, above 0 and at most 1; got {threshold!r}")
    maps, masks = _pairs(maps, masks)
    top = maps.amax(1, keepdim=True)
    found = (maps >= threshold * top) & (top > 0)
    return (found & masks).sum(1) / (found | masks).sum(1)


def localisation(
    methods: Mapping[str, Tensor],
    masks: Tensor,
    threshold: float = 0.5,
    seed: int = 0,
    images: Tensor | None = None,
) -> pd.DataFrame:
    """How well maps find the subject, always beside maps that know nothing of the model.

    The baselines are those of `baseline_maps`. A method that does not beat all of them has shown nothing.

    Args:
        methods: name -> maps (N, H, W) of the same images.
        masks: bool (N, H, W).
        threshold: of `mask_iou`.
        seed: of the random maps.
        images: (N, C, H, W), for the baseline "edges", which is left out without them.

    Returns:
        One row a method, baselines last: method; pointing, energy and iou, means over the images, each with its
        95 % interval as `_low` and `_high` (Wilson for the first, Student's t for the others); n.
    """
    blind = _blind_maps(tuple(masks.shape), seed) if images is None else baseline_maps(images, seed)
    rows = []
    for name, maps in {**methods, **blind}.items():
        points = pointing_game(maps, masks)
        measured = {
            "pointing": wilson(int(points.sum()), len(points)),
            "energy": over_seeds(energy_inside(maps, masks).numpy()),
            "iou": over_seeds(mask_iou(maps, masks, threshold).numpy()),
        }
        row = {"method": name, "n": len(points)}
        for what, interval in measured.items():
            row |= {what: interval.value, f"{what}_low": interval.low, f"{what}_high": interval.high}
        rows.append(row)
    return pd.DataFrame(rows)


def add_scores(table: pd.DataFrame, name: str, scores: Mapping[str, Tensor]) -> pd.DataFrame:
    """The table of `localisation` with one more measure, such as `road`, as a mean with its 95 % interval.

    Args:
        table: one row a method, named in the column method.
        name: of the new column; its interval goes to `_low` and `_high`.
        scores: method -> one score per image (N,); methods without scores get NaN.

    Raises:
        ValueError: scores of a method that the table does not have.
    """
    if strange := [method for method in scores if method not in set(table["method"])]:
        raise ValueError(f"no row for {', '.join(map(repr, strange))}; the table has {', '.join(table['method'])}")
    found = {method: over_seeds(np.asarray(values, dtype=float)) for method, values in scores.items()}
    columns = {
        f"{name}{end}": [getattr(found[m], part) if m in found else np.nan for m in table["method"]]
        for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    return table.assign(**columns)


def baseline_maps(images: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Maps that no model has a part in, to be beaten by any explanation.

    "centre" is a Gaussian in the middle of the image, as wide as a quarter of its sides; "random" is noise on a grid
    of 7 x 7 cells, as coarse as a usual map; "edges" is the Sobel magnitude of the grey picture, smoothed to about
    the same coarseness.

    Args:
        images: (N, C, H, W), `uint8` or floats in [0, 1].
        seed: of the random maps.

    Returns:
        Name -> float32 (N, H, W) on the CPU, not negative.
    """
    check_images(images, "baseline_maps")
    n, _, height, width = images.shape
    grey = images.detach().cpu().double().mean(1).numpy()
    smooth = min(height, width) / 14  # half a cell
    edges = [ndimage.gaussian_filter(ndimage.generic_gradient_magnitude(one, ndimage.sobel), smooth) for one in grey]
    return _blind_maps((n, height, width), seed) | {"edges": torch.from_numpy(np.stack(edges)).float()}


def _blind_maps(shape: tuple[int, ...], seed: int) -> dict[str, Tensor]:
    n, height, width = shape
    y = (torch.arange(height) - (height - 1) / 2) / (height / 4)
    x = (torch.arange(width) - (width - 1) / 2) / (width / 4)
    centre = torch.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / 2)
    cells = torch.rand(n, 1, 7, 7, generator=generator(seed, "random maps"))
    noise = F.interpolate(cells, (height, width), mode="bilinear", align_corners=False)[:, 0]
    return {"centre": centre.expand(n, -1, -1), "random": noise - noise.amin((1, 2), keepdim=True)}


def _pairs(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    if maps.shape != masks.shape or maps.ndim != 3:
        raise ValueError(f"maps {tuple(maps.shape)} and masks {tuple(masks.shape)} must both be (N, H, W)")
    if masks.dtype != torch.bool or not masks.flatten(1).any(1).all():
        raise ValueError("masks must be bool and show some of the subject in every image; leave the others out")
    if (maps < 0).any():
        raise ValueError("maps must not be negative")
    return maps.flatten(1), masks.flatten(1)


# ------------------------------------------------------------------ the parts of the subject
def part_energy(
    maps: Tensor,
    parts: Tensor,
    names: Sequence[str],
    labels: Sequence[int] | Tensor | None = None,
    classes: Sequence[str] = (),
) -> pd.DataFrame:
    """Which body part carries the decision: the share of each map on each part, beside the part's share of the area.

    Shares are averaged over all images, also those that do not show the part, and so sum to 1 over the parts and the
    background. The density is energy over area: 1 is what a map that knows nothing gives, whatever the part's size.
    Maps that are zero everywhere have nothing to share out and are left out.

    Args:
        maps: (N, H, W), not negative.
        parts: (N, H, W) whole numbers; 0 is the background, k is names[k - 1] (the menagerie's `.parts`, `PARTS`).
        names: of the parts.
        labels: class of each image, for rows of each class beside those of all images.
        classes: names of the classes.

    Returns:
        One row for each part that is seen, largest energy first, and the background, for all images (class "all") and
        then for each class: class, part; energy with `_low` and `_high` (95 %, Student's t over images); area;
        density with `_low` and `_high` (of a ratio of means, linearised; Cochran 1977, section 2.11); shown, the
        images that show the part; n, the images.

    Raises:
        ValueError: shapes that do not fit, a negative map, a part without a name, or maps that are all zero.
    """
    if maps.shape != parts.shape or maps.ndim != 3:
        raise ValueError(f"maps {tuple(maps.shape)} and parts {tuple(parts.shape)} must both be (N, H, W)")
    if (maps < 0).any():
        raise ValueError("maps must not be negative")
    if int(parts.max()) > len(names):
        raise ValueError(f"part {int(parts.max())} has no name; {len(names)} names were given, such as menagerie.PARTS")
    if labels is not None and (len(labels) != len(maps) or int(max(labels)) >= len(classes)):
        raise ValueError(f"{len(labels)} labels up to {int(max(labels))} do not fit {len(maps)} maps of {classes!r}")
    weights, parts = maps.detach().cpu().double(), parts.cpu()
    alive = weights.sum((1, 2)) > 0
    if not alive.any():
        raise ValueError("every map is zero everywhere, so there is no energy to share out")
    weights, parts = weights[alive], parts[alive]
    energy = np.stack([(weights * (parts == k)).sum((1, 2)).numpy() for k in range(len(names) + 1)], 1)
    energy /= energy.sum(1, keepdims=True)
    area = np.stack([(parts == k).double().mean((1, 2)).numpy() for k in range(len(names) + 1)], 1)
    tables = [_part_rows("all", energy, area, names)]
    if labels is not None:
        label = np.asarray(labels)[alive.numpy()]
        tables += [
            _part_rows(name, energy[label == c], area[label == c], names)
            for c, name in enumerate(classes)
            if (label == c).any()
        ]
    return pd.concat(tables, ignore_index=True)


def _part_rows(group: str, energy: np.ndarray, area: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Rows of one class from the shares (N, parts) of its images."""
    rows = []
    for k, name in enumerate(("background", *names)):
        if not area[:, k].any():
            continue
        share, size = over_seeds(energy[:, k]), area[:, k].mean()
        density = share.value / size
        rest = over_seeds(energy[:, k] - density * area[:, k])  # its mean is zero
        rows.append(
            {"class": group, "part": name, "energy": share.value, "energy_low": share.low, "energy_high": share.high}
            | {"area": size, "density": density}
            | {"density_low": density + rest.low / size, "density_high": density + rest.high / size}
            | {"shown": int((area[:, k] > 0).sum()), "n": len(energy)}
        )
    table = pd.DataFrame(rows)
    order = table.assign(last=table["part"] == "background").sort_values(
        ["last", "energy"], ascending=[True, False], kind="stable"
    )
    return order.drop(columns="last").reset_index(drop=True)


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
    """Whether the model needs what a map calls important: remove and debias (ROAD, Rong et al. 2022).

    Pixels are replaced by what their neighbours let expect, once the most and once the least important; the score is
    half of how much more confidence the latter leaves, averaged over the shares removed. It lies in [-0.5, 0.5]; 0 is
    what a map without any meaning gives. The library's implementation does the work. Where a map is level (a
    class activation map is often exactly zero on half of the image) the library would remove all of it or nothing,
    whatever the share asked for, so ties are broken at random first; the order of all other pixels stays.

    Args:
        model: from `models.create_model`.
        images: (N, C, H, W), `uint8` or floats in [0, 1].
        maps: (N, H, W); only the order of the pixels counts.
        targets: class per image, one class for all, or None for the predicted class; its probability is measured.
        percentiles: 100 minus the per cent of pixels removed, for each step.
        batch_size: images per pass.
        seed: of the ties and of the imputation's noise; the latter depends on the batch size too.

    Returns:
        float32 (N,), one score per image, for `statistics.over_seeds` or `add_scores`.

    Raises:
        ValueError: maps or targets that do not fit the images, or percentiles outside of 1 to 99.
    """
    check_images(images, "road")
    if maps.shape != (len(images), *images.shape[-2:]):
        raise ValueError(f"maps {tuple(maps.shape)} do not fit images {tuple(images.shape)}; give one (H, W) per image")
    if not len(percentiles) or not all(1 <= p <= 99 for p in percentiles):
        raise ValueError(f"percentiles must be numbers from 1 to 99, at least one, not {tuple(percentiles)!r}")
    wanted, device = targets_of(targets, len(images)), device_of(model)
    orders = _ranks(maps, seed).numpy()
    scale, scores = 255 if images.dtype == torch.uint8 else 1, []
    with models.eval_mode(model), torch.no_grad(), fork_rng():
        torch.default_generator.manual_seed(derive_seed(seed, "road"))
        for start in range(0, len(images), batch_size):
            some = slice(start, start + batch_size)
            batch = images[some].to(device, torch.float32) / scale
            chosen = model(batch).argmax(1).tolist() if wanted is None else wanted[some]
            asked = [ClassifierOutputSoftmaxTarget(target) for target in chosen]
            left = {
                kind: np.mean([kind(p)(batch, orders[some], asked, model, return_diff=False) for p in percentiles], 0)
                for kind in (ROADLeastRelevantFirst, ROADMostRelevantFirst)
            }
            scores.append(torch.from_numpy(left[ROADLeastRelevantFirst] - left[ROADMostRelevantFirst]) / 2)
    return torch.cat(scores).float()


def _ranks(maps: Tensor, seed: int) -> Tensor:
    """Each map's pixels by rank from 0 to 1, float32 (N, H, W), equal ones in random order."""
    flat = maps.detach().cpu().double().flatten(1)
    shuffle = torch.rand(flat.shape, generator=generator(seed, "ties")).argsort(1)
    order = shuffle.gather(1, flat.gather(1, shuffle).argsort(dim=1, stable=True))
    ranks = torch.empty_like(flat).scatter_(1, order, torch.linspace(0, 1, flat.shape[1]).double().expand_as(flat))
    return ranks.view(maps.shape).float()
