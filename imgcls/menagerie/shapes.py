"""Ten geometric subjects, drawn by signed distance functions.

A distance is negative inside; lengths are in units of the subject's radius. Only exactly rounded operations are
used on pixels (see `draws`), so the bytes depend on the draws alone.

Source of the distance functions: Quilez, "2D distance functions" (the constructions, rewritten for batches).
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch

from imgcls.menagerie.draws import Draws

PARTS = ("body", "rim")
TWIGS = 3  # thin things behind the subject
LUMA = (0.299, 0.587, 0.114)
CONTRAST = 0.25  # least difference of brightness between subject and background, of [0, 1]

Point = tuple[float, float]


# ------------------------------------------------------------------ distances


def _length(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x * x + y * y).sqrt()


def _outline(x: torch.Tensor, y: torch.Tensor, corners: tuple[Point, ...]) -> torch.Tensor:
    """Distance to a polygon of which one part stands for all: the rest mirrors it, the axes lying inside.

    The corners lead from the positive x axis over y > 0 to the negative x axis (for x, |y|) or to the y axis (for
    |x|, |y|).
    """
    squared = torch.full_like(x, math.inf)
    inside = torch.zeros_like(x, dtype=torch.bool)
    for (ax, ay), (bx, by) in pairwise(corners):
        ex, ey = bx - ax, by - ay
        wx, wy = x - ax, y - ay
        along = ((wx * ex + wy * ey) * (1 / (ex * ex + ey * ey))).clamp(0, 1)
        dx, dy = wx - along * ex, wy - along * ey
        squared = torch.minimum(squared, dx * dx + dy * dy)
        if ey:  # even-odd rule: does a ray to the right meet this edge?
            inside ^= ((y < ay) != (y < by)) & (wx < wy * (ex / ey))
    distance = squared.sqrt()
    return torch.where(inside, -distance, distance)


def _capsule(
    x: torch.Tensor, y: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, half: torch.Tensor
) -> torch.Tensor:
    """Distance to a straight stroke of half-length `half` through the origin."""
    along, across = x * cosine + y * sine, y * cosine - x * sine
    return _length((along.abs() - half).clamp(min=0), across)


def _round(*radii: float) -> tuple[Point, ...]:
    """Corners at even angles from the positive to the negative x axis, the radii taking turns."""
    last = len(radii) - 1
    return tuple((r * math.cos(math.pi * i / last), r * math.sin(math.pi * i / last)) for i, r in enumerate(radii))


ARROW = ((1, 0), (0.1, 0.65), (0.1, 0.22), (-1, 0.22), (-1, 0))
CROSS = ((0.95, 0), (0.95, 0.3), (0.3, 0.3), (0.3, 0.95), (0, 0.95))
SQUARE = ((1, 0), (0, 1))
STAR = _round(1.1, 0.46, 1.1, 0.46, 1.1, 0.46)
HEXAGON = ((0.92, 0), (0.46, 0.46 * math.sqrt(3)), (0, 0.46 * math.sqrt(3)))
TRIANGLE = ((1.05, 0), (-0.525, 0.525 * math.sqrt(3)), (-0.525, 0))


def _crescent(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.maximum(_length(x, y) - 0.95, 0.8 - _length(x - 0.48, y))


def _heart(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x, y = x.abs(), y - 0.15
    lobes = _length(x - 0.375, y - 0.125) - 0.375 * math.sqrt(2)
    return torch.minimum(lobes, _outline(x, (y + 0.25).abs(), ((0.75, 0), (0, 0.75))))


DISTANCES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "arrow": lambda x, y: _outline(x, y.abs(), ARROW),
    "crescent": _crescent,
    "cross": lambda x, y: _outline(x.abs(), y.abs(), CROSS),
    "disc": lambda x, y: _length(x, y) - 0.85,
    "heart": _heart,
    "hexagon": lambda x, y: _outline(x.abs(), y.abs(), HEXAGON),
    "ring": lambda x, y: (_length(x, y) - 0.68).abs() - 0.24,
    "square": lambda x, y: _outline(x.abs(), y.abs(), SQUARE),
    "star": lambda x, y: _outline(x, y.abs(), STAR),
    "triangle": lambda x, y: _outline(x, y.abs(), TRIANGLE),
}
CLASSES = tuple(DISTANCES)


def distance(labels: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Signed distance to the subject of each label, float32 (N, H, W) like `x` and `y`."""
    result = torch.empty_like(x)
    for label, name in enumerate(CLASSES):
        rows = (labels == label).nonzero().squeeze(1)
        if len(rows):
            result[rows] = DISTANCES[name](x[rows], y[rows])
    return result


# ------------------------------------------------------------------ colours


def _rgb(hue: torch.Tensor, saturation: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """HSV in [0, 1], each (N, 1, 1), to RGB (N, 3, 1, 1)."""
    offset = torch.tensor([0.0, 2 / 3, 1 / 3]).view(3, 1, 1)
    turn = hue[:, None] + offset
    ramp = ((turn - turn.floor()) * 6 - 3).abs()
    return value[:, None] * (1 - saturation[:, None] * (2 - ramp).clamp(0, 1))


def _luma(rgb: torch.Tensor) -> torch.Tensor:
    red, green, blue = (rgb[:, i : i + 1] * weight for i, weight in enumerate(LUMA))
    return red + green + blue


def _cover(pixels: torch.Tensor) -> torch.Tensor:
    """Share of each pixel that lies inside, from its distance in pixels, (N, H, W) to (N, 1, H, W)."""
    return (0.5 - pixels).clamp(0, 1)[:, None]


def _over(top: torch.Tensor, share: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    return below + (top - below) * share


# ------------------------------------------------------------------ the scene


def render(draws: Draws, labels: torch.Tensor, size: int, habitat_bias: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one subject per label before a background that knows nothing of it (but for `habitat_bias`).

    Returns:
        images uint8 (N, 3, size, size); parts uint8 (N, size, size): 1 body, 2 rim, 0 all else.
    """
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1  # pixel centres; the image spans [-1, 1]
    x, y = axis.view(1, 1, size), axis.view(1, size, 1)
    to_pixels = size / 2

    # Where the subject is, and the light.
    radius = draws.uniform(0.48, 0.9)
    room = 1 - 0.8 * radius  # a little of it may lie beyond the border
    x = x - draws.uniform(-0.8, 0.8) * room
    y = y - draws.uniform(-0.8, 0.8) * room
    turn_x, turn_y = draws.direction()
    light_x, light_y = draws.direction()
    reach = draws.uniform(0.08, 0.3)  # of the shadow
    rounding = draws.uniform(0, 0.09)

    # In the frame of the subject: itself and, further along the light, where its shadow comes from.
    along, across = (x * turn_x + y * turn_y) / radius, (y * turn_x - x * turn_y) / radius
    behind, aside = (light_x * turn_x + light_y * turn_y) * reach, (light_y * turn_x - light_x * turn_y) * reach
    # Rounded corners: shrunk a little more than the distance then gives back.
    grown = 1 + 1.5 * rounding
    both = distance(
        labels.repeat(2),
        torch.cat([along, along + behind]) * torch.cat([grown, grown]),
        torch.cat([across, across + aside]) * torch.cat([grown, grown]),
    )
    distances, shadow = (both / torch.cat([grown, grown]) - torch.cat([rounding, rounding])).chunk(2)

    # Background: two colours, a slope and cloudy texture between them, twigs, the shadow.
    own_hue = (labels.view(-1, 1, 1).float() + draws.uniform(0.2, 0.8)) / len(CLASSES)
    hue = torch.where(draws.chance(habitat_bias), own_hue, draws.uniform())
    saturation, value = draws.uniform(0.2, 0.65), draws.uniform(0.35, 0.9)
    near = _rgb(hue, saturation, value)
    far = _rgb(hue + draws.uniform(-0.06, 0.06), draws.uniform(0.1, 0.6), value + draws.uniform(-0.3, 0.2))
    slope_x, slope_y = draws.direction()
    slope = draws.uniform(0, 0.5) * (axis.view(1, 1, size) * slope_x + axis.view(1, size, 1) * slope_y)
    clouds = sum(draws.uniform(0.1, 0.5) * (draws.texture(size, cells) - 0.5) for cells in (3, 7, 15))
    mixture = (0.5 + slope + clouds).clamp(0, 1)[:, None]
    scene = _over(far, mixture, near)
    for _ in range(TWIGS):
        cosine, sine = draws.direction()
        stroke = _capsule(
            axis.view(1, 1, size) - draws.uniform(-1, 1),
            axis.view(1, size, 1) - draws.uniform(-1, 1),
            cosine,
            sine,
            draws.uniform(0.05, 0.6),
        )
        colour = _rgb(hue + draws.uniform(-0.2, 0.2), draws.uniform(0.1, 0.7), draws.uniform(0.1, 1.0))
        opacity = draws.uniform(0.1, 0.6)[:, None]
        scene = _over(colour, _cover((stroke - draws.uniform(0.02, 0.09)) * to_pixels) * opacity, scene)
    softness = draws.uniform(0.15, 0.6)
    shade = (0.5 - shadow / softness).clamp(0, 1)[:, None]
    scene = scene * (1 - draws.uniform(0.1, 0.5)[:, None] * shade)

    # Subject: a colour that stands off at least a little, lit from one side, cloudy, with a rim.
    colour = _rgb(draws.uniform(), draws.uniform(0.1, 0.85), draws.uniform(0.2, 0.95))
    ground = _luma((near + far) * 0.5)
    gap = _luma(colour) - ground
    upwards = torch.where(gap.abs() < CONTRAST, ground < 0.5, gap >= 0)
    aim = torch.where(upwards, ground + CONTRAST, ground - CONTRAST)
    colour = colour + torch.where(gap.abs() < CONTRAST, aim - _luma(colour), 0.0)
    lit = (x * light_x + y * light_y) / radius * draws.uniform(0.02, 0.22)
    spots = draws.uniform(0.0, 0.4) * (draws.texture(size, 9) - 0.5)
    body = colour * (1 + lit + spots)[:, None]
    rim_width = draws.uniform(0.07, 0.16)
    rim_tone = torch.where(draws.chance(0.5), draws.uniform(0.6, 0.9), draws.uniform(1.1, 1.4))[:, None]
    in_rim = _cover((-distances - rim_width) * radius * to_pixels)
    body = _over(body * rim_tone, in_rim, body)
    scene = _over(body, _cover(distances * radius * to_pixels), scene)

    # A stem in front of it, now and then.
    cosine, sine = draws.direction()
    offset = draws.uniform(-0.6, 0.6) * radius
    stem = _capsule(x + sine * offset, y - cosine * offset, cosine, sine, draws.uniform(0.8, 2.0))
    stem = stem - radius * draws.uniform(0.04, 0.14)
    stem = torch.where(draws.chance(0.3), stem, torch.full_like(stem, 4.0))
    colour = _rgb(hue + draws.uniform(-0.15, 0.15), draws.uniform(0.1, 0.7), draws.uniform(0.1, 0.9))
    scene = _over(colour, _cover(stem * to_pixels), scene)

    # The camera: exposure, darker corners, noise.
    corner = axis.view(1, 1, size) * axis.view(1, 1, size) + axis.view(1, size, 1) * axis.view(1, size, 1)
    exposure = draws.uniform(0.75, 1.15) * (1 - draws.uniform(0, 0.18) * corner)
    scene = scene * exposure[:, None] + draws.uniform(0.01, 0.05)[:, None] * draws.noise(size)
    images = (scene * 255 + 0.5).clamp(0, 255).to(torch.uint8)

    visible = (distances <= 0) & (stem > 0)
    parts = torch.where(distances > -rim_width, 2, 1) * visible
    return images, parts.to(torch.uint8)
