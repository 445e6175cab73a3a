"""Lookup tables of the scenery, computed once: 2-D noise, outlines of horizons, and small images of objects."""

import math
import random
from collections.abc import Callable
from functools import cache

import torch

from menagerie.draws import Draws, cos_sin, square_root
from menagerie.raster import pick

FIELD = 512  # samples per period of the noise, each way, at the finest level
LEVELS = 6  # each with half the samples of the one before
LINE = 2048  # samples per period of an outline


def _waves(name: str, shape: tuple[int, ...], cells: int, octaves: int, fade: float) -> torch.Tensor:
    """Periodic noise, mean 0.5, deviation about 0.2; each octave has twice the cells and `fade` times the strength."""
    total, strength, power = torch.zeros(shape), 1.0, 0.0
    draws = Draws(name, torch.zeros(1, dtype=torch.int64))
    for _ in range(octaves):
        grid = draws.uniform(-1, 1, tuple(cells for _ in shape))[0]
        for axis, length in enumerate(shape):
            position = torch.arange(length) * (cells / length)
            cell = position.floor().long()
            weight = position - cell
            weight = (weight * weight * (3 - 2 * weight)).view([-1 if i == axis else 1 for i in range(len(shape))])
            here, there = grid.index_select(axis, cell), grid.index_select(axis, (cell + 1) % cells)
            grid = here + (there - here) * weight
        total = total + grid * strength
        cells, strength, power = cells * 2, strength * fade, power + strength * strength
    return (0.5 + total * (0.55 / math.sqrt(power))).clamp(0, 1)


def _pyramid(finest: torch.Tensor) -> torch.Tensor:
    """All mip levels of a square table, concatenated and flat."""
    levels = [finest]
    for _ in range(LEVELS - 1):
        levels.append(_halved(levels[-1]))
    return torch.cat([one.flatten() for one in levels])


def _halved(table: torch.Tensor) -> torch.Tensor:
    """Means of 2 × 2 samples of the last two dimensions."""
    upper, lower = table[..., ::2, :], table[..., 1::2, :]
    return (upper[..., ::2] + lower[..., ::2] + upper[..., 1::2] + lower[..., 1::2]) * 0.25


@cache
def clouds() -> torch.Tensor:
    """Noise at many scales, for clouds and hills; a pyramid."""
    return _pyramid(_waves("clouds", (FIELD, FIELD), 8, 5, 0.5))


@cache
def grains() -> torch.Tensor:
    """Fine noise for grass, sand and gravel; a pyramid that averages it out at a distance."""
    return _pyramid(_waves("grains", (FIELD, FIELD), 64, 3, 0.9))


@cache
def _levels() -> tuple[torch.Tensor, torch.Tensor]:
    """Start of each level of a pyramid, and the samples of its side."""
    sides = [FIELD >> level for level in range(LEVELS)]
    starts = [sum(side * side for side in sides[:level]) for level in range(LEVELS)]
    return torch.tensor(starts), torch.tensor(sides)


def look(table: torch.Tensor, u: torch.Tensor, v: torch.Tensor, step: torch.Tensor | float) -> torch.Tensor:
    """Sample a pyramid at positions in periods, for pixels that are `step` periods apart.

    `step` selects the level; its shape may broadcast to that of u and v.
    """
    texels = torch.as_tensor(step, dtype=torch.float32) * FIELD
    level = torch.zeros(texels.shape, dtype=torch.int64)
    for bound in range(1, LEVELS):
        level = level + (texels > 2**bound * 0.75)
    starts, sides = _levels()
    start, side = starts[level], sides[level]
    scale, mask = side.float(), side - 1
    column = (u * scale).floor().long() & mask
    row = ((v * scale).floor().long() & mask) * side + start
    place = row + column
    return pick(table, place.flatten()).view(place.shape)


def _bumps(seed: str, count: int, width: tuple[float, float], shape: Callable, low: float = 0.35) -> torch.Tensor:
    """The upper envelope of bumps of random widths and heights, in [0, 1]."""
    chance = random.Random(seed)
    x = torch.arange(LINE) / LINE
    top = torch.zeros(LINE)
    for i in range(count):
        half = chance.uniform(*width)
        away = (x - (i + chance.uniform(-0.4, 0.4)) / count + 1.5) % 1 - 0.5
        top = torch.maximum(top, shape(away / half, chance) * chance.uniform(low, 1))
    return top


def _round(s: torch.Tensor, _: random.Random) -> torch.Tensor:
    return square_root((1 - s * s).clamp(min=0))


def _spike(s: torch.Tensor, _: random.Random) -> torch.Tensor:
    teeth = (s.abs() * 4.5) % 1
    return ((1 - s.abs()) + 0.16 * (teeth - 0.5) * (s.abs() > 0.1)).clamp(min=0) * (s.abs() < 1)


def _peak(s: torch.Tensor, chance: random.Random) -> torch.Tensor:
    lean = chance.uniform(-0.3, 0.3)
    return torch.where(s < lean, (s + 1) / (1 + lean), (1 - s) / (1 - lean)).clamp(min=0)


def _dune(s: torch.Tensor, _: random.Random) -> torch.Tensor:
    gentle = ((s + 1) / 1.5).clamp(0, 1)
    steep = ((1 - s) / 0.5).clamp(0, 1)
    return torch.where(s < 0.5, gentle * gentle * (2 - gentle), steep * (2 - steep))


def _plateau(s: torch.Tensor, chance: random.Random) -> torch.Tensor:
    return ((1 - s.abs()) * chance.uniform(3, 7)).clamp(0, 1)


LINES = ("hills", "mountains", "crowns", "firs", "dunes", "mesas", "rocks")


@cache
def outlines() -> torch.Tensor:
    """Heights of horizons in [0, 1], in the order of LINES, (lines, LINE)."""
    rough = _waves("rough", (LINE,), 16, 6, 0.6) - 0.5
    hills = _waves("hills", (LINE,), 4, 4, 0.35)
    mountains = _bumps("mountains", 11, (0.07, 0.16), _peak) * 0.9 + rough * 0.16
    crowns = 0.45 * hills + 0.45 * _bumps("crowns", 46, (0.012, 0.028), _round) + rough * 0.14
    firs = 0.25 * hills + 0.7 * _bumps("firs", 64, (0.011, 0.017), _spike, 0.5) + rough * 0.05
    dunes = _bumps("dunes", 7, (0.11, 0.2), _dune)
    mesas = _bumps("mesas", 5, (0.05, 0.12), _plateau) * 0.9 + 0.1 * hills + rough * 0.06
    rocks = _bumps("rocks", 13, (0.03, 0.09), _round) * 0.8 + rough * 0.3
    return torch.stack([hills, mountains, crowns, firs, dunes, mesas, rocks]).clamp(0, 1)


@cache
def trunks() -> torch.Tensor:
    """A row of trunks (4, LINE): distance inside the bark in periods, position across it (-1 to 1), tone, foot."""
    chance = random.Random("trunks")
    x = torch.arange(LINE) / LINE
    inside = torch.full((LINE,), -1.0)
    across, tone, foot = (torch.zeros(LINE) for _ in range(3))
    count = 13
    for i in range(count):
        half = chance.uniform(0.006, 0.016)
        away = (x - (i + chance.uniform(-0.42, 0.42)) / count + 1.5) % 1 - 0.5
        nearer = half - away.abs() > inside
        inside = torch.where(nearer, half - away.abs(), inside)
        across = torch.where(nearer, (away / half).clamp(-1, 1), across)
        tone = torch.where(nearer, chance.uniform(0.8, 1.25), tone)
        foot = torch.where(nearer, chance.random(), foot)
    return torch.stack([inside, across, tone, foot])


def along(line: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Rows of an outline (N, LINE) at positions in periods (N, W), interpolated."""
    position = u * LINE
    cell = position.floor()
    weight, cell = position - cell, cell.long()
    here = line.gather(1, cell & (LINE - 1))
    return here + (line.gather(1, (cell + 1) & (LINE - 1)) - here) * weight


STAMP = 128  # width and height of a small image in samples
STAMP_LEVELS = 5
ALPHA, TONE, LIGHT = 0, 1, 2  # layers: opacity, mix of two colours, brightness (0.5 leaves the colour unchanged)


class Stamp:
    """A small image that is being drawn: x in [-0.5, 0.5], y in [0, 1] from its foot up."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        axis = (torch.arange(STAMP) + 0.5) / STAMP
        self.x, self.y = (axis - 0.5).view(1, -1), (1 - axis).view(-1, 1)
        self.layers = torch.zeros(3, STAMP, STAMP)
        self.rough = _waves(seed, (STAMP, STAMP), 16, 3, 0.8) - 0.5

    def blob(
        self, x: float, y: float, rx: float, ry: float, tone: float, light: float = 1.0, rough: float = 0.0
    ) -> None:
        """An ellipse lit from above, its rim frayed by `rough`."""
        dx, dy = (self.x - x) / rx, (self.y - y) / ry
        distance = (square_root(dx * dx + dy * dy) - 1) * min(rx, ry) + self.rough * rough
        shade = ((0.38 + 0.16 * (dy + 0.5 * dx) + self.rough * (0.5 * (rough > 0))) * light).clamp(min=0.1)
        self._paint(distance, tone, shade)

    def limb(
        self, x0: float, y0: float, x1: float, y1: float, r0: float, r1: float, tone: float, light: float = 1.0
    ) -> None:
        """A tapered stroke."""
        ux, uy = x1 - x0, y1 - y0
        t = (((self.x - x0) * ux + (self.y - y0) * uy) / max(ux * ux + uy * uy, 1e-9)).clamp(0, 1)
        dx, dy = self.x - x0 - t * ux, self.y - y0 - t * uy
        radius = r0 + (r1 - r0) * t
        shade = (0.42 + 0.18 * dx / radius.clamp(min=0.004) + self.rough * 0.15) * light
        self._paint(square_root(dx * dx + dy * dy) - radius, tone, shade)

    def box(self, x0: float, y0: float, x1: float, y1: float, tone: float, light: float = 1.0) -> None:
        """A rectangle, a little brighter above."""
        dx, dy = (self.x - (x0 + x1) / 2).abs() - (x1 - x0) / 2, (self.y - (y0 + y1) / 2).abs() - (y1 - y0) / 2
        shade = (0.46 + 0.08 * (self.y - y0) / (y1 - y0) + 0 * self.x) * light
        self._paint(torch.maximum(dx, dy), tone, shade)

    def _paint(self, distance: torch.Tensor, tone: float, light: torch.Tensor) -> None:
        cover = (0.5 - distance * STAMP).clamp(0, 1)
        alpha, tones, lights = self.layers
        # Tone and light are not premultiplied by alpha and extend beyond the edge, which avoids dark fringes.
        fresh = (0.5 - distance * STAMP + 1.5).clamp(0, 1) * (alpha < 0.02).float()
        share = torch.maximum(cover, fresh)
        self.layers = torch.stack(
            [alpha + (1 - alpha) * cover, tones + (tone - tones) * share, lights + (light - lights) * share]
        )


def _acacia(s: Stamp) -> None:
    for x, y in ((-0.26, 0.66), (0.06, 0.72), (0.3, 0.64), (-0.08, 0.7)):
        s.limb(0.01, 0.28, x, y, 0.018, 0.008, 0, 0.9)
    s.limb(0.0, 0.0, 0.02, 0.36, 0.034, 0.022, 0, 0.9)
    for _ in range(26):
        x = s.chance.uniform(-0.42, 0.42)
        y = 0.74 + 0.13 * (1 - x * x * 5) + s.chance.uniform(-0.06, 0.02)
        s.blob(
            x, y, s.chance.uniform(0.06, 0.12), s.chance.uniform(0.025, 0.045), 1, s.chance.uniform(0.75, 1.15), 0.06
        )


def _crown(s: Stamp, x: float, y: float, rx: float, ry: float, count: int) -> None:
    for i in range(count):
        c, sn = (float(one) for one in cos_sin(torch.tensor(s.chance.uniform(0, 6.28))))
        away = math.sqrt(s.chance.random())
        up = (sn * away + 1) / 2
        light = 0.62 + 0.5 * up + s.chance.uniform(-0.1, 0.1) - 0.1 * (i < count // 3)
        size = s.chance.uniform(0.24, 0.42)
        s.blob(x + rx * c * away * 0.75, y + ry * sn * away * 0.75, rx * size, ry * size * 0.85, 1, light, 0.07)


def _oak(s: Stamp) -> None:
    s.limb(0.0, 0.0, 0.01, 0.45, 0.05, 0.03, 0, 0.8)
    for x, y in ((-0.2, 0.6), (0.2, 0.62)):
        s.limb(0.0, 0.26, x, y, 0.025, 0.012, 0, 0.8)
    _crown(s, 0.0, 0.64, 0.44, 0.34, 44)


def _poplar(s: Stamp) -> None:
    s.limb(0.0, 0.0, 0.0, 0.5, 0.03, 0.015, 0, 0.8)
    _crown(s, 0.0, 0.56, 0.14, 0.43, 44)


def _birch(s: Stamp) -> None:
    s.limb(0.0, 0.0, 0.03, 0.8, 0.026, 0.012, 0, 1.5)
    for x, y in ((-0.14, 0.66), (0.2, 0.74), (0.1, 0.86)):
        s.limb(0.02, 0.42, x, y, 0.01, 0.005, 0, 1.2)
    _crown(s, 0.03, 0.68, 0.26, 0.3, 34)


def _bare(s: Stamp) -> None:
    def branch(x: float, y: float, angle: float, length: float, radius: float) -> None:
        c, sn = (float(one) for one in cos_sin(torch.tensor(angle)))
        x1, y1 = x + c * length, y + sn * length
        s.limb(x, y, x1, y1, radius, radius * 0.6, 0, 0.9)
        if length > 0.055:
            for turn in (-0.5, 0.45):
                branch(
                    x1,
                    y1,
                    angle + turn + s.chance.uniform(-0.2, 0.2),
                    length * s.chance.uniform(0.62, 0.82),
                    radius * 0.62,
                )

    branch(0.0, 0.0, 1.6, 0.3, 0.035)


def _fir(s: Stamp, snow: bool = False) -> None:
    s.limb(0.0, 0.0, 0.0, 0.9, 0.03, 0.008, float(snow), 0.7)
    for i in range(9):
        y = 0.12 + 0.84 * i / 9
        width = 0.33 * (1.02 - y)
        for side in (-1, 1):
            light = 0.75 + 0.2 * side
            s.limb(0.0, y + 0.09, side * width, y, 0.035 * (1.3 - y), 0.012, 1, light)
            s.limb(0.0, y + 0.07, side * width * 0.6, y - 0.02, 0.04 * (1.3 - y), 0.015, 1, light * 0.8)
            if snow:
                s.limb(
                    side * 0.02, y + 0.105, side * width * 0.9, y + 0.02, 0.022 * (1.3 - y), 0.014, 0, 1.1 + 0.1 * side
                )


def _snowy(s: Stamp) -> None:
    _fir(s, snow=True)


def _bush(s: Stamp) -> None:
    _crown(s, -0.1, 0.22, 0.36, 0.22, 24)
    _crown(s, 0.2, 0.16, 0.28, 0.17, 18)


def _tufts(s: Stamp) -> None:
    for _ in range(44):
        x, lean = s.chance.uniform(-0.3, 0.3), s.chance.uniform(-0.25, 0.25)
        height = s.chance.uniform(0.25, 0.7) * (1 - x * x * 3)
        s.limb(x, 0.0, x + lean, height, 0.013, 0.004, 1, s.chance.uniform(0.65, 1.35))


def _fern(s: Stamp) -> None:
    for i in range(9):
        angle = 0.35 + 2.45 * i / 8
        c, sn = (float(one) for one in cos_sin(torch.tensor(angle)))
        light = s.chance.uniform(0.7, 1.25)
        for k in range(12):
            t = 0.1 + 0.9 * k / 12
            x, y = c * t * 0.46, sn * t * 0.62 - 0.3 * t * t * abs(c)
            s.limb(x, y, x + 0.06 * (1 - t) + 0.01, y + 0.05, 0.012, 0.005, 1, light)
            s.limb(x, y, x - 0.06 * (1 - t) - 0.01, y + 0.05, 0.012, 0.005, 1, light * 0.85)


def _rock(s: Stamp) -> None:
    s.blob(-0.08, 0.1, 0.36, 0.3, 0, 0.95, 0.05)
    s.blob(0.2, 0.06, 0.24, 0.2, 0, 1.1, 0.05)
    s.blob(-0.16, 0.26, 0.2, 0.13, 0, 1.25, 0.05)
    s.layers[ALPHA] = s.layers[ALPHA] * (s.y > 0.005)


def _cactus(s: Stamp) -> None:
    def arm(x: float, y: float, top: float) -> None:
        s.limb(0.0, y, x, y + 0.04, 0.035, 0.04, 1, 0.85)
        s.limb(x, y + 0.04, x, top, 0.042, 0.036, 1, 0.95)

    arm(-0.2, 0.38, 0.72)
    arm(0.18, 0.48, 0.8)
    s.limb(0.0, 0.0, 0.0, 0.92, 0.065, 0.055, 1, 0.95)


def _palm(s: Stamp) -> None:
    for i in range(12):
        s.limb(
            0.005 * i * i * 0.16,
            i / 17,
            0.005 * (i + 1) ** 2 * 0.16,
            (i + 1) / 17,
            0.026 - i * 0.0008,
            0.024 - i * 0.0008,
            0,
            1.0,
        )
    for i in range(11):
        angle = -0.5 + 4.1 * i / 10
        c, sn = (float(one) for one in cos_sin(torch.tensor(angle)))
        px, py = 0.11, 0.71
        for k in range(7):
            t = (k + 1) / 7
            x, y = 0.11 + c * 0.36 * t, 0.71 + sn * 0.24 * t - 0.2 * t * t
            s.limb(px, py, x, y, 0.026 * (1.1 - t), 0.02 * (1.05 - t), 1, 0.7 + 0.35 * max(0, sn))
            px, py = x, y


def _weed(s: Stamp) -> None:
    for _ in range(9):
        x, phase = s.chance.uniform(-0.22, 0.22), s.chance.uniform(0, 6.28)
        top, light = s.chance.uniform(0.4, 0.97), s.chance.uniform(0.65, 1.25)
        px = x
        for k in range(12):
            t = (k + 1) / 12
            wave = float(cos_sin(torch.tensor(phase + t * 5))[1]) * 0.05 * t
            s.limb(px, top * k / 12, x + wave + x * 0.5 * t, top * t, 0.022 * (1.15 - t), 0.018 * (1.1 - t), 1, light)
            px = x + wave + x * 0.5 * t


def _fan(s: Stamp) -> None:
    def branch(x: float, y: float, angle: float, length: float, radius: float) -> None:
        c, sn = (float(one) for one in cos_sin(torch.tensor(angle)))
        x1, y1 = x + c * length, y + sn * length
        s.limb(x, y, x1, y1, radius, radius * 0.75, 0, 0.8 + 0.5 * y1)
        if length > 0.07:
            for turn in (-0.42, 0.42):
                branch(x1, y1, angle + turn + s.chance.uniform(-0.15, 0.15), length * 0.78, radius * 0.78)

    branch(0.0, 0.0, 1.57, 0.2, 0.04)


def _coral(s: Stamp) -> None:
    s.blob(0.0, 0.1, 0.34, 0.3, 0, 0.9, 0.05)
    for _ in range(40):
        x = s.chance.uniform(-0.28, 0.28)
        y = s.chance.uniform(0.05, 0.1 + 0.26 * (1 - x * x * 9))
        s.blob(x, y, 0.035, 0.03, 0.15, 0.75 + 1.2 * y)
    s.layers[ALPHA] = s.layers[ALPHA] * (s.y > 0.005)


def _lamp(s: Stamp) -> None:
    s.limb(0.0, 0.0, 0.0, 0.84, 0.016, 0.01, 0, 0.5)
    s.box(-0.03, 0.0, 0.03, 0.07, 0, 0.45)
    s.box(-0.045, 0.84, 0.045, 0.95, 0.5, 1.7)
    s.box(-0.06, 0.95, 0.06, 0.975, 0, 0.4)


def _window(s: Stamp) -> None:
    s.box(-0.42, 0.0, 0.42, 1.0, 0, 1.05)
    for x in (-0.37, 0.025):
        for y in (0.06, 0.53):
            s.box(x, y, x + 0.345, y + 0.41, 1, 1.05 + 0.2 * (y > 0.3))
    s.box(-0.47, 0.0, 0.47, 0.035, 0, 1.15)


def _frame(s: Stamp) -> None:
    s.box(-0.4, 0.1, 0.4, 0.9, 0, 0.75)
    s.box(-0.35, 0.15, 0.35, 0.85, 0.5, 1.8)
    s.box(-0.25, 0.25, 0.25, 0.75, 1, 1.2)
    s.blob(-0.05, 0.34, 0.19, 0.09, 1, 0.6)
    s.blob(0.1, 0.6, 0.07, 0.07, 0.4, 1.5)


def _sofa(s: Stamp) -> None:
    for x in (-0.4, 0.4):
        s.box(x - 0.02, 0.0, x + 0.02, 0.08, 0, 0.7)
    s.blob(0.0, 0.4, 0.4, 0.2, 1, 0.95)
    s.box(-0.4, 0.08, 0.4, 0.4, 1, 0.95)
    s.box(-0.37, 0.2, -0.01, 0.34, 1, 1.2)
    s.box(0.01, 0.2, 0.37, 0.34, 1, 1.2)
    s.box(-0.38, 0.08, 0.38, 0.18, 1, 0.75)
    for x in (-0.42, 0.42):
        s.limb(x, 0.1, x, 0.36, 0.055, 0.06, 1, 1.05)


def _shelf(s: Stamp) -> None:
    s.box(-0.35, 0.0, 0.35, 1.0, 0, 0.9)
    for k in range(4):
        y = 0.05 + 0.24 * k
        s.box(-0.31, y, 0.31, y + 0.2, 0, 0.35)
        x = -0.3
        while x < 0.27:
            w = s.chance.uniform(0.025, 0.05)
            if s.chance.random() < 0.85:
                s.box(
                    x,
                    y,
                    x + w,
                    y + s.chance.uniform(0.12, 0.19),
                    s.chance.choice((0.2, 0.6, 1.0, 1.0)),
                    s.chance.uniform(0.6, 1.7),
                )
            x += w + 0.006


def _cabinet(s: Stamp) -> None:
    for x in (-0.4, 0.4):
        s.box(x - 0.02, 0.0, x + 0.02, 0.1, 0, 0.6)
    s.box(-0.46, 0.08, 0.46, 0.5, 0, 1.0)
    s.box(-0.48, 0.5, 0.48, 0.53, 0, 1.3)
    for x in (-0.43, -0.13, 0.17):
        s.box(x, 0.12, x + 0.26, 0.46, 0, 0.85)
        s.box(x + 0.11, 0.36, x + 0.15, 0.38, 0, 1.7)


def _reading(s: Stamp) -> None:
    s.blob(0.0, 0.01, 0.11, 0.025, 0, 0.6)
    s.limb(0.0, 0.0, 0.0, 0.75, 0.011, 0.011, 0, 0.6)
    for k in range(12):
        t = k / 12
        s.box(-0.16 + 0.06 * t, 0.72 + 0.24 * t, 0.16 - 0.06 * t, 0.745 + 0.24 * t, 0.5, 1.9)


def _potted(s: Stamp) -> None:
    for i in range(13):
        angle = 0.5 + 2.1 * i / 12 + s.chance.uniform(-0.12, 0.12)
        c, sn = (float(one) for one in cos_sin(torch.tensor(angle)))
        length = s.chance.uniform(0.4, 0.7)
        s.limb(0.0, 0.25, c * length * 0.7, 0.25 + sn * length, 0.03, 0.008, 1, s.chance.uniform(0.7, 1.3))
    s.limb(0.0, 0.06, 0.0, 0.22, 0.085, 0.11, 0, 1.2)
    s.layers[ALPHA] = s.layers[ALPHA] * (s.y > 0.005)


def _curtain(s: Stamp) -> None:
    s.box(-0.3, 0.25, 0.3, 0.95, 0, 1.05)
    for x in (-0.27, 0.015):
        s.box(x, 0.29, x + 0.255, 0.92, 0.5, 1.3)
    s.box(-0.5, 0.96, 0.5, 0.985, 0, 0.8)
    for side in (-1, 1):
        for k in range(5):
            x = side * (0.3 + 0.038 * k)
            s.limb(x, 0.05, x - side * 0.01, 0.96, 0.03, 0.024, 1, 0.85 + 0.28 * (k % 2))


def _fence(s: Stamp) -> None:
    for y in (0.16, 0.33):
        s.box(-0.5, y, 0.5, y + 0.045, 0, 1.1)
    for k in range(4):
        s.box(-0.42 + 0.26 * k, 0.0, -0.37 + 0.26 * k, 0.45, 0, 1.0)


def _reeds(s: Stamp) -> None:
    for i in range(26):
        x, lean = s.chance.uniform(-0.36, 0.36), s.chance.uniform(-0.12, 0.12)
        top = s.chance.uniform(0.4, 0.9)
        s.limb(x, 0.0, x + lean, top, 0.009, 0.004, 1, s.chance.uniform(0.65, 1.3))
        if i % 4 == 0:
            s.limb(x + lean * 0.9, top * 0.86, x + lean, top, 0.014, 0.014, 0, 0.7)


SHAPES: dict[str, Callable[[Stamp], None]] = {
    "acacia": _acacia, "oak": _oak, "poplar": _poplar, "birch": _birch, "bare": _bare, "fir": _fir, "snowy": _snowy,
    "bush": _bush, "tufts": _tufts, "fern": _fern, "rock": _rock, "cactus": _cactus, "palm": _palm, "weed": _weed,
    "fan": _fan, "coral": _coral, "lamp": _lamp, "window": _window, "frame": _frame, "sofa": _sofa, "shelf": _shelf,
    "cabinet": _cabinet, "reading": _reading, "potted": _potted, "curtain": _curtain, "fence": _fence, "reeds": _reeds,
}  # fmt: skip


@cache
def stamps() -> torch.Tensor:
    """Small images at all mip levels, (shapes × samples of all levels, 3): alpha, tone, light."""
    pictures = []
    for name, draw in SHAPES.items():
        stamp = Stamp(name)
        draw(stamp)
        layers = stamp.layers
        levels = [layers]
        for _ in range(STAMP_LEVELS - 1):
            last = levels[-1]
            solid = torch.cat([last[:1], last[1:] * last[:1].clamp(min=0.01)])
            means = _halved(solid)
            levels.append(torch.cat([means[:1], means[1:] / means[:1].clamp(min=0.01)]))
        pictures.append(torch.cat([one.flatten(1) for one in levels], dim=1))
    return torch.cat(pictures, dim=1).T.contiguous()
