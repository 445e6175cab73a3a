"""Mushrooms: a stem, a cap, in groups of one to three."""

import torch

from menagerie.anatomy import Body, Number, Vector, cross, heading, mix, scaled, unit, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits

LOBES = 8  # of the wavy rim of a funnel; as many warts on a dome
# Discs of a cap: height above the end of the stem, half thickness, radius, colour (0 rim, 1 middle).
DOME = ((0.16, 0.40, 1.00, 0.0), (0.34, 0.52, 0.94, 0.45), (0.50, 0.50, 0.70, 0.65))  # over cap_height, cap_width
FUNNEL = ((-0.38, 0.24, 0.52), (-0.24, 0.18, 0.64), (-0.10, 0.06, 0.45))  # all over cap_width; the last is its bottom


def mushroom(t: Traits, draws: Draws) -> Body:
    """One to three mushrooms of different sizes, side by side."""
    body = Body(len(t), gloss=t.gloss, soft=0.05)
    flat = torch.zeros(len(t))
    many = draws.pick(0.4, 0.35, 0.25)
    turn = draws.number(-0.5, 0.5)
    for rank in range(3):
        size, foot = torch.ones_like(flat), vector(flat, 0.0, 0.0)
        if rank:
            size = draws.number(0.40, 0.80)
            apart = (t.cap_width * 0.62 + t.stem_width) * (0.55 + 0.62 * size)
            foot = scaled(heading(flat, turn + (3.1416 if rank == 2 else 0.0), 0.0), apart)
            foot = foot + vector(flat, 0.0, draws.number(-0.1, 0.35))
        _fruit(body, t, draws, foot, torch.where(many >= rank, size, 0.0))
    return body


def _fruit(body: Body, t: Traits, draws: Draws, foot: Vector, size: torch.Tensor) -> None:
    """One mushroom of a group; a size of 0 leaves it out."""
    flat = torch.zeros_like(size)
    trumpet = t.funnel > 0.5
    up = heading(flat, draws.number(-1.5, 1.5), draws.number(1.30, 1.75))
    stem, wide = t.stem_width * size, t.cap_width * size
    top = foot + scaled(up, t.stem_length * size)
    bend = mix(foot, top, torch.where(trumpet, 0.15, 0.5)) + scaled(
        heading(flat, draws.number(-3.0, 3.0), 0.0), stem * 0.25
    )
    end = top - scaled(up, torch.where(trumpet, wide * 0.52, 0.0))  # the rest of a trumpet is its cap

    def radius(value: torch.Tensor) -> torch.Tensor:
        return torch.where(size > 0, value, -1.0)

    look = {"part": "stem", "belly": 0.0, "soft": 0.15}
    middle, high = stem * (1 + t.bulb * 0.2), torch.where(trumpet, wide * 0.40, stem * (1 - 0.1 * t.bulb))
    body.bone(foot + scaled(up, stem * 0.4), bend, radius(stem * (1 + t.bulb * 0.6)), radius(middle), colour=t.stem,
              pattern=t.stem_marks, **look)  # fmt: skip
    body.bone(bend, end, radius(middle), radius(high), colour=t.stem, pattern=t.stem_marks,
              tip=torch.where(trumpet[:, None], t.gill_colour, t.stem), **look)  # fmt: skip
    bulb = stem * (1.05 + t.bulb * 0.75)
    _disc(body, foot + scaled(up, bulb * 0.55), up, bulb * 0.8, bulb, colour=t.stem, pattern=t.stem_marks, **look)
    skirt, hem = t.ring * size, mix(foot, top, t.ring_height)
    look = {"part": "stem", "pattern": 0.0, "belly": 0.4, "soft": 0.01}
    _disc(body, hem, up, skirt * 0.22, skirt, colour=t.stem, **look)
    _disc(body, hem - scaled(up, skirt * 0.22), up, skirt * 0.2, skirt * 0.86, colour=t.gill_colour, **look)
    # A cap opens as it ripens, whatever its size.
    _cap(body, t, draws, top, up, size * draws.number(0.88, 1.10), trumpet)


def _disc(body: Body, centre: Vector, up: Vector, thick: Number, radius: Number, **look: object) -> None:
    """A round ball, flat or tall, about an axis."""
    level = torch.tensor([[1.0, 0.0, 0.0]]).expand_as(up)
    aside = unit(cross(cross(up, level), up))
    body.ball(centre, (thick, radius, radius), up, aside, **look)


def _cap(
    body: Body, t: Traits, draws: Draws, top: Vector, up: Vector, size: torch.Tensor, trumpet: torch.Tensor
) -> None:
    """A dome over its gills with warts on it, or the mouth of a trumpet with a wavy rim."""
    wide, high = t.cap_width * size, t.cap_height * size
    dome, either = torch.where(trumpet, 0.0, 1.0), trumpet[:, None]
    low = top - scaled(up, high * t.cap_hang * dome)
    for (rise, thick, share, shade), (up_to, thin, broad) in zip(DOME, FUNNEL, strict=True):
        bottom = thin < 0.1
        colour, tip = mix(t.cap_rim, t.cap, shade), mix(t.cap_rim, t.cap, shade + 0.35)
        inside = t.cap_eye if bottom else t.gill_colour
        _disc(body, low + scaled(up, torch.where(trumpet, wide * up_to, high * rise)), up,
              torch.where(trumpet, wide * thin, high * thick), torch.where(trumpet, wide * broad, wide * share),
              part="cap", colour=torch.where(either, inside, colour), tip=torch.where(either, inside, tip),
              belly=torch.where(trumpet, 0.0 if bottom else 0.3, 0.85), soft=0.14)  # fmt: skip
    _disc(body, low - scaled(up, high * 0.06), up, high * 0.22 * dome, wide * 0.90, part="cap", colour=t.gill_colour,
          pattern=0.0, soft=0.02)  # fmt: skip
    knob = t.knob * size * dome
    _disc(body, low + scaled(up, high * 0.94), up, knob * 0.7, knob, part="cap", colour=t.cap_eye, pattern=0.0,
          belly=0.0, soft=0.04)  # fmt: skip
    turn = draws.number(0.0, 6.2832)
    for i in range(LOBES):
        # Warts alternate between low and high on the shoulder of the dome, where they are most visible.
        ring, steep, rise = (0.47, 0.80, 0.93) if i % 2 else (0.75, 0.50, 0.67)
        way = heading(size, turn + i * (6.2832 / LOBES), 0.0)
        wart = t.wart * wide * draws.number(0.7, 1.2) * (0.8 + 0.4 * steep)
        shoulder = low + scaled(way, wide * ring) + scaled(up, high * rise)
        rim = top + scaled(way, wide * 0.50 * draws.number(0.9, 1.12)) + scaled(up, wide * draws.number(-0.03, 0.12))
        outward = scaled(way, ring * 0.8) + scaled(up, steep + 0.3)
        lobe = way + scaled(up, draws.number(0.15, 0.45))
        forward = unit(torch.where(either, lobe, outward))
        body.ball(
            torch.where(either, rim, shoulder),
            (torch.where(trumpet, wide * 0.46, wart * 0.7), torch.where(trumpet, wide * 0.09, wart),
             torch.where(trumpet, wide * 0.44, wart)),
            forward, up, part="cap", colour=torch.where(either, t.cap_eye, t.wart_colour),
            tip=torch.where(either, t.cap_rim, t.wart_colour), pattern=0.0, belly=torch.where(trumpet, 0.5, 0.0),
            soft=torch.where(trumpet, 0.12, 0.01),
        )  # fmt: skip
