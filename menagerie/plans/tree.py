"""Woody plants: broadleaved trees, conifers, palms, and cacti beside them."""

import torch

from menagerie.anatomy import QUARTER, Body, Vector, cross, heading, mix, norm, scaled, unit, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits

GOLDEN = 2.39996  # the golden angle in radians: successive clumps never line up
CLUMPS, FRUITS, TIERS, BOUGHS, FRONDS, RIBS = 18, 9, 6, 8, 10, 7


def tree(t: Traits, draws: Draws) -> Body:
    """A broadleaved tree: a trunk that forks, and a crown of clumps."""
    body = Body(len(t), gloss=t.gloss, soft=0.06)
    flat = torch.zeros(len(t))
    fork = vector(draws.number(-0.06, 0.06), t.trunk_length, draws.number(-0.05, 0.05))
    heart = fork + vector(draws.number(-0.08, 0.08), t.crown_height * 0.72, flat)
    girth, bark = t.trunk_width, _bark(t)
    for azimuth in (0.4, 2.5, 4.6):
        root = scaled(heading(flat, azimuth + draws.number(-0.4, 0.4), 0.0), girth * 1.7)
        body.bone(root, vector(flat, girth * 2.2, flat), girth * 0.35, girth * 0.8, **bark)
    body.bone(vector(flat, girth * 0.5, flat), fork, girth * 1.1, girth * 0.8, **bark)
    start = draws.number(0.0, 6.2832)
    for i in range(4):
        way = heading(flat, start + i * GOLDEN, draws.number(0.6, 1.2))
        body.bone(fork, fork + scaled(way, t.crown_height * 0.8), girth * 0.6, girth * 0.2, **bark)
    for i in range(CLUMPS):
        # A sunflower spiral over a sphere, from its top down to the hollow at the boughs.
        height = 1.0 - 1.62 * (i + 0.5) / CLUMPS
        level = (1 - height * height) ** 0.5
        out = heading(flat, start + i * GOLDEN, 0.0)
        far = draws.number(0.52, 0.72)
        taper = 1 - t.crown_taper * height * 0.55
        spot = heart + scaled(out, level * far * t.crown_width * taper)
        spot = spot + vector(flat, height * far * t.crown_height - 0.05 * t.crown_height, flat)
        size = draws.number(0.36, 0.50) * taper.clamp(0.7, 1.25)
        shade = mix(t.leaf, t.leaf_tip, draws.number(0.0, 0.5) + 0.25 + 0.25 * height)
        body.ball(spot, (t.crown_width * size, t.crown_height * size * 0.86, t.crown_width * size), part="leaf",
                  colour=shade, belly=0.6, soft=0.04)  # fmt: skip
    for i in range(FRUITS):
        height = 0.45 - 1.0 * (i + 0.5) / FRUITS
        level = (1 - height * height) ** 0.5
        out = heading(flat, start + 1.0 + i * GOLDEN, 0.0)
        spot = heart + scaled(out, level * t.crown_width * 0.97) + vector(flat, height * t.crown_height * 0.95, flat)
        body.ball(spot, (t.fruit, t.fruit, t.fruit), part="crown", colour=t.fruit_colour, belly=0.0, pattern=0.0,
                  soft=0.0, gloss=0.3)  # fmt: skip
    return body


def conifer(t: Traits, draws: Draws) -> Body:
    """A conifer: tiers of drooping boughs round a straight trunk, each narrower than the one below."""
    body = Body(len(t), gloss=t.gloss, soft=0.05)
    flat = torch.zeros(len(t))
    tall = t.trunk_length + t.crown_height
    lean = draws.number(-0.03, 0.03)
    trunk = t.trunk_width
    body.bone(vector(flat, 0.0, flat), vector(lean, tall * 0.9, flat), trunk, trunk * 0.2, **_bark(t))
    start = draws.number(0.0, 6.2832)
    for tier in range(TIERS):
        share = tier / TIERS
        wide = t.crown_width * (1 - share * 0.86) * draws.number(0.92, 1.06)
        step = t.crown_height / TIERS
        middle = vector(lean * share, t.trunk_length + step * (tier + 0.75), flat)
        shade = mix(t.leaf, t.leaf_tip, draws.number(0.1, 0.6))
        body.ball(middle, (wide * 0.56, step * 0.85, wide * 0.56), part="leaf", colour=shade, belly=0.8, soft=0.03)
        for i in range(BOUGHS):
            out = heading(flat, start + tier * 0.45 + i * (6.2832 / BOUGHS) + draws.number(-0.2, 0.2), t.bough_angle)
            tip = middle + scaled(out, wide * draws.number(0.86, 1.08))
            body.bone(middle + vector(flat, step * 0.35, flat), tip, wide * 0.19, wide * 0.03 + 0.008, part="leaf",
                      colour=shade, tip=mix(shade, t.leaf_tip, 0.5), belly=0.7, soft=0.03)  # fmt: skip
    top = vector(lean, tall, flat)
    shoot = t.crown_height * 0.22
    body.bone(top - vector(flat, shoot, flat), top, t.crown_width * 0.16, 0.012, part="leaf", colour=t.leaf_tip)
    return body


def palm(t: Traits, draws: Draws) -> Body:
    """A palm: a bare, curving trunk under a crown of arching fronds."""
    body = Body(len(t), gloss=t.gloss, soft=0.03)
    flat = torch.zeros(len(t))
    sway = draws.number(-0.30, 0.30)
    girth, bark = t.trunk_width, _bark(t)
    points = [vector(sway * (share * share), t.trunk_length * share, flat) for share in (0.0, 0.35, 0.7, 1.0)]
    body.chain(points, [girth * 1.25, girth, girth * 0.85, girth * 0.8], **bark)
    top = points[-1] + vector(flat, girth * 0.6, flat)
    start = draws.number(0.0, 6.2832)
    for i in range(FRONDS):
        azimuth = start + i * GOLDEN
        rise = draws.number(0.15, 0.55) + (0.55 if i % 3 == 0 else 0.0)
        out, level = heading(flat, azimuth, rise), heading(flat, azimuth, 0.0)
        aside = heading(flat, azimuth + QUARTER, 0.0)
        reach = t.crown_width * draws.number(0.85, 1.1)
        bend = top + scaled(out, reach * 0.50)
        droop = bend + scaled(level, reach * 0.33) - vector(flat, reach * t.droop * 0.30, flat)
        end = droop + scaled(level, reach * 0.12) - vector(flat, reach * t.droop * 0.42, flat)
        shade = mix(t.leaf, t.leaf_tip, draws.number(0.0, 0.7))
        stations = [top, bend, droop, end]
        for j, wide in enumerate((0.075, 0.115, 0.07)):
            run = stations[j + 1] - stations[j]
            body.ball(mix(stations[j], stations[j + 1], 0.5), (norm(run) * 0.62, 0.02, reach * wide), unit(run),
                      cross(aside, unit(run)), part="leaf", colour=shade, belly=0.3, pattern=0.4,
                      soft=0.02)  # fmt: skip
    for i in range(4):
        nut = top + scaled(heading(flat, start + i * 1.57, 0.0), girth * 1.1) - vector(flat, girth * 0.7, flat)
        body.ball(nut, (t.fruit, t.fruit * 1.15, t.fruit), part="crown", colour=t.fruit_colour, belly=0.0, soft=0.0)
    return body


def cactus(t: Traits, draws: Draws) -> Body:
    """A columnar cactus with ribs and upturned arms."""
    body = Body(len(t), gloss=t.gloss, soft=0.04)
    flat = torch.zeros(len(t))
    girth, tall = t.trunk_width, t.trunk_length
    _column(body, t, vector(flat, girth * 0.3, flat), vector(draws.number(-0.04, 0.04), tall, flat), girth, RIBS)
    side = torch.where(draws.chance(0.5), 0.0, 3.1416)
    arms = draws.pick(0.2, 0.5, 0.3) + 1
    for i in range(3):
        there = arms > i
        azimuth = side + (0.0, 3.1416, 1.3)[i] + draws.number(-0.5, 0.5)
        way = heading(flat, azimuth, 0.1)
        root = vector(flat, tall * draws.number(0.30, 0.52), flat)
        elbow = root + scaled(way, girth * draws.number(2.1, 2.7))
        end = elbow + vector(flat, tall * draws.number(0.22, 0.40), flat) + scaled(way, girth * 0.25)
        thick = torch.where(there, girth * 0.68, -1.0)
        body.bone(root, elbow, thick * 0.9, thick, part="arm", colour=t.bark, belly=0.3)
        _column(body, t, elbow, end, thick, 5)
    for i in range(3):
        bud = vector(flat, tall + girth * 0.85, flat) + scaled(heading(flat, i * 2.1, 0.0), girth * 0.45)
        body.ball(bud, (t.fruit, t.fruit * 1.2, t.fruit), part="petal", colour=t.fruit_colour, belly=0.0, soft=0.0)
    return body


def _column(body: Body, t: Traits, low: Vector, high: Vector, thick: torch.Tensor, ribs: int) -> None:
    """An upright limb with pale ribs that protrude slightly."""
    flat = torch.zeros(len(t))
    part = "stem" if ribs == RIBS else "arm"
    body.bone(low, high, thick, thick * 0.92, part=part, colour=t.bark, belly=0.3)
    for i in range(ribs):
        out = scaled(heading(flat, i * 6.2832 / ribs + 0.3, 0.0), thick.clamp(min=0) * 0.90)
        rib = torch.where(thick > 0, thick * 0.19, -1.0)
        body.bone(low + out, high + out * 0.8, rib, rib, part=part, colour=t.leaf_tip, belly=0.0, soft=0.02)


def _bark(t: Traits) -> dict[str, object]:
    return {"part": "stem", "colour": t.bark, "pattern": t.bark_marks, "belly": 0.0}
