"""Snakes."""

import torch

from menagerie.anatomy import Body, Vector, cross, norm, scaled, unit
from menagerie.draws import Draws, cos_sin
from menagerie.kinds import Traits
from menagerie.plans.stance import Stance, dot, eyeball, stance

BONES = 26
RAISED = 5  # bones of the lifted neck


def snake(t: Traits, draws: Draws) -> Body:
    """A snake that winds in curves or lies coiled, its head raised."""
    body = Body(len(t), gloss=t.gloss, soft=0.03)
    pose = stance(t.tilt * draws.number(0.85, 1.15), draws.number(-0.15, 0.15))
    spine = _course(t, draws, pose)
    radii = []
    for i in range(BONES + 1):
        share = i / BONES
        radii.append(t.girth * min(1.0, 0.62 + share * 2.2, (1.04 - share) * 2.4))
    body.chain(spine, radii, part="trunk", colour=t.coat)
    _back_line(body, t, pose, spine, radii)
    _head(body, t, draws, pose, spine, radii[0])
    return body


def _course(t: Traits, draws: Draws, pose: Stance) -> list[Vector]:
    """Points from the neck to the tail's tip: S-curves, or a coil with the head on top."""
    coiled = draws.chance(0.45)
    phase, period = draws.number(0.0, 6.28), draws.number(0.43, 0.52)
    swing = draws.number(1.35, 1.75)
    start = draws.number(-0.4, 1.9)
    points = [torch.zeros(len(t), 3)]
    turned = start
    lift = draws.number(0.5, 0.9)
    for i in range(BONES):
        # Turns of a coil widen by slightly less than the width of the body; a winding snake swings about a line.
        bone = torch.where(coiled, 0.15 if i < RAISED else 0.23, 0.17)
        if i >= RAISED:
            turned = turned + bone / (0.2 + (turned - start) * (t.girth * 1.8 / 6.28))
        wind = swing * cos_sin(phase + period * i)[1]
        azimuth = torch.where(coiled, turned, wind)
        if i < RAISED:
            azimuth = torch.where(coiled, start - 0.1 * i, wind)
            climb = torch.where(coiled, lift, lift * 0.7) * (1 - i / RAISED)
        else:
            climb = torch.zeros(len(t))
        points.append(points[-1] - scaled(pose.way(azimuth, 0.0), bone) - scaled(pose.up, bone * climb))
    # The turns of a coil sink from the middle outwards.
    depth = torch.where(coiled, t.girth * 0.9, 0.0)
    return [point - scaled(pose.up, depth * min(1.0, max(0, i - RAISED) / 12)) for i, point in enumerate(points)]


def _back_line(body: Body, t: Traits, pose: Stance, spine: list[Vector], radii: list[torch.Tensor]) -> None:
    """The zigzag along an adder's back."""
    for i in range(1, BONES - 1):
        way = spine[i - 1] - spine[i + 1]
        across = unit(cross(way, pose.up))
        slant = unit(way) + scaled(across, 0.5 if i % 2 else -0.5)
        centre = spine[i] + scaled(pose.up, radii[i] * 0.58)
        size = (norm(way) * 0.42, radii[i] * 0.54, radii[i] * 0.5 * t.zigzag)
        body.ball(centre, size, slant, pose.up, part="trunk", colour=t.mark, pattern=0.0, belly=0.0, soft=0.0)


def _head(body: Body, t: Traits, draws: Draws, pose: Stance, spine: list[Vector], neck: torch.Tensor) -> None:
    """Head, collar, eyes, tongue."""
    way = unit(spine[0] - spine[1])
    level = scaled(pose.up, dot(way, pose.up))
    face = unit(way - level * 0.8)
    side = unit(cross(face, pose.up))
    up = cross(side, face)
    skull = spine[0] + scaled(face, t.head * 0.5)
    body.ball(skull, (t.head * 0.8, t.head * 0.6, t.head * t.jowl), face, up, part="head", colour=t.face, pattern=0.0,
              belly=0.7)  # fmt: skip
    nose = skull + scaled(face, t.head * 1.15) - scaled(up, t.head * 0.08)
    body.bone(skull, nose, t.head * 0.55, t.head * 0.36, part="snout", colour=t.face, pattern=0.0, belly=0.7)
    for flank in (-1.0, 1.0):
        socket = skull + scaled(face, t.head * 0.6) + scaled(side, flank * t.head * 0.42) + scaled(up, t.head * 0.26)
        eyeball(body, socket, t.head * 0.2, scaled(side, flank), t.iris, t.eye)
        patch = spine[0] + scaled(side, flank * neck * 0.62) + scaled(up, neck * 0.35) - scaled(face, t.head * 0.25)
        body.ball(patch, (t.head * 0.42, torch.where(t.collar > 0, t.head * 0.4, 0.0), t.head * 0.45), face, up,
                  part="neck", colour=t.collar_colour, pattern=0.0, belly=0.0, soft=0.0)  # fmt: skip
    mouth = nose + scaled(face, t.head * 0.25)
    out = torch.where(draws.chance(0.6), t.head * 0.06, -1.0)
    fork = mouth + scaled(face, t.head * 0.7)
    body.bone(mouth, fork, out, part="snout", colour=t.tongue, pattern=0.0, belly=0.0, soft=0.0)
    for flank in (-1.0, 1.0):
        tip = fork + scaled(face, t.head * 0.35) + scaled(side, t.head * 0.25 * flank)
        body.bone(fork, tip, out, part="snout", colour=t.tongue, pattern=0.0, belly=0.0, soft=0.0)
