"""Painters of the ten habitats: pure functions of a few numbers and colours per image.

The image spans [-1, 1] in x and y, y points up. Distances on the ground are in heights of the camera; a point d below
the horizon is about 1 / d away.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from menagerie import scene_tables as tables
from menagerie.draws import square_root
from menagerie.raster import pick, rectangles
from menagerie.scene_tables import ALPHA, LIGHT, LINES, SHAPES, STAMP, STAMP_LEVELS, TONE, look
from menagerie.threads import rows_of

COLOURS = ("sky", "haze", "cloud", "far", "near", "mark", "ridge", "plant", "wood", "sun")
# Height of horizon and feet; blur of the distance; amounts of clouds and fog; random choices; offsets in the noise.
NUMBERS = (
    "horizon", "feet", "aperture", "clouds", "fog", "kind", "much", "scale", "side", "glow", "weather", "strength",
    "u", "v", "w", "t",
)  # fmt: skip
THING = ("shape", "x", "foot", "size", "flip", "bright")

# Background objects of each habitat; a name that is listed twice occurs twice as often.
THINGS = {
    "snow": ("snowy", "snowy", "fir", "bare", "rock"),
    "savanna": ("acacia", "acacia", "acacia", "bush", "tufts", "tufts", "rock"),
    "forest": ("fern", "fern", "fern", "bush", "tufts", "fir", "birch"),
    "meadow": ("oak", "oak", "poplar", "birch", "bush", "bush", "fence", "tufts", "tufts"),
    "desert": ("cactus", "cactus", "rock", "rock", "palm", "bush", "tufts"),
    "water": ("reeds", "rock"),
    "sky": ("rock",),
    "sea floor": ("weed", "weed", "weed", "fan", "fan", "coral", "coral", "rock", "rock"),
    "street": ("lamp", "lamp", "oak", "birch", "bush"),
    "room": ("sofa", "cabinet", "reading", "potted", "shelf", "sofa"),
}
ON_WALLS = ("window", "frame", "frame", "curtain")
# Share of slots with an object; 0.5 if not listed.
CROWDED = {
    "water": 0.3,
    "sky": 0.0,
    "sea floor": 0.85,
    "forest": 0.75,
    "savanna": 0.6,
    "room": 0.6,
}
# Heights in heights of the camera; of furniture in half image widths.
TALL = {
    "acacia": 5.0, "oak": 5.5, "poplar": 6.5, "birch": 5.5, "bare": 5.0, "fir": 6.5, "snowy": 6.5, "bush": 1.5,
    "tufts": 0.9, "fern": 1.2, "rock": 1.0, "cactus": 3.0, "palm": 5.0, "weed": 2.4, "fan": 1.6, "coral": 1.2,
    "lamp": 4.0, "fence": 1.5, "reeds": 1.8, "window": 0.85, "frame": 0.5, "curtain": 1.1, "sofa": 1.2, "shelf": 1.3,
    "cabinet": 1.1, "reading": 1.25, "potted": 0.8,
}  # fmt: skip
# The two colours of an object, if not wood and plant.
DYED = {
    "snowy": ("near", "plant"), "window": ("cloud", "sun"), "frame": ("wood", "ridge"), "curtain": ("cloud", "ridge"),
    "sofa": ("wood", "ridge"), "shelf": ("wood", "ridge"), "reading": ("wood", "sun"), "lamp": ("near", "cloud"),
    "potted": ("mark", "plant"), "rock": ("ridge", "ridge"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Place:
    """Inputs of a backdrop, one row per image."""

    habitat: torch.Tensor  # int64 (N), index into THINGS
    colours: torch.Tensor  # (N, len(COLOURS), 3), linear
    numbers: torch.Tensor  # (N, len(NUMBERS))
    things: torch.Tensor  # (N, slots, len(THING)), from far to near


class Canvas:
    """Images that are being painted, and the coordinates of their pixels."""

    def __init__(self, place: Place, image: torch.Tensor) -> None:
        self.image, self.size = image, image.shape[-1]
        self.pixel = 2 / self.size
        axis = (torch.arange(self.size) + 0.5) * self.pixel - 1
        self.x, self.y = axis.view(1, 1, -1), -axis.view(1, -1, 1)
        self.colours, self.numbers = place.colours, place.numbers

    def __getattr__(self, name: str) -> torch.Tensor:
        """A number of the place (N, 1, 1) or a colour (N, 3, 1, 1)."""
        if name in NUMBERS:
            return self.numbers[:, NUMBERS.index(name)].view(-1, 1, 1)
        if name in COLOURS:
            return self.colours[:, COLOURS.index(name)].view(-1, 3, 1, 1)
        raise AttributeError(name)

    def over(self, colour: torch.Tensor, cover: torch.Tensor) -> None:
        """Blend a colour (N, 3, …) over the image with opacity `cover` (N, …), 0 to 1."""
        self.image += (colour - self.image) * cover[:, None]

    def edge(self, distance: torch.Tensor, width: float = 1.0) -> torch.Tensor:
        """Anti-aliased step from 0 to 1 at distance 0, in half image widths; the edge is `width` pixels wide."""
        return (distance * (1 / (self.pixel * width)) + 0.5).clamp(0, 1)

    def noise(self, table: torch.Tensor, u: torch.Tensor, v: torch.Tensor, step: torch.Tensor | float) -> torch.Tensor:
        """Noise of mean 0 and standard deviation about 0.2, shifted per image; `step` in periods per half image."""
        step = torch.as_tensor(step) * self.pixel
        return look(table, u + self.u, v + self.v, step) - 0.5


def blend(a: torch.Tensor, b: torch.Tensor, share: torch.Tensor | float) -> torch.Tensor:
    """Interpolate from colours a to b by a share (N, …) or a number."""
    return a + (b - a) * (share[:, None] if isinstance(share, torch.Tensor) else share)


def backdrop(place: Place, size: int) -> torch.Tensor:
    """Backgrounds without subjects, linear light (N, 3, size, size)."""
    image = torch.empty(len(place.habitat), 3, size, size)
    for number, paint in enumerate(PAINTERS):
        rows = (place.habitat == number).nonzero().squeeze(1)
        if len(rows):
            canvas = Canvas(rows_of(place, rows), torch.empty(len(rows), 3, size, size))
            paint(canvas)
            image[rows] = canvas.image
    _set_up(place, image)
    whole = Canvas(place, image)
    _defocus(whole)
    _weather(whole, place)
    return whole.image


def _sky(c: Canvas) -> None:
    """Gradient, glow around the sun, clouds lit from above."""
    up = ((c.y - c.horizon) * 0.75).clamp(0, 1)
    up = up * (2 - up)
    c.image = blend(c.haze, c.sky, up).expand(-1, -1, -1, c.size).clone()
    sx, sy = c.x - (c.side * 3 - 1.5), c.y - c.horizon - 0.3
    c.over(c.sun, 0.28 * c.glow / (1 + 7 * (sx * sx + sy * sy)))
    _clouds(c, 0.16 + 0.2 * c.scale, 2.2)


def _clouds(c: Canvas, scale: torch.Tensor, flat: float) -> None:
    above = (c.y - c.horizon).clamp(min=0)
    spread = 1 / (0.35 + 0.5 * above)  # smaller and flatter towards the horizon
    u, v = c.x * spread * scale, above * spread * scale * flat
    step = scale * spread
    density = c.noise(tables.clouds(), u, v, step) + (c.clouds - 0.5) * 0.5
    lit = density - c.noise(tables.clouds(), u + 0.012, v + 0.03, step) - (c.clouds - 0.5) * 0.5
    cover = (density * 5).clamp(0, 1)
    cover = cover * cover * (3 - 2 * cover) * (above * 6).clamp(0, 1)
    shade = (0.72 + 2.4 * lit - 0.45 * density).clamp(0.25, 1)
    under = blend(c.sky, c.haze, 0.5) * 0.88
    c.over(blend(under, c.cloud, shade), cover * 0.92)


def _ridge(
    c: Canvas, line: str, height: torch.Tensor | float, scale: float, far: float, shift: float, leafy: float = 0.0,
    base: torch.Tensor | float = 0.0, colour: torch.Tensor | None = None, lit: float = 0.0, snow: float = 0.0,
) -> torch.Tensor:  # fmt: skip
    """Paint a silhouette at the horizon; `far` is 0 near and 1 lost in haze. Returns its height (N, 1, W)."""
    x = c.x.squeeze(1) * scale * (0.8 + 0.4 * c.much.squeeze(1)) + c.t.squeeze(1) + shift
    row = tables.outlines()[LINES.index(line)].expand(len(c.numbers), -1)
    here, beside = tables.along(row, x), tables.along(row, x + c.pixel * scale)
    top = c.horizon + base + here[:, None] * height
    slope = (beside - here)[:, None] * height / c.pixel
    # Light depends on the slope, smoothed so as to ignore small teeth of the outline.
    reach = 0.015
    flank = tables.along(row, x + reach) - tables.along(row, x - reach)
    flank = (flank[:, None] * height * (scale * 0.5 / reach) * (1 - 2 * c.side)).clamp(-0.8, 0.8)
    cover = c.edge((top - c.y) / square_root(1 + slope * slope), 1 + far)
    fog = (far + (1 - far) * 0.4 * c.fog) if far else 0.25 * c.fog
    tone = blend(c.ridge if colour is None else colour, c.haze, fog * 0.85)
    depth = top - c.y
    light = 1 + lit * flank
    if leafy:
        u, v = c.x * scale * 2.6 + shift, c.y * scale * 2.6
        leaves = c.noise(tables.clouds(), u, v, scale * 2.6) + 0.5 * c.noise(tables.grains(), u * 0.4, v * 0.4, scale)
        light = light + leafy * (1 - far) * (1.9 * leaves - 0.9 * (depth * 1.4).clamp(0, 0.5))
    if snow:
        patches = c.noise(tables.clouds(), c.x * 0.35, c.y * 0.5, 0.45)
        share = ((patches * 1.6 + (here[:, None] - 0.45) * 1.2 - depth * 1.4 + 0.35) * 3).clamp(0, 1) * snow
        tone = blend(tone, blend(c.near, c.haze, fog * 0.5), share)
        light = light + share * lit * 0.3 * flank
    # Mist at the foot.
    tone = blend(tone * light[:, None].clamp(0.3, 1.7), c.haze, 0.3 * far * (depth * 3).clamp(0, 1))
    c.over(tone, cover)
    return top


def _soil(c: Canvas, wave: float = 0.03) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coordinates of the ground: depth d below the horizon, across and away in periods, cover."""
    x = c.x.squeeze(1) * 0.11 + c.w.squeeze(1)
    line = tables.along(tables.outlines()[0].expand(len(c.numbers), -1), x)[:, None] - 0.5
    d = (c.horizon - c.y).clamp(min=c.pixel * 0.3)
    away = 0.3 / (d + 0.02)
    return d, c.x * away, away, c.edge(c.horizon + wave * line - c.y)


def _ground(
    c: Canvas, d: torch.Tensor, tone: torch.Tensor, light: torch.Tensor, cover: torch.Tensor, fog: float = 1.0
) -> None:
    """Paint soil of a tone, times light, that fades into the haze far away."""
    c.over(blend(tone * light[:, None], c.haze, fog * (0.15 + 0.6 * c.fog) * 0.07 / (d + 0.07)), cover)


def _tone(c: Canvas, d: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """Gradient from the far to the near colour of the ground, with patches of the colour `mark`."""
    tone = blend(c.far, c.near, (d * 1.3).clamp(0, 1))
    return blend(tone, c.mark, (patches * 2.4 + 0.25).clamp(0, 0.85))


def _grass(c: Canvas, across: torch.Tensor, d: torch.Tensor, away: torch.Tensor) -> torch.Tensor:
    """Brightness of grass, about 0: upright tufts that get smaller with distance."""
    rise = square_root(square_root(d))
    bend = c.noise(tables.clouds(), across * 1.2, rise * 2.4, away * 1.2)
    blades = c.noise(tables.grains(), across * 1.9 + bend * 0.03, rise * 1.6 + bend * 0.1, away * 1.5)
    flat = c.noise(tables.grains(), across * 1.1, away * 1.1, away * 1.6)
    return blades * 0.95 + flat * 0.6 + bend * 0.55


def snow(c: Canvas) -> None:
    """Mountains, firs, drifts."""
    _sky(c)
    high = 0.25 + 0.5 * c.kind
    _ridge(c, "mountains", high, 0.16, 0.35, 0.1, lit=0.35, snow=0.9, colour=blend(c.ridge * 0.7, c.sky, 0.2))
    wood = blend(c.ridge, c.plant, 0.5)
    _ridge(c, "firs", 0.10 + 0.16 * c.much, 0.3, 0.3, 0.4, 0.4, colour=wood)
    d, across, away, cover = _soil(c, 0.10)
    drift = c.noise(tables.clouds(), across * 0.35, away * 0.5, away * 0.5)
    rise = drift - c.noise(tables.clouds(), across * 0.35 + 0.01, away * 0.5 - 0.015, away * 0.5)
    grain = c.noise(tables.grains(), across * 2, away * 2, away * 3)
    tone = blend(blend(c.far, c.near, d.clamp(0, 1)), c.mark, (0.25 - drift * 1.2 - rise * 3).clamp(0, 0.8))
    spark = (grain - 0.34).clamp(min=0) * 1.5
    _ground(c, d, tone, 1 + grain * 0.08 + spark, cover)


def savanna(c: Canvas) -> None:
    """Low hills, dry grass."""
    _sky(c)
    _ridge(c, "hills", 0.06 + 0.16 * c.kind, 0.18, 0.75, 0.1)
    _ridge(c, "crowns", 0.05 + 0.07 * c.much, 0.3, 0.45, 0.5, 0.5, colour=blend(c.ridge, c.plant, 0.3))
    d, across, away, cover = _soil(c, 0.05)
    tone = _tone(c, d, c.noise(tables.clouds(), across * 0.4, away * 0.5, away * 0.6))
    _ground(c, d, tone, 1 + _grass(c, across, d, away) * 0.75, cover)


def forest(c: Canvas) -> None:
    """Light between rows of trunks, leaves above, ferns and litter below."""
    up = ((c.y - c.horizon) * 0.6).clamp(0, 1)
    c.image = blend(c.haze, c.sky, up).expand(-1, -1, -1, c.size).clone()
    leaves = c.noise(tables.clouds(), c.x * 0.35, c.y * 0.35, 0.35)
    c.over(blend(c.sky, c.plant, 0.5), (leaves * 2.2 + 0.3 + 0.35 * up).clamp(0, 0.75))
    _trunks(c, 0.55, 0.35, 0.62, 0.02)
    _ridge(c, "crowns", 0.22 + 0.2 * c.much, 0.3, 0.45, 0.3, 0.8, colour=c.plant)
    _trunks(c, 0.33, 0.7, 0.3, 0.06)
    _ridge(c, "crowns", 0.07 + 0.06 * c.scale, 0.4, 0.15, 0.8, 1.0, base=-0.03, colour=blend(c.plant, c.ridge, 0.5))
    d, across, away, cover = _soil(c, 0.08)
    patches = c.noise(tables.clouds(), across * 0.6, away * 0.7, away * 0.8)
    litter = c.noise(tables.grains(), across * 1.3, away * 1.3, away * 1.8)
    dapple = (c.noise(tables.clouds(), across * 0.5 + 0.3, away * 0.8, away * 0.8) * 4).clamp(0, 1) * 0.5
    _ground(c, d, _tone(c, d, patches), 0.85 + litter * 1.0 + dapple * c.glow, cover, 0.6)
    _trunks(c, 0.17, 1.4, 0.06, 0.14)
    hang = 1.05 - 0.3 * c.much - 0.5 * c.noise(tables.clouds(), c.x * 0.25, c.x * 0, 0.3)
    near = c.noise(tables.clouds(), c.x * 0.5 + 0.5, c.y * 0.5, 0.5)
    light = 0.85 + 2.2 * c.noise(tables.clouds(), c.x * 0.9, c.y * 0.9 + 0.5, 0.9)
    c.over(c.plant * light[:, None].clamp(0.35, 1.8), ((c.y - hang) * 4 + near * 7).clamp(0, 1) * 0.95)


def _trunks(c: Canvas, scale: float, shift: float, far: float, drop: float) -> None:
    """A row of trunks, their feet `drop` below the horizon; a smaller scale makes them fewer and thicker."""
    x = c.x.squeeze(1) * scale + c.t.squeeze(1) * 0.7 + shift
    inside, across, tone, foot = (
        one[:, None]
        for one in tables.along(tables.trunks().repeat(len(c.numbers), 1), x.repeat_interleave(4, 0))
        .view(-1, 4, c.size)
        .unbind(1)
    )
    cover = c.edge(inside / scale) * c.edge(c.y - c.horizon + drop * (1 + foot), 2)
    bark = c.noise(tables.grains(), c.x * scale * 4, c.y * scale * 0.7, scale * 4)
    light = tone * (0.9 + 0.35 * across * (2 * c.side - 1) + 0.5 * bark)
    colour = blend(c.wood, c.haze, far * (0.55 + 0.45 * c.fog))
    c.over(colour * light[:, None], cover)


def meadow(c: Canvas) -> None:
    """Hills, the edge of a wood, grass and flowers."""
    _sky(c)
    _ridge(c, "hills", 0.1 + 0.3 * c.kind, 0.2, 0.75, 0.1)
    _ridge(c, "hills", 0.05 + 0.14 * c.much, 0.3, 0.5, 0.45, colour=blend(c.far, c.ridge, 0.4))
    _ridge(c, "crowns", 0.07 + 0.2 * c.scale, 0.26, 0.3, 0.7, 0.9, base=-0.02, colour=blend(c.ridge, c.plant, 0.4))
    d, across, away, cover = _soil(c, 0.06)
    tone = _tone(c, d, c.noise(tables.clouds(), across * 0.35, away * 0.6, away * 0.6))
    _ground(c, d, tone, 1 + _grass(c, across, d, away) * 0.8, cover)
    speck = c.noise(tables.grains(), across * 1.2, away * 1.8 + 0.4, away * 1.2)
    bloom = c.noise(tables.clouds(), across * 0.4 + 0.4, away * 0.6, away * 0.6) + c.much - 0.75
    petals = blend(c.cloud, torch.where(c.side[:, None] < 0.5, c.sun, c.mark * 1.4), 0.6).clamp(0, 1)
    c.over(petals, ((speck - 0.27) * 7).clamp(0, 0.9) * (bloom * 6).clamp(0, 1) * cover)


def desert(c: Canvas) -> None:
    """Dunes or mesas, rippled sand."""
    _sky(c)
    rocky = (c.kind > 0.6).float()
    _ridge(c, "mesas", rocky * (0.2 + 0.3 * c.much), 0.22, 0.5, 0.2, 0.25)
    _ridge(c, "mountains", (1 - rocky) * 0.2 * c.much, 0.25, 0.7, 0.6)
    _ridge(
        c,
        "dunes",
        (1 - rocky * 0.6) * (0.14 + 0.22 * c.scale),
        0.16,
        0.3,
        0.4,
        lit=0.45,
        colour=blend(c.ridge, c.far, 0.3),
    )
    _ridge(
        c,
        "dunes",
        (1 - rocky * 0.6) * (0.08 + 0.12 * c.much),
        0.2,
        0.1,
        0.75,
        lit=0.5,
        colour=blend(c.far, c.near, 0.4),
    )
    d, across, away, cover = _soil(c, 0.08)
    bend = c.noise(tables.clouds(), across * 0.25, away * 0.25, away * 0.3)
    ripple = c.noise(tables.grains(), across * 0.12, away * 1.1 + bend * 0.25, away * 1.6)
    grain = c.noise(tables.grains(), across * 2, away * 2, away * 3)
    stones = ((c.noise(tables.grains(), across * 0.8, away * 0.9, away * 0.9) - 0.2) * 6).clamp(0, 1) * (
        0.2 + 0.8 * rocky
    )
    tone = blend(_tone(c, d, bend * 1.2 - 0.05), c.mark * 0.8, stones * 0.8)
    _ground(c, d, tone, 1 + ripple * 0.45 * (1 - rocky * 0.7) + grain * (0.12 + 0.3 * rocky), cover)


def water(c: Canvas) -> None:
    """Open water to a far shore, sometimes a beach."""
    _sky(c)
    line = _ridge(c, "hills", 0.05 + 0.3 * c.kind, 0.22, 0.6, 0.2)
    wooded = (c.much > 0.4).float()
    trees = _ridge(
        c,
        "crowns",
        wooded * (0.05 + 0.12 * c.scale),
        0.3,
        0.35,
        0.6,
        0.7,
        base=-0.01,
        colour=blend(c.ridge, c.plant, 0.3),
    )
    d, across, away, cover = _soil(c, 0.0)
    swell = c.noise(tables.clouds(), across * 0.22, away * 1.5, away * 1.1)
    chop = c.noise(tables.grains(), across * 0.3, away * 1.5, away * 1.2)
    wave = (swell * 0.6 + chop * 0.6) * (0.45 + 0.7 * c.scale)
    mirror = (1 - d * 0.75).clamp(0.08, 0.9)
    tone = blend(c.near, blend(c.far, blend(c.haze, c.sky, d.clamp(0, 1)), 0.4), (mirror + wave * 1.0).clamp(0, 1))
    _ground(c, d, tone, 1 + wave * 0.3, cover, 0.5)
    still = 1 - 0.6 * c.strength
    for top, dark in ((line, c.ridge), (trees, blend(c.ridge, c.plant, 0.3))):
        shown = (((top - c.horizon) * 0.9 - d + wave * 0.05) * 18).clamp(0, 1)
        c.over(blend(dark, c.far, 0.45), shown * cover * 0.6 * still)
    beam = 1 / (1 + 20 * (c.x - (c.side * 3 - 1.5)) * (c.x - (c.side * 3 - 1.5)))
    c.over(c.sun, ((wave - 0.12) * 5).clamp(0, 1) * (0.25 + beam) * c.glow * 0.7 * cover)
    _beach(c, wave, c.strength > 0.6)


def _beach(c: Canvas, wave: torch.Tensor, there: torch.Tensor) -> None:
    """Sand in front of the water, wet and foaming where they meet."""
    slant = (c.side - 0.5) * 0.35 * c.x
    bay = 0.16 * c.noise(tables.clouds(), c.x * 0.12 + 0.2, c.x * 0, 0.12)
    shore = torch.minimum(c.feet * 0.5 - 0.2, c.horizon - 0.2) + slant + bay
    inland = shore - c.y
    on = there.float()
    c.over(c.cloud, (1 - (inland + 0.05 + wave * 0.05).abs() * 18).clamp(0, 1) * on * 0.6)
    d = (c.horizon - c.y).clamp(min=0.1)
    away = 0.3 / d
    grain = c.noise(tables.grains(), c.x * away * 2, away * 2, away * 2.4)
    wet = 0.68 + 0.32 * (inland * 7 - 0.2).clamp(0, 1)
    light = wet * (1 + grain * 0.35 + c.noise(tables.clouds(), c.x * away * 0.6, away, away) * 0.3)
    c.over(c.mark * light[:, None], c.edge(inland, 2) * on)


def sky(c: Canvas) -> None:
    """Nothing but clouds."""
    up = (c.y * 0.5 + 0.65 - 0.35 * c.kind).clamp(0, 1)
    c.image = blend(c.haze, c.sky, up).expand(-1, -1, -1, c.size).clone()
    sx, sy = c.x - (c.side * 3 - 1.5), c.y - 0.6
    c.over(c.sun, 0.28 * c.glow / (1 + 5 * (sx * sx + sy * sy)))
    scale = 0.06 + 0.10 * c.scale
    for shift, strength in ((0.0, 1.0), (0.37, 0.6)):
        u, v = c.x * scale + shift, c.y * scale * 1.6
        density = c.noise(tables.clouds(), u, v, scale) + (c.clouds - 0.52) * 0.45
        lit = density - c.noise(tables.clouds(), u + (c.side - 0.5) * 0.03, v + 0.022, scale) - (c.clouds - 0.52) * 0.45
        cover = (density * 4.2).clamp(0, 1)
        shade = (0.75 + 2.6 * lit - 0.6 * density).clamp(0.05, 1)
        c.over(blend(c.mark, c.cloud, shade), cover * cover * (3 - 2 * cover) * strength)


def sea_floor(c: Canvas) -> None:
    """Light from above, reefs in the blue, sand with a net of light."""
    up = ((c.y - c.horizon) * 0.7 + 0.1).clamp(0, 1)
    c.image = blend(c.haze, c.sky, up * (0.4 + 0.6 * up)).expand(-1, -1, -1, c.size).clone()
    _ridge(c, "rocks", 0.2 + 0.5 * c.kind, 0.22, 0.7, 0.2, 0.3)
    _ridge(c, "rocks", 0.1 + 0.3 * c.much, 0.28, 0.4, 0.6, 0.5)
    d, across, away, cover = _soil(c, 0.10)
    bend = c.noise(tables.clouds(), across * 0.3, away * 0.3, away * 0.3)
    ripple = c.noise(tables.grains(), across * 0.16, away * 0.9 + bend * 0.3, away * 1.2)
    grain = c.noise(tables.grains(), across * 1.6, away * 1.6, away * 2.2)
    net = 1 - (c.noise(tables.clouds(), across * 0.8, away * 0.9, away * 0.9).abs() * 12).clamp(0, 1)
    net = net + 0.7 - (c.noise(tables.clouds(), across * 0.7 + 0.5, away * 0.8, away * 0.8).abs() * 10).clamp(0, 0.7)
    light = 0.92 + ripple * 0.35 + grain * 0.3 + net * 0.4 * c.glow * (d * 3).clamp(0, 1)
    tone = blend(_tone(c, d, bend * 1.5 - 0.05), c.haze, 0.75 * (0.14 / (d + 0.14)))
    c.over(tone * light[:, None], cover)
    fall = 1 / (2.6 - c.y + c.side)
    u = (c.x - (c.side * 2 - 1)) * fall * 0.9
    ray = (
        c.noise(tables.clouds(), u, u * 0, 0.4) * 3 + c.noise(tables.clouds(), u * 2.3 + 0.5, u * 0, 0.9) * 1.5 + 0.1
    ).clamp(0, 1)
    c.over(c.cloud, ray * ((c.y + 0.9) * 0.35).clamp(0, 1) * (0.2 + 0.5 * c.glow))


def street(c: Canvas) -> None:
    """Houses across the carriageway, or on both sides of a street that leads away."""
    _sky(c)
    _ridge(c, "crowns", 0.15, 0.3, 0.55, 0.3, 0.5, colour=c.plant)
    leads = c.kind > 0.5
    vanish = c.side * 0.8 - 0.4
    beside = (c.x - vanish).abs().clamp(min=0.02)
    wide = 2.2 + c.scale
    far = torch.where(leads, wide / beside, 2.0)
    high = (c.y - c.horizon) * far + leads.float()
    along = torch.where(leads, far * 1.1 + (c.x > vanish).float() * 37, c.x * 2.4)
    blur = c.pixel * torch.where(leads, far * far / wide, 2.4)
    house = (along * 0.22 + c.w * 8).floor()
    hue = look(tables.grains(), house * 0.1373 + c.u, house * 0.217 + c.v, 0.0)
    roof = 2.6 + 5.0 * look(tables.grains(), house * 0.291 + c.v, house * 0.1171 + c.u, 0.0) + c.scale
    tone = blend(
        blend(c.ridge, blend(c.ridge * 0.7, c.far, 0.6), ((hue - 0.4) * 5).clamp(0, 1)),
        c.cloud,
        ((0.42 - hue) * 4).clamp(0, 0.7),
    )
    light = (
        0.92
        + 0.16 * (c.x > vanish).float() * leads
        - 0.08 * leads
        + 0.3 * c.noise(tables.grains(), along * 0.2, high * 0.2, blur * 20)
    )
    across, up = along * 0.9 - (along * 0.9).floor(), high * 0.62 - (high * 0.62).floor()
    soft_u, soft_v = 1 / (blur * 0.9 + 0.04), 1 / (far * c.pixel * 0.62 + 0.04)

    def rectangle(half_width: float, half_height: float) -> torch.Tensor:
        sides = ((half_width - (across - 0.5).abs()) * soft_u + 0.5).clamp(0, 1)
        ends = ((half_height - (up - 0.52).abs()) * soft_v + 0.5).clamp(0, 1)
        return sides * ends * (high < roof - 0.4)

    pane, frame = rectangle(0.24, 0.3), rectangle(0.32, 0.38)
    wall = blend(tone * light[:, None], c.cloud * 0.9, frame * 0.55)
    glass = blend(c.near * 0.35, c.sky, 0.25 + 0.5 * (hue - 0.3).clamp(0, 1) + 0.15 * up)
    wall = blend(wall, glass, pane)
    wall = blend(wall, c.wood * 0.5, ((high - roof + 0.35) * 6).clamp(0, 1))
    wall = blend(wall, c.haze, (c.fog * (far - 1.5) * 0.06).clamp(0, 0.7))
    c.over(
        wall,
        (high * (1 / (far * c.pixel)) + 0.5).clamp(0, 1) * ((roof - high) * (1 / (far * c.pixel)) + 0.5).clamp(0, 1),
    )
    _road(c, leads, vanish, wide)


def _road(c: Canvas, leads: torch.Tensor, vanish: torch.Tensor, wide: torch.Tensor) -> None:
    """Pavement, kerb, carriageway with its dashes, running across or away."""
    d, across, away, cover = _soil(c, 0.0)
    sideways = (c.x - vanish) / d
    kerb = torch.where(leads, wide * 0.62 - sideways.abs(), d * 6 - 1.3)  # above 0 on the carriageway
    wet = c.pixel * torch.where(leads, 1 / d, torch.full_like(d, 6.0))
    on = (kerb / wet + 0.5).clamp(0, 1)
    grain = c.noise(tables.grains(), across * 2, away * 2, away * 2.6) * 0.35
    patch = c.noise(tables.clouds(), across * 0.4, away * 0.5, away * 0.5) * 0.5
    slab = torch.where(leads, away * 5 + 0 * c.x, c.x * 3.2 * torch.ones_like(d))
    joint = ((0.05 - (slab - slab.floor() - 0.5).abs()) * 12).clamp(0, 0.3) * (d * 4).clamp(0, 1)
    tone = blend(c.far * (1 - joint)[:, None], c.near, on)
    line = (1 - (kerb / wet).abs() / (1 + 0.12 / wet)).clamp(0, 1)
    tone = blend(tone, c.mark, line * 0.8)
    dash = torch.where(leads, away * 2.2 + 0 * c.x, c.x * 1.1 * torch.ones_like(d) + c.w * 9)
    dashed = ((dash - dash.floor() - 0.5).abs() < 0.25).float()
    middle = torch.where(leads, 0.07 - sideways.abs(), 0.22 - (d * 6 - 4.2).abs())
    tone = blend(tone, c.cloud, (middle / wet + 0.5).clamp(0, 1) * dashed * 0.75)
    below = (c.horizon - c.y) * torch.where(leads, wide / (c.x - vanish).abs().clamp(min=0.02), 2.0)
    cover = torch.where(leads, ((below - 1) * 20 + 0.5).clamp(0, 1), cover)
    _ground(
        c,
        d,
        tone,
        1 + grain + patch * 0.5,
        torch.maximum(cover, torch.where(leads, c.edge(c.horizon - c.y) * (d < 0.02), 0.0)),
        0.4,
    )


def room(c: Canvas) -> None:
    """A wall with its skirting board, perhaps a corner; boards, tiles or a carpet."""
    corner = torch.where(c.w < 0.45, 0.3 + 0.6 * c.scale, 9.0)
    behind = (torch.where(c.side < 0.5, c.x, -c.x) - corner).clamp(min=0)
    base = c.horizon - behind * 0.55
    fall = 1 / (1 + 0.5 * ((c.x - c.t * 4 + 2) * (c.x - c.t * 4 + 2) + (c.y - 0.6) * (c.y - 0.6)))
    light = 0.8 + 0.3 * fall - 0.14 * (behind > 0).float() + 0.12 * c.noise(tables.clouds(), c.x * 0.4, c.y * 0.4, 0.4)
    stripes = (c.x * 5 + c.u) - (c.x * 5 + c.u).floor()
    paper = ((stripes - 0.5).abs() - 0.25).clamp(-0.05, 0.05) * 1.2 * (c.much > 0.65)
    panel = (c.much < 0.25) & (c.y < base + 0.55)
    wall = blend(c.haze, c.sky, ((c.y - base) * 0.8).clamp(0, 1)) * (light + paper)[:, None]
    grooves = (c.x * 4) - (c.x * 4).floor()
    wainscot = c.cloud * ((light - 0.06) * (1 - 0.16 * ((grooves - 0.5).abs() > 0.46)))[:, None]
    c.image = blend(wall, wainscot, panel.float())
    c.over(c.cloud * 1.02, c.edge(0.02 - (c.y - base - 0.55).abs()) * (c.much < 0.25))
    c.over(c.cloud * (light * 0.92)[:, None], c.edge(base + 0.10 - c.y))
    c.over(c.haze * 0.5, (1 - (c.y - base - 0.10).abs() / c.pixel).clamp(0, 1) * 0.35)
    d = (base - c.y).clamp(min=c.pixel * 0.3)
    away = 0.3 / (d + 0.22)
    tone, shine = _floor(c, c.x * away, away, d)
    c.over(tone * shine[:, None], c.edge(base - c.y))
    c.over(c.mark * 0.35, (1 - (c.y - base + 0.012).abs() * 30).clamp(0, 1) * 0.5)


def _floor(c: Canvas, across: torch.Tensor, away: torch.Tensor, d: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour and light of boards, tiles or a carpet."""
    boards, tiles = c.kind < 0.45, (c.kind >= 0.45) & (c.kind < 0.7)
    lengthwise = c.strength < 0.5
    p, q = torch.where(lengthwise, across, away), torch.where(lengthwise, away, across)
    plank = p * torch.where(boards, 16.0, 9.0)
    row = plank.floor()
    end = q * torch.where(boards, 3.0, 9.0) + torch.where(boards, row * 0.37, 0.0)
    hue = look(tables.grains(), row * 0.137 + c.u, end.floor() * 0.291 + c.v, 0.0) - 0.5
    gap = torch.maximum(
        (plank - row - 0.5).abs() - 0.46, (end - end.floor() - 0.5).abs() - torch.where(boards, 0.49, 0.46)
    )
    soft = 1 / (c.pixel * away * 12 + 0.03)
    joint = (gap * soft + 0.5).clamp(0, 1) * (0.04 / (c.pixel * away * 16 + 0.04))
    vein = c.noise(tables.grains(), p * 3, q * 0.35, away * 2) * torch.where(boards, 0.3, 0.08)
    pile = c.noise(tables.grains(), across * 3, away * 3, away * 3) * 0.4
    hard = boards | tiles
    tone = blend(c.far, c.near, (d * 0.9).clamp(0, 1))
    woven = blend(tone, c.ridge, 0.55)
    tone = torch.where(hard[:, None], blend(tone, c.mark, torch.where(tiles, joint * 0.55, joint * 0.8)), woven)
    light = torch.where(hard, 1 + hue * torch.where(boards, 0.75, 0.2) + vein, 1 + pile)
    gloss = 1 / (1 + 6 * (c.x - c.t * 4 + 2) * (c.x - c.t * 4 + 2)) * (1 - d).clamp(0, 1) * 0.3
    return tone, light + gloss * hard


PAINTERS: tuple[Callable[[Canvas], None], ...] = (
    snow, savanna, forest, meadow, desert, water, sky, sea_floor, street, room,
)  # fmt: skip


def _set_up(place: Place, image: torch.Tensor) -> None:
    """Draw the background objects, one slot after the other."""
    size = image.shape[-1]
    a, b = torch.tensor([[COLOURS.index(one) for one in DYED.get(name, ("wood", "plant"))] for name in SHAPES]).T
    fog = place.numbers[:, NUMBERS.index("fog")]
    under = place.habitat == list(THINGS).index("sea floor")
    flat = image.view(-1)
    for slot in range(place.things.shape[1]):
        shape, x, foot, tall, flip, bright = place.things[:, slot].unbind(1)
        rows = (shape >= 0).nonzero().squeeze(1)
        if not len(rows):
            continue
        shape, x, foot, tall, flip, bright = (one[rows] for one in (shape.long(), x, foot, tall, flip, bright))
        low = torch.stack([x - tall / 2, foot], dim=1)
        which, column, line = rectangles(low, low + tall[:, None], size)
        over = pick(1 / tall, which)
        u = (column.float() + 0.5) * (2 / size) - 1 - pick(x, which)
        u = (u * pick(flip, which) * over + 0.5).clamp(0, 1 - 1e-6)
        v = ((1 - (line.float() + 0.5) * (2 / size) - pick(foot, which)) * over).clamp(0, 1 - 1e-6)
        level = torch.zeros(len(rows), dtype=torch.int64)
        for bound in range(1, STAMP_LEVELS):
            level = level + (STAMP / (tall * (size / 2)) > 2**bound * 0.8)
        side = pick(STAMP >> level, which)
        starts = torch.tensor([sum((STAMP >> k) ** 2 for k in range(n)) for n in range(STAMP_LEVELS)])
        each = sum((STAMP >> k) ** 2 for k in range(STAMP_LEVELS))
        cell = ((1 - v) * side).long().clamp(max=STAMP - 1) * side + (u * side).long()
        cell = pick(shape * each + starts[level], which) + torch.minimum(cell, side * side - 1)
        found = torch.index_select(tables.stamps(), 0, cell)
        keep = (found[:, ALPHA] > 0).nonzero().squeeze(1)
        found, which = torch.index_select(found, 0, keep).T.contiguous(), pick(which, keep)
        owner = pick(rows, which)
        pixel = (owner * 3 * size + pick(line, keep)) * size + pick(column, keep)
        depth = (place.numbers[:, 0][rows] - foot).clamp(min=0.02)
        mist = ((0.1 + 0.9 * fog[rows]) * 0.07 / (depth + 0.07) + under[rows] * 0.16 / (depth + 0.16)).clamp(0, 0.85)
        mist = pick(torch.where(fog[rows] == 0, 0.0, mist), which)
        light = 2 * found[LIGHT] * pick(bright, which)
        for channel in range(3):
            first, second = (place.colours[rows, one[shape], channel] for one in (a, b))
            first, second = pick(first, which), pick(second, which)
            colour = (first + (second - first) * found[TONE]) * light
            colour = colour + (pick(place.colours[:, 1, channel], owner) - colour) * mist
            there = pixel + channel * size * size
            below = pick(flat, there)
            flat.index_copy_(0, there, below + (colour - below) * found[ALPHA])


def _shifted(image: torch.Tensor, step: int, axis: int) -> torch.Tensor:
    """Blur with weights ¼, ½, ¼ of pixels `step` apart along an axis; edge pixels are repeated."""
    length = image.shape[axis]
    step = min(step, length - 1)
    first, last = image.narrow(axis, 0, 1), image.narrow(axis, length - 1, 1)
    shape = list(image.shape)
    shape[axis] = step
    before = torch.cat([first.expand(shape), image.narrow(axis, 0, length - step)], dim=axis)
    after = torch.cat([image.narrow(axis, step, length - step), last.expand(shape)], dim=axis)
    return image * 0.5 + (before + after) * 0.25


def blurred(image: torch.Tensor, step: int) -> torch.Tensor:
    """Blur images (N, 3, H, W) slightly, with a reach of `step` pixels."""
    return _shifted(_shifted(image, step, 2), step, 3)


def _defocus(c: Canvas) -> None:
    """Blur the background behind the subject by the aperture."""
    share = c.aperture * ((c.y - c.feet) / (c.horizon - c.feet).clamp(min=0.1)).clamp(0.0, 1)
    step, levels = 1, [c.image]
    while step <= max(1, c.size // 32):
        levels.append(blurred(levels[-1], step))
        step *= 2
    for level, image in enumerate(levels[1:]):
        weight = (share * (len(levels) - 1) - level).clamp(0, 1)
        c.image = c.image + (image - levels[level]) * weight[:, None]


def _weather(c: Canvas, place: Place) -> None:
    """Mist, rain or snowfall in some outdoor images."""
    outdoors = place.habitat < list(THINGS).index("sea floor")
    outdoors = (outdoors | (place.habitat == list(THINGS).index("street"))).view(-1, 1, 1)
    white = place.habitat.view(-1, 1, 1) == 0
    dry = place.habitat.view(-1, 1, 1) == list(THINGS).index("desert")
    misty = outdoors & (c.weather < 0.10)
    depth = 1 - ((c.horizon + 0.1 - c.y) * 1.2).clamp(0, 1)
    c.over(c.haze, misty * (0.15 + 0.45 * c.strength) * depth)
    rows = (
        ((outdoors & ~misty & ~dry) & ((c.weather > 0.93) | (white & (c.weather > 0.72))))
        .flatten()
        .nonzero()
        .squeeze(1)
    )
    if len(rows):
        part = Canvas(rows_of(place, rows), c.image[rows])
        flakes = white[rows].float()
        slant = (part.side - 0.5) * 0.8
        across = part.x + part.y * slant
        grain = part.noise(tables.grains(), across * (0.55 - 0.2 * flakes), part.y * (0.05 + 0.3 * flakes), 0.4)
        part.over(part.cloud, ((grain - 0.27) * 6).clamp(0, 0.75) * (0.4 + 0.5 * flakes) * (0.5 + 0.5 * part.strength))
        c.image[rows] = part.image
