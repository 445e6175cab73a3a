"""Flowers: one to three blooms on stems with leaves."""

import torch

from menagerie.anatomy import QUARTER, Body, Vector, frame, heading, mix, scaled, unit, vector
from menagerie.draws import Draws, cos_sin
from menagerie.kinds import Traits

BLOOMS = 3
PETALS = 14  # at most


def flower(t: Traits, draws: Draws) -> Body:
    """One to three flowers on stems of different heights, roughly facing the viewer."""
    body = Body(len(t), gloss=t.gloss, soft=0.03)
    flat = torch.zeros(len(t))
    more = draws.number()
    side = torch.where(draws.chance(0.5), 1.0, -1.0)
    for rank in range(BLOOMS):
        there = more < (1.0, t.company, t.company * 0.45)[rank]
        size = draws.number(0.92, 1.08) if rank == 0 else draws.number(0.72, 0.95)
        apart = t.petal_length * (0.0, 1.15, -1.15)[rank] * side * draws.number(0.85, 1.15)
        foot = vector(apart * 0.35, 0.0, flat - (0.0, 0.12, 0.2)[rank])
        tall = t.stem_length * (draws.number(0.92, 1.05) if rank == 0 else draws.number(0.55, 0.80))
        top = foot + vector(apart * 0.85 + draws.number(-0.1, 0.1) * tall, tall, draws.number(-0.05, 0.1) * tall)
        _stem(body, t, draws, foot, top, there)
        _bloom(body, t, draws, top, torch.where(there, size, 0.0))
    return body


def _stem(body: Body, t: Traits, draws: Draws, foot: Vector, top: Vector, there: torch.Tensor) -> None:
    flat = torch.zeros(len(t))
    thick = torch.where(there, t.stem_width, -1.0)
    bend = mix(foot, top, 0.55) + scaled(heading(flat, draws.number(-3.1, 3.1), 0.0), t.stem_length * 0.05)
    body.chain([foot, bend, top], [thick, thick * 0.9, thick * 0.8], part="stem", colour=t.stem, belly=0.0,
               pattern=0.0)  # fmt: skip
    start = draws.number(-0.5, 0.5)
    for pair in range(2):
        root = mix(foot, bend, t.leaf_height * (0.8 if pair else 1.25))
        rise = t.leaf_angle + draws.number(-0.2, 0.2)
        way = heading(flat, start + (3.1416 if pair else 0.0), rise)
        length = torch.where(there, t.leaf_length * draws.number(0.8, 1.1), 0.0)
        # Leaves show their broad side to the viewer.
        outward = unit(vector(way[:, 1] * -0.6, way[:, 0].abs() * 0.6 + 0.25, flat + 0.8))
        body.ball(root + scaled(way, length * 0.5), (length * 0.55, 0.014, length * t.leaf_width), way, outward,
                  part="leaf", colour=t.leaf, tip=t.leaf_tip, belly=0.0, pattern=0.0, soft=0.02)  # fmt: skip


def _bloom(body: Body, t: Traits, draws: Draws, top: Vector, size: torch.Tensor) -> None:
    """Petals round a centre; a size of 0 leaves the bloom out."""
    axis = heading(size, QUARTER + draws.number(-0.45, 0.45), t.nod + draws.number(-0.2, 0.2))
    upright = vector(torch.zeros_like(size), 1.0, -0.5 * torch.ones_like(size))
    _, right, out = frame(axis, upright)
    turn, count = draws.number(0.0, 6.2832), (t.petals + 0.5).floor().clamp(1, PETALS)
    for i in range(PETALS):
        share = i / PETALS
        cosine, sine = cos_sin(turn + i * 6.2832 / count * (1 + 0.62 * t.wrap) + draws.number(-0.06, 0.06))
        radial = scaled(right, cosine) + scaled(out, sine)
        close = (t.cup + t.wrap * 1.15 * share + draws.number(-0.08, 0.08)).clamp(max=1.75)
        cc, sc = cos_sin(close)
        way = scaled(radial, cc) + scaled(axis, sc)
        inward = scaled(axis, cc) - scaled(radial, sc)
        length = torch.where(i < count, t.petal_length * size * (1 - t.wrap * 0.5 * share), 0.0)
        wide = length * t.petal_width
        # Cupped petals are on a ring; wrapped ones are close to the axis.
        base = t.centre * size * (0.55 - 0.5 * t.wrap * share)
        middle = top + scaled(radial, base) + scaled(way, length * 0.5)
        middle = middle + scaled(axis, length * 0.03 * (i % 2) * (t.petal_width < 0.35).float())
        body.ball(middle, (length * 0.54, length * 0.05 + 0.006, wide), way, unit(inward), part="petal",
                  colour=t.petal_base, tip=t.petal, belly=0.0, pattern=0.0, soft=t.petal_width * 0.05)  # fmt: skip
    disc = t.centre * size
    body.ball(top, (disc * t.centre_height, disc, disc), axis, right, part="crown", colour=t.centre_colour, belly=0.0,
              soft=0.01)  # fmt: skip
    core = disc * t.core
    body.ball(top, (disc * (t.centre_height + 0.06), core, core), axis, right, part="crown", colour=t.core_colour,
              belly=0.0, soft=0.02)  # fmt: skip
