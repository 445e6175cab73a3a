"""Scores of explanation maps for the notebooks: body parts of generated images, edges as a baseline, more columns."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch import Tensor

from imgcls.evaluation.statistics import over_seeds
from imgcls.explain import uninformative_maps


def baseline_maps(images: Tensor) -> dict[str, Tensor]:
    """Baselines that do not depend on a model: the centre and random maps of `uninformative_maps`, and "edges".

    The latter is the Sobel magnitude of the greyscale image, smoothed to about the coarseness of the random maps.

    Args:
        images: (N, C, H, W), `uint8` or floats in [0, 1].

    Returns:
        Name -> float32 (N, H, W) on the CPU, not negative.
    """
    n, _, height, width = images.shape
    gray = images.detach().cpu().double().mean(1).numpy()
    smooth = min(height, width) / 14  # half a cell
    edges = [ndimage.gaussian_filter(ndimage.generic_gradient_magnitude(one, ndimage.sobel), smooth) for one in gray]
    return uninformative_maps((n, height, width)) | {"edges": torch.from_numpy(np.stack(edges)).float()}


def add_scores(table: pd.DataFrame, name: str, scores: Mapping[str, Tensor]) -> pd.DataFrame:
    """The table of `explain.localisation` with one more measure, such as `road`, as a mean with its 95 % interval.

    Args:
        table: one row per method, named in the column method.
        name: of the new column; its interval is in `_low` and `_high`.
        scores: method -> one score per image (N,); methods without scores get NaN.

    Raises:
        ValueError: scores of a method that is not in the table.
    """
    if unknown := [method for method in scores if method not in set(table["method"])]:
        raise ValueError(f"no row for {', '.join(map(repr, unknown))}; the table has {', '.join(table['method'])}")
    intervals = {method: over_seeds(np.asarray(values, dtype=float)) for method, values in scores.items()}
    columns = {
        f"{name}{end}": [getattr(intervals[m], part) if m in intervals else np.nan for m in table["method"]]
        for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    return table.assign(**columns)


def part_energy(
    maps: Tensor,
    parts: Tensor,
    names: Sequence[str],
    labels: Sequence[int] | Tensor | None = None,
    classes: Sequence[str] = (),
) -> pd.DataFrame:
    """The share of explanation maps on each body part, beside the part's share of the image area.

    Shares are averaged over all images, also those that do not show the part, and so sum to 1 over the parts and the
    background. The density is energy over area: 1 for an uninformative map, whatever the part's size. Maps that are
    zero everywhere are left out.

    Args:
        maps: (N, H, W), not negative.
        parts: (N, H, W) whole numbers; 0 is the background, k is names[k - 1] (the menagerie's `.parts`, `PARTS`).
        names: of the parts.
        labels: class of each image, for rows of each class beside those of all images.
        classes: names of the classes.

    Returns:
        One row per visible part, largest energy first, and the background, for all images (class "all") and then for
        each class: class, part; energy with `_low` and `_high` (95 %, Student's t over images); area;
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
    nonzero = weights.sum((1, 2)) > 0
    if not nonzero.any():
        raise ValueError("every map is zero everywhere, so it has no energy on any part")
    weights, parts = weights[nonzero], parts[nonzero]
    energy = np.stack([(weights * (parts == k)).sum((1, 2)).numpy() for k in range(len(names) + 1)], 1)
    energy /= energy.sum(1, keepdims=True)
    area = np.stack([(parts == k).double().mean((1, 2)).numpy() for k in range(len(names) + 1)], 1)
    tables = [_part_rows("all", energy, area, names)]
    if labels is not None:
        label = np.asarray(labels)[nonzero.numpy()]
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
        residual = over_seeds(energy[:, k] - density * area[:, k])  # its mean is zero
        rows.append(
            {"class": group, "part": name, "energy": share.value, "energy_low": share.low, "energy_high": share.high}
            | {"area": size, "density": density}
            | {"density_low": density + residual.low / size, "density_high": density + residual.high / size}
            | {"shown": int((area[:, k] > 0).sum()), "n": len(energy)}
        )
    table = pd.DataFrame(rows)
    order = table.assign(last=table["part"] == "background").sort_values(
        ["last", "energy"], ascending=[True, False], kind="stable"
    )
    return order.drop(columns="last").reset_index(drop=True)
