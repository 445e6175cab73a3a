"""Counter-based random numbers: every draw is a hash of (key, image, number of the draw), whatever the batch.

Draws and all computations per pixel use only integers and operations that IEEE 754 rounds exactly (+ - × ÷, square
root, comparisons). Others, such as sine, may differ in the last bit between batch sizes and thread counts, because
vectorised loops and their remainders round differently; angles therefore come from a table. PyTorch's square root is
MKL's, which rounds differently on other processors; `square_root` is NumPy's.
"""

import hashlib
import math
from functools import cache

import numpy as np
import torch

WORD = 0xFFFFFFFF
GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: its multiples are spread evenly
ANGLES = 4096  # in a full turn


def square_root(x: torch.Tensor) -> torch.Tensor:
    """Square root of a CPU tensor, correctly rounded (IEEE 754) on every processor."""
    return torch.as_tensor(np.sqrt(x.numpy()))


def scramble(x: torch.Tensor) -> torch.Tensor:
    """Scramble 32-bit words held in int64 (the `lowbias32` constants of Wellons' hash prospector)."""
    x = x ^ (x >> 16)
    x = x.mul_(0x21F0AAAD).bitwise_and_(WORD)
    x ^= x >> 15
    x = x.mul_(0x735A2D97).bitwise_and_(WORD)
    x ^= x >> 15
    return x


class Draws:
    """Random numbers for images `index` (N), each with its own stream; every call takes the next numbers."""

    def __init__(self, key: str, index: torch.Tensor) -> None:
        digest = hashlib.sha256(key.encode()).digest()
        low, high = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")
        # 64 bits per image: with 32, two images would sometimes share a stream.
        self.origin = scramble(scramble(index ^ low) ^ high)[:, None]  # (N, 1)
        self.twist = scramble(scramble(index ^ high) ^ low)[:, None]
        self.taken = 0

    def words(self, *shape: int) -> torch.Tensor:
        """32-bit words, int64 (N, *shape)."""
        count = math.prod(shape)
        counter = (torch.arange(self.taken, self.taken + count) * GOLDEN) & WORD
        self.taken += count
        return scramble(((self.origin + counter) & WORD) ^ self.twist).view(-1, *shape)

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = ()) -> torch.Tensor:
        """Uniform in [low, high), float32 (N, *shape)."""
        return (self.words(*shape) >> 8).float() * ((high - low) / 2**24) + low

    def chance(self, probability: float) -> torch.Tensor:
        """True with a probability, bool (N,)."""
        return self.uniform() < probability

    def number(self, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """One uniform number per image, float32 (N,)."""
        return self.uniform(low, high)

    def bell(self, *shape: int) -> torch.Tensor:
        """Nearly normal, mean 0, standard deviation 1, within ±3.5, float32 (N, *shape): the sum of four bytes."""
        word = self.words(*shape)
        total = (word & 0xFF) + (word >> 8 & 0xFF) + (word >> 16 & 0xFF) + (word >> 24)
        return (total.float() - 510) * (1 / math.sqrt((256**2 - 1) / 3))

    def pick(self, *weights: float) -> torch.Tensor:
        """Random index with probabilities in proportion to the weights, int64 (N,)."""
        bounds = torch.tensor(weights).cumsum(0) * (1 / math.fsum(weights))
        return (self.number()[:, None] >= bounds[:-1]).sum(dim=1)

    def noise(self, size: int) -> torch.Tensor:
        """Nearly normal noise, mean 0, standard deviation 1, float32 (N, 3, size, size).

        Three orthogonal sign patterns for the bytes of one word give uncorrelated channels from one hash.
        """
        word = self.words(size, size)
        octets = torch.stack([word >> shift & 0xFF for shift in (0, 8, 16, 24)]).float()
        a, b, c, d = octets * (1 / math.sqrt((256**2 - 1) / 3))
        return torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], dim=1)


def cos_sin(angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of an angle in radians, quantised to ANGLES steps per turn."""
    index = (angle * (ANGLES / (2 * math.pi))).floor().long() & (ANGLES - 1)
    cosine, sine = _circle()
    return cosine[index], sine[index]


@cache
def _circle() -> tuple[torch.Tensor, torch.Tensor]:
    angles = [2 * math.pi * (i + 0.5) / ANGLES for i in range(ANGLES)]
    return torch.tensor([math.cos(a) for a in angles]), torch.tensor([math.sin(a) for a in angles])
