"""Scores of explanation maps for the notebooks: body parts of generated images, edges as a baseline, more columns."""

from collections.abc import Collection, Mapping, Sequence

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


def above_baselines(table: pd.DataFrame, baselines: Collection[str]) -> dict[str, list[str]]:
    """Methods whose interval is above the intervals of all baselines, for each measure.

    Args:
        table: From `explain.localisation` or `add_scores`: method, and for each measure a column with `_low`, `_high`.
        baselines: Names of the methods that are baselines.
    """
    blind = table["method"].isin(list(baselines))
    limits = {name: table.loc[blind, f"{name}_high"].max() for name in _measures(table)}
    return {
        name: table.loc[~blind & (table[f"{name}_low"] > limit), "method"].tolist() for name, limit in limits.items()
    }


def baseline_text(table: pd.DataFrame, baselines: Collection[str], measures: Mapping[str, str]) -> str:
    """How many methods have a lower value than the best baseline, and which are above all baselines, as sentences.

    Args:
        table: As of `above_baselines`.
        baselines: Names of the methods that are baselines.
        measures: Measure -> its name for readers.
    """
    blind = table["method"].isin(list(baselines))
    lower = {name: int((table.loc[~blind, name] < table.loc[blind, name].max()).sum()) for name in _measures(table)}
    maps, above = int((~blind).sum()), above_baselines(table, baselines)
    if len(lower) > 1 and all(count == maps for count in lower.values()):
        values = f"In all {len(lower)} measures, every map has a lower value than the best baseline."
    else:
        counts = "; ".join(f"in {measures[name]}, {count} of {maps}" for name, count in lower.items())
        values = f"Maps with a lower value than the best baseline: {counts}."
    if not any(above.values()):
        return f"{values} No map is above all baselines, interval against interval."
    winners = "; ".join(f"in {measures[name]}, {', '.join(names) or 'none'}" for name, names in above.items())
    return f"{values} Above all baselines, interval against interval: {winners}."


def _measures(table: pd.DataFrame) -> list[str]:
    return [column.removesuffix("_low") for column in table if column.endswith("_low")]


def head_energy(maps: Tensor, parts: Tensor, names: Sequence[str], head: Collection[str]) -> pd.DataFrame:
    """The result of `part_energy` for two groups of parts, "head" and "rest of the body", and the background.

    Args:
        maps: (N, H, W), not negative.
        parts: (N, H, W) whole numbers; 0 is the background, k is names[k - 1].
        names: Of the parts.
        head: Names of the parts that belong to the head.

    Returns:
        The columns of `part_energy`; the index is the group.
    """
    of_head = torch.tensor([k for k, name in enumerate(names, start=1) if name in head])
    groups = 2 * (parts > 0).long() - torch.isin(parts.long(), of_head.to(parts.device)).long()
    return part_energy(maps, groups, ("head", "rest of the body")).set_index("part")


def head_table(groups: pd.DataFrame) -> pd.DataFrame:
    """The result of `head_energy` as text."""
    share = "{:.1f} %".format
    ratios = [_ratio(row) for row in groups.to_dict("records")]
    columns = {"group": groups.index, "share of the maps": [share(100 * one) for one in groups["energy"]]}
    columns |= {"share of the area": [share(100 * one) for one in groups["area"]], "maps / area": ratios}
    return pd.DataFrame(columns)


def head_text(groups: pd.DataFrame) -> str:
    """Whether the result of `head_energy` supports "focused on fur texture and facial patterns", as sentences."""
    head, body = groups.loc["head"], groups.loc["rest of the body"]
    if head["density_low"] > body["density_high"]:
        verdict = 'The head gets more of the maps for its size than the rest of the body, as in "facial patterns".'
    elif head["density_high"] < body["density_low"]:
        verdict = 'The head gets less of the maps for its size than the rest of the body, against "facial patterns".'
    else:
        verdict = (
            "The head does not clearly get more of the maps for its size (the intervals overlap), so the maps give no "
            'support for "facial patterns".'
        )
    return (
        "Of the report's sentence on Grad-CAM, the body parts can be tested. The head's share of the maps is "
        f"{_ratio(head)} times its share of the area, that of the rest of the body {_ratio(body)} times. {verdict} "
        "Texture was not measured."
    )


def _ratio(row: Mapping[str, float]) -> str:
    return f"{row['density']:.1f} [{row['density_low']:.1f}, {row['density_high']:.1f}]"


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
