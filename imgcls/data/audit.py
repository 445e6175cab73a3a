"""Images that occur more than once, within a split and across splits."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import torch
import torch.nn.functional as F

from imgcls.data.splits import Split, Splits
from menagerie import one_thread_each

GRID = 8  # images are compared at GRID × GRID cells first
BLOCK = 1024  # images compared with as many others at a time
COARSE_SLACK = 0.02  # the correlation of a candidate's cells may be this much below the threshold for its pixels
DETAIL = 0.4  # minimum correlation of detail finer than the cells: two horizons correlate in the cells alone
FLAT = 2.0 / 255  # deviation of cells below which an image has no structure to compare

Place = tuple[str, Split, int]  # name of a split, the split, and an index in it


@dataclass(frozen=True)
class Pair:
    """Two identical or nearly identical images; `similarity` is the correlation of their pixels."""

    first: str  # names
    second: str
    splits: tuple[str, str]
    indices: tuple[int, int]  # within their splits
    kind: str  # "exact" | "near"
    similarity: float
    same_label: bool


@dataclass(frozen=True)
class Audit:
    """Pairs of duplicates, across splits first, then by similarity: the best match of every image in each split."""

    pairs: tuple[Pair, ...]
    counts: dict[str, int]  # images of each split
    threshold: float

    def frame(self) -> pd.DataFrame:
        """Images of `split` with a duplicate in `also_in`; within one split, images that repeat an earlier image.

        Columns: split, also_in, images (of split), exact, near, other_label (of these, with another label than
        their duplicate).
        """
        names, rows = list(self.counts), []
        for i, second in enumerate(names):
            for first in names[: i + 1]:
                pairs = [pair for pair in self.pairs if pair.splits == (first, second)]
                exact = {pair.indices[1] for pair in pairs if pair.kind == "exact"}
                near = {pair.indices[1] for pair in pairs} - exact
                other_label = {pair.indices[1] for pair in pairs if not pair.same_label}
                rows.append({
                    "split": second, "also_in": first, "images": self.counts[second],
                    "exact": len(exact), "near": len(near), "other_label": len(other_label),
                })  # fmt: skip
        return pd.DataFrame(rows).sort_values("split", key=lambda s: s == s.iloc[0], kind="stable", ignore_index=True)

    def across(self) -> tuple[Pair, ...]:
        """Pairs whose images are in different splits: leaks from training into validation or test."""
        return tuple(pair for pair in self.pairs if pair.splits[0] != pair.splits[1])


def audit(splits: Splits, threshold: float = 0.9) -> Audit:
    """Find exact duplicates by their pixels and near-duplicates by correlation, within and across splits.

    Every image is compared with every other as 8 × 8 gray cells of mean 0 and norm 1, so brightness and contrast do
    not matter. The best candidate of each block of images is then confirmed on all pixels and channels, and on the
    detail that the cells cannot show. Images without structure (a plain color) are compared exactly only. The time
    grows with the square of the number of images.

    Args:
        splits: the data set.
        threshold: minimum correlation of the pixels of a near-duplicate.

    Raises:
        ValueError: if the threshold is not between 0.5 and 1.
    """
    if not 0.5 <= threshold <= 1:
        raise ValueError(f"threshold is a correlation between 0.5 and 1, not {threshold}")
    parts = [(name, split) for name, split in splits.items() if len(split)]
    found = [*_exact(parts), *_near(parts, threshold)]
    order = sorted(found, key=lambda p: (p.splits[0] == p.splits[1], -p.similarity, p.second, p.first))
    return Audit(tuple(order), {name: len(split) for name, split in parts}, threshold)


def _exact(parts: list[tuple[str, Split]]) -> Iterator[Pair]:
    seen: dict[bytes, list[Place]] = {}
    for name, split in parts:
        for index, image in enumerate(split.images.numpy()):
            earlier = seen.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), [])
            for first in earlier:
                yield _pair(first, (name, split, index), "exact", 1.0)
            if name not in {other_name for other_name, *_ in earlier}:  # the first of each split represents all
                earlier.append((name, split, index))


def _near(parts: list[tuple[str, Split]], threshold: float) -> Iterator[Pair]:
    def pairs(block: tuple[int, int]) -> list[Pair]:
        """Compare a block of images with all those before it, in its own and in the earlier splits."""
        (name, split), start = parts[block[0]], block[1]
        found = []
        for other_name, other in parts[: block[0] + 1]:
            stop = start + 1 if other_name == name else len(other)
            for begin in range(0, stop, BLOCK):
                coarse = cells[name][start : start + BLOCK] @ cells[other_name][begin : begin + BLOCK].T
                if other_name == name and begin == start:
                    coarse = coarse.tril_(-1)
                row = (coarse.amax(dim=1) >= threshold - COARSE_SLACK).nonzero().squeeze(1)
                if not len(row):
                    continue
                mine, theirs = row + start, coarse[row].argmax(dim=1) + begin
                similarity, detail, differ = _compare(split.images[mine], other.images[theirs])
                for k in ((similarity >= threshold) & (detail >= DETAIL) & differ).nonzero().squeeze(1).tolist():
                    first, second = (other_name, other, int(theirs[k])), (name, split, int(mine[k]))
                    found.append(_pair(first, second, "near", float(similarity[k])))
        return found

    blocks = [(i, start) for i, (_, split) in enumerate(parts) for start in range(0, len(split), BLOCK)]
    with one_thread_each() as pool:  # torch's own threads wait for each other in products as small as these
        cells = {name: torch.cat(list(pool.map(_cells, split.images.split(BLOCK)))) for name, split in parts}
        for found in pool.map(pairs, blocks):
            yield from found


def _cells(images: torch.Tensor) -> torch.Tensor:
    """Float32 (N, GRID²) of mean 0 and norm 1; zeros for images without structure."""
    cells = F.adaptive_avg_pool2d(images.float().mean(dim=1, keepdim=True), GRID).flatten(1)
    cells = cells - cells.mean(dim=1, keepdim=True)
    structured = cells.square().mean(dim=1, keepdim=True).sqrt() >= FLAT * 255
    return torch.where(structured, F.normalize(cells, dim=1), 0.0)


def _compare(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Correlation of the pixels, correlation of the detail, and whether any pixel differs, each (N,)."""
    pixels = [x.float() for x in (a, b)]
    details = [x - F.interpolate(F.adaptive_avg_pool2d(x, GRID), x.shape[-2:], mode="bilinear") for x in pixels]
    return _correlation(*pixels), _correlation(*details), (a != b).flatten(1).any(dim=1)


def _correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = (F.normalize(x.flatten(1) - x.flatten(1).mean(dim=1, keepdim=True)) for x in (a, b))
    return (a * b).sum(dim=1)


def _pair(first: Place, second: Place, kind: str, similarity: float) -> Pair:
    (name, split, i), (other_name, other, j) = first, second
    return Pair(
        first=split.names[i],
        second=other.names[j],
        splits=(name, other_name),
        indices=(i, j),
        kind=kind,
        similarity=round(similarity, 4),
        same_label=bool(split.labels[i] == other.labels[j]),
    )
