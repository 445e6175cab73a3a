"""Molluscs: snails and slugs, octopuses, squids."""

import math

import torch

from menagerie.anatomy import Body, Number, Vector, cross, heading, mix, scaled, unit, vector
from menagerie.draws import Draws, cos_sin
from menagerie.kinds import Traits
from menagerie.plans.marks import EYEBALL, PAINTED

TURN = 2 * math.pi
UP = torch.tensor([[0.0, 1.0, 0.0]])
# Shell of a snail: turns, number of capsules, number of banded capsules, shrinkage per turn, angle of the opening.
WHORLS, STEPS, BANDED, SHRINK, OPENING = 2.5, 22, 13, 0.5, -0.9
ARMS = 8
# An arm of an octopus: length over its own, slope in radians, radius at the end, share of its swerve.
ARM = ((0.22, -0.75, 0.80, 0.0), (0.22, -0.25, 0.60, 0.2), (0.20, 0.05, 0.42, 0.9), (0.15, 0.55, 0.30, 1.7),
       (0.12, 1.5, 0.22, 2.0), (0.10, 2.9, 0.12, 2.2))  # fmt: skip
SUCKERED = (1, 5)  # arms whose suckers show


def _foot(body: Body, t: Traits, draws: Draws) -> tuple[Vector, Vector]:
    """The creeping foot from tail to head; returns the head and where the face looks."""
    stretch, raised, turn = draws.number(0.9, 1.12), draws.number(0.06, 0.30), draws.number(-0.6, 0.6)
    long, girth = t.foot_length, t.girth
    tail = vector(-long * stretch, girth * 0.25, draws.number(-0.15, 0.15))
    rear, middle = vector(-0.5 * long, girth * 0.7, 0.0), vector(0.0, girth * t.hump, 0.0)
    neck = vector(0.48 * long * stretch, girth * 0.95 + 0.3 * raised, turn * 0.08)
    top = neck + scaled(heading(turn, turn, 0.5 + raised), t.neck)
    radii = [girth * 0.22, girth * 0.75, girth * t.hump, girth * 0.95, girth * 0.72]
    body.chain([tail, rear, middle, neck, top], radii, part="trunk", colour=t.coat)
    size = (long * 0.86, girth * 0.24, girth * 1.35)
    body.ball(vector(-0.18 * long, girth * 0.18, 0.0), size, part="foot", colour=t.sole, pattern=0.2)
    return top, heading(turn, turn, 0.25)


def _horns(body: Body, t: Traits, draws: Draws, head: Vector, face: Vector) -> None:
    """Two long horns with eyes on their ends, two short ones below."""
    side = unit(cross(face, UP.expand_as(face)))
    look = {"part": "horn", "colour": t.coat, "pattern": 0.0, "soft": 0.03}
    for sign in (-1.0, 1.0):
        root = head + scaled(side, t.girth * 0.35 * sign) + scaled(face, t.girth * 0.3)
        reach = t.horn_size * draws.number(0.75, 1.15)
        tip = root + scaled(unit(face + UP * 1.15 + side * (0.42 * sign)), reach)
        body.bone(root, tip, 0.036, 0.022, **look)
        body.ball(tip, (t.horn_size * 0.115,) * 3, colour=t.eye, **EYEBALL)
        body.bone(root, root + scaled(unit(face - UP * 0.15 + side * (0.5 * sign)), reach * 0.38), 0.029, 0.018, **look)


def _shell(body: Body, t: Traits, draws: Draws) -> None:
    """A tube along a logarithmic spiral, banded on both sides; its plane tips a little to one side."""
    lean = draws.number(-0.25, 0.25)
    ahead = heading(lean, draws.number(-0.15, 0.15), draws.number(-0.1, 0.2))
    across = unit(cross(ahead, unit(vector(0.0, 1.0, lean))))
    rise = cross(across, ahead)
    middle = vector(t.shell_place, t.girth * 0.9 + t.shell * 0.86, lean * 0.4)
    points, tubes = [], []
    for i in range(STEPS + 1):
        turned = WHORLS * i / STEPS
        whole = SHRINK**turned
        tube = whole * (0.40 + 0.05 * turned)
        angle = TURN * turned + OPENING
        out = scaled(ahead, math.cos(angle)) + scaled(rise, math.sin(angle))
        points.append(middle + scaled(out, t.shell * (whole - tube * 0.95)))
        tubes.append(t.shell * tube)
    there = t.shell > 0.05
    radii = [torch.where(there, tube, -1.0) for tube in tubes]
    body.chain(points, radii, part="shell", colour=t.shell_colour, tip=t.apex, soft=0.02, gloss=0.3)
    lines = [torch.where(there & (t.band > 0.02), tube * t.band, -1.0) for tube in tubes[: BANDED + 1]]
    for side in (-1.0, 1.0):
        band = [points[i] + scaled(across, tubes[i] * 0.80 * side) for i in range(BANDED + 1)]
        body.chain(band, lines, part="shell", colour=t.band_colour, gloss=0.3, **PAINTED)


def snail(t: Traits, draws: Draws) -> Body:
    """A snail that creeps, its shell coiled in the plane of its body, or a slug without one."""
    body = Body(len(t), gloss=t.gloss, soft=0.1)
    head, face = _foot(body, t, draws)
    _horns(body, t, draws, head, face)
    _shell(body, t, draws)
    return body


def octopus(t: Traits, draws: Draws) -> Body:
    """An octopus on the ground, its arms spread and curled up at their ends."""
    body = Body(len(t), gloss=t.gloss, soft=0.12)
    mantle, eye_size = t.mantle, t.eye_size
    head = vector(0.0, t.stand, 0.0)
    axis = heading(mantle, draws.number(-0.4, 0.4), draws.number(1.9, 2.6))
    size = (mantle, mantle * 0.72, mantle * 0.78)
    body.ball(head + scaled(axis, mantle * 0.85), size, axis, part="trunk", colour=t.coat, tip=t.crown)
    body.ball(head, (mantle * 0.55, mantle * 0.50, mantle * 0.58), part="head", colour=t.coat)
    for side in (-1.0, 1.0):
        socket = head + vector(mantle * 0.22, mantle * 0.30, mantle * 0.46 * side)
        body.ball(socket, (eye_size * 1.5,) * 3, part="head", colour=t.coat, soft=0.05)
        eye = socket + vector(eye_size * 0.3, eye_size * 0.45, eye_size * 0.8 * side)
        body.ball(eye, (eye_size * 0.95, eye_size * 0.75, eye_size * 0.7), colour=t.eye_ring, **EYEBALL)
        pupil = eye + vector(0.0, 0.0, eye_size * 0.35 * side)
        body.ball(pupil, (eye_size * 0.7, eye_size * 0.26, eye_size * 0.5), colour=t.eye, **EYEBALL)
    for i in range(ARMS):
        angle = TURN * (i + 0.5) / ARMS + draws.number(-0.15, 0.15)
        _arm(body, t, draws, head - scaled(UP, mantle * 0.15), angle, i in SUCKERED)
    return body


def _arm(body: Body, t: Traits, draws: Draws, root: Vector, angle: Number, suckers: bool) -> None:
    """One arm of an octopus: down and along the ground, then rolled up."""
    swerve, lift = draws.number(-0.9, 0.9), draws.number(-0.15, 0.40).clamp(min=0)
    curl, reach = draws.number(0.45, 1.3), t.arm * draws.number(0.85, 1.15)
    points, radii = [root], [t.arm_width]
    for length, slope, share, bend in ARM:
        spot = points[-1] + scaled(heading(swerve, angle + swerve * bend, (slope + lift) * curl), reach * length)
        x, y, z = spot.unbind(1)
        radii.append(t.arm_width * share)
        points.append(vector(x, torch.maximum(y, radii[-1] * 0.8), z))
    body.chain(points, radii, part="arm", colour=t.coat, tip=t.arm_tip, soft=0.08)
    if suckers:
        inward = heading(swerve, angle + swerve, 2.9)
        for j in (3, 4):
            place = mix(points[j], points[j + 1], 0.2) + scaled(inward, radii[j] * 0.70)
            body.ball(place, (radii[j] * 0.5,) * 3, part="arm", colour=t.sucker, **PAINTED)


def squid(t: Traits, draws: Draws) -> Body:
    """A squid that swims, fins at its pointed end, arms at the other; the origin is the edge of the mantle."""
    body = Body(len(t), gloss=t.gloss, soft=0.1)
    rise, turn = draws.number(-0.5, 0.5), draws.number(-0.2, 0.2)
    cosine, sine = cos_sin(draws.number(0.3, 0.9))
    ahead, above = heading(rise, turn, rise), heading(rise, turn, rise + TURN / 4)
    side = cross(ahead, above)
    above, side = scaled(above, cosine) + scaled(side, sine), scaled(side, cosine) - scaled(above, sine)
    length, girth, size = t.mantle, t.girth, t.eye_size
    points = [scaled(ahead, -length * share) for share in (0.0, 0.3, 0.65, 1.0)]
    body.chain(points, [girth * 0.98, girth, girth * 0.72, girth * 0.12], part="trunk", colour=t.coat)
    look = {"part": "head", "colour": t.coat, "soft": 0.03}
    body.bone(scaled(ahead, girth * 0.7), scaled(ahead, girth * 1.5), girth * 0.72, girth * 0.6, **look)
    look = {"part": "fin", "colour": t.coat, "tip": t.fin_colour, "belly": 0.3, "soft": 0.05}
    for sign in (-1.0, 1.0):
        tip = scaled(side, t.fin * sign) - scaled(ahead, length * 0.80)
        for place in (0.45, 0.63, 0.81, 0.99):
            root = scaled(ahead, -length * place)
            body.bone(root, mix(tip, root, 0.1), length * 0.10, 0.03, **look)
        eye = scaled(ahead, girth * 1.05) + scaled(side, girth * 0.62 * sign)
        body.ball(eye, (size, size, size * 0.7), ahead, above, colour=t.eye_ring, **EYEBALL)
        body.ball(eye + scaled(side, size * 0.35 * sign), (size * 0.55,) * 3, colour=t.eye, **EYEBALL)
    _squid_arms(body, t, draws, ahead, above, side)
    return body


def _squid_arms(body: Body, t: Traits, draws: Draws, ahead: Vector, above: Vector, side: Vector) -> None:
    """Eight arms around the mouth, and two long tentacles with clubs."""
    droop = draws.number(-0.35, 0.35)
    look = {"part": "arm", "tip": t.arm_tip}
    for i in range(ARMS + 2):
        club = i >= ARMS
        out = above * math.cos(TURN * (i + 0.3) / ARMS) + side * math.sin(TURN * (i + 0.3) / ARMS)
        reach = t.tentacle if club else t.arm * draws.number(0.85, 1.1)
        root = scaled(ahead, t.girth * 1.9) + scaled(out, t.girth * 0.38)
        middle = root + scaled(unit(ahead + out * 0.35), reach * 0.5)
        later = unit(ahead - scaled(out, draws.number(-0.5, 0.4)) + scaled(above, droop))
        tip = middle + scaled(later, reach * 0.5)
        thick, end = (t.arm_width * 0.6, 0.6) if club else (t.arm_width, 0.2)
        body.chain([root, middle, tip], [thick, thick * 0.8, thick * end], colour=t.coat, **look)
        if club:
            body.ball(tip, (reach * 0.14, thick * 1.5, thick * 1.5), later, colour=t.arm_tip, **look)
