"""Images that occur more than once, within a split and across splits."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from imgcls.data.similarity import SIMILARITY, blocks, candidates, confirm, sketch
from imgcls.data.splits import Split, Splits
from imgcls.messages import UserError
from menagerie import one_thread_each

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
    mirrored: bool = False  # one is the other with left and right exchanged


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


def audit(splits: Splits, threshold: float = SIMILARITY) -> Audit:
    """Find exact duplicates by their pixels and near-duplicates by correlation, within and across splits.

    Every image is compared with every other, and with its mirror image, by a sketch of its brightness in which neither
    contrast nor mirroring matters. The best candidate of each block of images is then confirmed on all pixels and
    channels, and on the detail that a coarse view cannot show. A mirrored copy is a near-duplicate. Images without
    structure (a plain color) are compared exactly only. The time grows with the square of the number of images.

    Across a split that `load` drew there are none, as it draws whole groups of duplicates, found by the same measure
    on smaller images with slightly lower thresholds. What is found across given splits is a leak.

    Args:
        splits: the data set.
        threshold: minimum correlation of the pixels of a near-duplicate.

    Raises:
        ValueError: if the threshold is not between 0.5 and 1.
    """
    if not 0.5 <= threshold <= 1:
        raise UserError(f"threshold is a correlation between 0.5 and 1, not {threshold}")
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
    def pairs(k: int) -> list[Pair]:
        """Compare a block of images with all those before it, in its own and in the earlier splits."""
        name, split, rows = places[k]
        found = []
        for m in range(k + 1):
            other_name, other, other_rows = places[m]
            a, b, correlation, mirrored = candidates(sketches[k], sketches[m], slack=0)
            order = correlation.argsort(descending=True, stable=True)
            order = order[b[order] < a[order]] if m == k else order
            best = order[np.unique(a[order].numpy(), return_index=True)[1]]  # of each image
            mine, theirs, flipped = a[best] + rows.start, b[best] + other_rows.start, mirrored[best]
            one, another = split.images[mine], other.images[theirs]
            similarity, alike = confirm(one, another, flipped, threshold, slack=0)
            alike &= flipped | (one != another).flatten(1).any(dim=1)  # equal ones are exact duplicates
            for i in alike.nonzero().squeeze(1).tolist():
                first, second = (other_name, other, int(theirs[i])), (name, split, int(mine[i]))
                found.append(_pair(first, second, "near", float(similarity[i]), bool(flipped[i])))
        return found

    places = [(name, split, rows) for name, split in parts for rows in blocks(len(split))]
    with one_thread_each() as pool:  # torch's own threads wait for each other in products as small as these
        sketches = list(pool.map(sketch, (split.images[rows] for _, split, rows in places)))
        for found in pool.map(pairs, range(len(places))):
            yield from found


def _pair(first: Place, second: Place, kind: str, similarity: float, mirrored: bool = False) -> Pair:
    (name, split, i), (other_name, other, j) = first, second
    return Pair(
        first=split.names[i],
        second=other.names[j],
        splits=(name, other_name),
        indices=(i, j),
        kind=kind,
        similarity=round(similarity, 4),
        same_label=bool(split.labels[i] == other.labels[j]),
        mirrored=mirrored,
    )
