"""Generated images: no download, exact masks and parts, and as many as one asks for."""

import difflib
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from imgcls.menagerie import shapes
from imgcls.menagerie.draws import Draws

SPLITS = ("train", "val", "test")
CHUNK = 2**17  # pixels rendered at a time: its temporaries stay in the processor's cache


@dataclass(frozen=True)
class Subset:
    """A kind of images: image i shows class i modulo the number of classes, everything else is drawn."""

    classes: tuple[str, ...]
    parts: tuple[str, ...]  # names of the values 1, 2, … of Generated.parts
    sizes: tuple[int, int, int]  # of train, val and test, unless asked otherwise
    render: Callable[[Draws, torch.Tensor, int, float], tuple[torch.Tensor, torch.Tensor]]  # -> images, parts


SUBSETS = {"shapes": Subset(shapes.CLASSES, shapes.PARTS, (4000, 500, 1000), shapes.render)}


@dataclass(frozen=True, eq=False)
class Generated:
    """A batch of generated images with what is known about every pixel."""

    images: torch.Tensor  # uint8 (N, 3, H, W)
    masks: torch.Tensor  # bool (N, H, W), the visible subject
    parts: torch.Tensor  # uint8 (N, H, W), 0 is background
    labels: torch.Tensor  # int64 (N,)
    classes: tuple[str, ...]


def generate(
    subset: str,
    split: str = "train",
    start: int = 0,
    count: int = 64,
    image_size: int = 64,
    seed: int = 0,
    habitat_bias: float = 0.0,
) -> Generated:
    """Render images `start` to `start + count` of a split.

    Image i is a pure function of (subset, split, seed, i): the same bytes whatever is rendered beside it and by
    however many threads. Another `image_size` shows the same scene in more or fewer pixels.

    Args:
        subset: a name in SUBSETS.
        split: train, val or test.
        start: index of the first image.
        count: number of images.
        image_size: height and width in pixels.
        seed: of every random draw.
        habitat_bias: probability with which the background, and what grows in it, takes the hue that belongs to
            the class; masks and parts do not depend on it.

    Raises:
        ValueError: for an unknown subset or split, or a number out of range.
    """
    kind = _subset(subset)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of: {', '.join(SPLITS)}")
    if start < 0 or count < 0 or start + count > 2**31:
        raise ValueError(f"start {start} and count {count} must not be negative, with a sum of at most 2**31")
    if image_size < 1:
        raise ValueError(f"image_size must be at least 1 pixel, not {image_size}")
    if not 0 <= habitat_bias <= 1:
        raise ValueError(f"habitat_bias is a probability from 0 to 1, not {habitat_bias}")
    images = torch.empty(count, 3, image_size, image_size, dtype=torch.uint8)
    parts = torch.empty(count, image_size, image_size, dtype=torch.uint8)
    labels = torch.arange(start, start + count) % len(kind.classes)
    step = max(1, CHUNK // image_size**2)

    def fill(begin: int) -> None:
        rows = slice(begin, min(begin + step, count))
        draws = Draws(f"{subset}/{split}/{seed}", torch.arange(start + rows.start, start + rows.stop))
        images[rows], parts[rows] = kind.render(draws, labels[rows], image_size, habitat_bias)

    with one_thread_each() as pool:
        list(pool.map(fill, range(0, count, step)))
    return Generated(images, parts > 0, parts, labels, kind.classes)


def sizes(subset: str) -> dict[str, int]:
    """Number of images of each split, unless asked otherwise."""
    return dict(zip(SPLITS, _subset(subset).sizes, strict=True))


@contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A pool of as many threads as torch would use, each of which computes alone.

    An image takes a thousand small operations; threads that meet after every one of them wait for the slowest,
    which on a busy machine costs many times the work itself.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # taken over by the threads that start now
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


@cache
def source_hash() -> str:
    """Hash of the code that draws: cached images made by other code must not be taken for these."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _subset(name: str) -> Subset:
    if name not in SUBSETS:
        close = difflib.get_close_matches(name, SUBSETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of: {', '.join(SUBSETS)}"
        raise ValueError(f"unknown subset {name!r}; {hint}")
    return SUBSETS[name]
