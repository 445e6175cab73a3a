"""How alike images are, mirrored copies included: candidates by a sketch of each image, confirmed on all pixels."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

GRID = 16  # an image is sketched by the frequencies of GRID × GRID gray cells
LOW = 8  # and compared with every other by the LOW × LOW lowest of them first
CELLS = 8  # detail is what CELLS × CELLS cells do not show
BLOCK = 1024  # images compared with as many others at a time
COARSE, FINE = 0.7, 0.45  # minimum correlation of the low frequencies and of all frequencies of a candidate
SIMILARITY = 0.9  # minimum correlation of the pixels of near-duplicates
DETAIL = 0.4  # minimum correlation of their detail: two horizons correlate in the cells alone
FLAT = 2.0 / 255  # deviation of the cells below which an image has no structure to compare

Sketches = tuple[torch.Tensor, torch.Tensor]  # (N, LOW²) and (N, GRID²), the even horizontal frequencies first


def sketch(images: torch.Tensor) -> Sketches:
    """Low and all frequencies of the brightness of images (N, C, H, W), each of norm 1; zeros without structure.

    A cosine transform of the cells, each frequency divided by its wavelength: photographs have about as much structure
    at every scale then, and unlike ones hardly correlate. Mirroring an image changes the sign of its odd horizontal
    frequencies and nothing else. Brightness and contrast do not matter.
    """
    cells = F.adaptive_avg_pool2d(images.float().mean(dim=1, keepdim=True), GRID).squeeze(1)
    structured = F.adaptive_avg_pool2d(cells, CELLS).flatten(1).std(dim=1, correction=0) >= FLAT * 255
    k = torch.arange(GRID)
    waves = F.normalize(torch.cos(torch.pi * (k + 0.5) * k[:, None] / GRID))  # (frequency, cell)
    weights = torch.hypot(k[:, None].float(), k.float())
    frequencies = (waves @ cells @ waves.T * weights * structured[:, None, None]).mT  # (N, horizontal, vertical)
    return tuple(
        F.normalize(torch.cat([part[:, ::2], part[:, 1::2]], dim=1).flatten(1))
        for part in (frequencies[:, :LOW, :LOW], frequencies)
    )


def candidates(first: Sketches, second: Sketches, slack: float) -> tuple[torch.Tensor, ...]:
    """Pairs whose sketches correlate, directly or mirrored: indices in first and second, correlation, and mirrored.

    `slack` is taken from the thresholds.
    """
    (low, fine), (other_low, other_fine) = first, second
    even = LOW**2 // 2
    coarse = (low[:, even:] @ other_low[:, even:].T).abs_().addmm_(low[:, :even], other_low[:, :even].T)
    places = torch.from_numpy(np.flatnonzero(coarse.numpy() >= COARSE - slack))  # ten times as fast as torch.nonzero
    a, b = places // len(other_low), places % len(other_low)
    even, odd = (fine[a] * other_fine[b]).unflatten(1, (2, -1)).sum(dim=2).unbind(dim=1)
    correlation = even + odd.abs()
    likely = correlation >= FINE - slack
    return a[likely], b[likely], correlation[likely], (odd < 0)[likely]


def confirm(
    a: torch.Tensor, b: torch.Tensor, mirrored: torch.Tensor, threshold: float, slack: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlation of the pixels of image pairs (N, C, H, W), and whether they are duplicates, each (N,).

    b is mirrored where `mirrored` (N,) says so. `slack` is taken from both thresholds.
    """
    a, b = a.float(), torch.where(mirrored[:, None, None, None], b.flip(3), b).float()
    similarity = _correlation(a, b)
    alike = similarity >= threshold - slack
    alike[alike.clone()] = _correlation(_detail(a[alike]), _detail(b[alike])) >= DETAIL - slack
    return similarity, alike


def _detail(images: torch.Tensor) -> torch.Tensor:
    return images - F.interpolate(F.adaptive_avg_pool2d(images, CELLS), images.shape[-2:], mode="bilinear")


def _correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = (F.normalize(x.flatten(1) - x.flatten(1).mean(dim=1, keepdim=True)) for x in (a, b))
    return (a * b).sum(dim=1)


def blocks(count: int) -> Iterator[slice]:
    """Slices of at most BLOCK of `count` images."""
    for start in range(0, count, BLOCK):
        yield slice(start, start + BLOCK)
