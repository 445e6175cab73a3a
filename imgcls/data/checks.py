"""Whether a generated set keeps its promises: pure function of its index, masks that agree with parts."""

import pandas as pd
import torch

import menagerie

COUNT = 48  # images rendered for each check


def generated_checks(subset: str, image_size: int = 64, seed: int = 0) -> pd.DataFrame:
    """Render some images twice and look whether they are what the menagerie promises.

    Returns:
        One row a check: check, expected, measured, passed.
    """
    index = torch.arange(COUNT)
    first = menagerie.render(subset, "train", index, image_size, seed)
    again = menagerie.render(subset, "train", index, image_size, seed)
    alone = menagerie.render(subset, "train", index[COUNT // 2 :], image_size, seed)
    other = menagerie.render(subset, "train", index, image_size, seed + 1)
    agree = (first.masks == (first.parts > 0)).float().mean(dtype=torch.float64)
    classes = menagerie.subsets()[subset].kinds
    named = sum(kind in classes[k] for kind, k in zip(first.kinds, first.labels.tolist(), strict=True))
    seen = int((first.masks.flatten(1).sum(1) > 0).sum())
    half = COUNT // 2
    rows = [
        ("the same seed gives the same bytes", _same(first.images, again.images), COUNT, COUNT),
        ("so it does in another batch", _same(first.images[half:], alone.images), COUNT - half, COUNT - half),
        ("another seed gives other images", _same(first.images, other.images), 0, COUNT),
        ("the kind shown belongs to the label", named, COUNT, COUNT),
        ("a subject can be seen", seen, COUNT, COUNT),
    ]
    found = [(check, f"{right} of {n}", f"{measured} of {n}", measured == right) for check, measured, right, n in rows]
    pixels = ("the mask is where a part is", "100 % of pixels", f"{100 * agree:.4g} % of pixels", bool(agree == 1))
    return pd.DataFrame([*found, pixels], columns=["check", "expected", "measured", "passed"])


def _same(a: torch.Tensor, b: torch.Tensor) -> int:
    """How many of the images agree in every byte."""
    return int((a == b).flatten(1).all(dim=1).sum())
