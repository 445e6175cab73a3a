"""Groups of images that show the same picture, which a random split must not separate."""

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import torch

from imgcls import files
from imgcls.data.generated import grayscale
from imgcls.data.similarity import SIMILARITY, blocks, candidates, confirm, sketch
from imgcls.progress import transient_progress
from menagerie import one_thread_each

FORMAT = 1  # increase when the same images give other groups
IMAGE_SIZE, CHANNELS = 32, 3  # at which images are compared, so that the split depends on neither
SLACK = 0.02  # below the thresholds of `audit`, which compares the images at the size in use
PAIRS = 256  # confirmed at a time


def stored_groups(path: Path, find: Callable[[], list[list[str]]]) -> list[list[str]]:
    """Groups of names in the JSON file `path`; if it is missing, damaged or in another format, found and written."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["format"] == FORMAT:
            return known["groups"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    groups = find()
    files.write(path, json.dumps({"format": FORMAT, "groups": groups}))
    return groups


def find_groups(images: torch.Tensor) -> list[list[int]]:
    """Groups of two or more exact or near duplicates of images (N, C, H, W), in the order of their first image.

    A duplicate of a duplicate belongs to the group too. The time grows with the square of the number of images.
    """
    group = torch.arange(len(images))
    members = {i: [i] for i in range(len(images))}

    def join(i: int, j: int) -> None:
        kept, gone = sorted((int(group[i]), int(group[j])), key=lambda one: -len(members[one]))
        if kept != gone:
            group[members[gone]] = kept
            members[kept] += members.pop(gone)

    first: dict[bytes, int] = {}
    for i, image in enumerate(images.numpy()):
        join(i, first.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), i))
    index = torch.tensor(list(first.values()), dtype=torch.int64)
    images = images[index]  # of exact duplicates, one is compared further
    parts = list(blocks(len(images)))
    lock, total = threading.Lock(), len(images)

    def compare(n: int) -> int:
        """Compare a block of images with itself and with those before it; returns its number of images."""
        for m in range(n + 1):
            a, b, _, mirrored = candidates(sketches[n], sketches[m], SLACK)
            a, b = a + parts[n].start, b + parts[m].start
            for some in (b < a).nonzero().squeeze(1).split(PAIRS):
                some = some[group[index[a[some]]] != group[index[b[some]]]]  # not joined already
                one, other, flip = images[a[some]], images[b[some]], mirrored[some]
                alike = confirm(one, other, flip, SIMILARITY, SLACK)[1]
                gray = (grayscale(x) for x in (one[~alike], other[~alike]))
                alike[~alike] = confirm(*gray, flip[~alike], SIMILARITY, SLACK)[1]  # for use in grayscale
                with lock:
                    for i, j in zip(index[a[some[alike]]].tolist(), index[b[some[alike]]].tolist(), strict=True):
                        join(i, j)
        return len(sketches[n][0])

    progress = transient_progress(total, lambda done: f"looking for duplicates: {done:,} of {total:,} images")
    with progress as advance, one_thread_each() as pool:
        sketches = list(pool.map(sketch, (images[part] for part in parts)))
        for done in pool.map(compare, range(len(parts))):
            advance(done)
    return sorted(sorted(one) for one in members.values() if len(one) > 1)
