"""Crabs and lobsters."""

import torch

from menagerie.anatomy import QUARTER, Body, Vector, cross, heading, mix, scaled, unit, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.marks import EYEBALL, PAINTED

LEGS = 4  # on each side
SEGMENTS = 5  # of the tail of a lobster
UP = torch.tensor([[0.0, 1.0, 0.0]])


def _grounded(point: Vector) -> Vector:
    """Project a point onto the ground."""
    return point - scaled(UP, point[:, 1] - 0.02)


def _claw(body: Body, t: Traits, joints: list[Vector], ahead: Vector, inward: Vector) -> None:
    """An arm from shoulder over elbow to wrist, and its pincer, which opens towards `inward`."""
    size = t.claw
    body.chain(joints, [size * 0.26, size * 0.30, size * 0.34], part="arm", colour=t.coat, soft=0.03)
    palm = joints[-1] + scaled(ahead, size * 0.55)
    look = {"part": "arm", "colour": t.coat, "tip": t.claw_colour, "soft": 0.03}
    body.ball(palm, (size * 0.75, size * 0.52, size * 0.36), ahead, inward, **look)
    look = {"part": "arm", "colour": t.claw_colour, "tip": t.claw_tip, "pattern": 0.3, "belly": 0.0, "soft": 0.01}
    for side, length, thick in ((-1.0, 1.05, 0.30), (1.0, 0.85, 0.22)):
        start = palm + scaled(ahead, size * 0.35) + scaled(inward, size * 0.24 * side)
        bend = start + scaled(unit(ahead + inward * (side * 0.55)), size * length * 0.5)
        tip = bend + scaled(unit(ahead - inward * (side * 0.45)), size * length * 0.55)
        body.chain([start, bend, tip], [size * thick, size * thick * 0.85, size * 0.06], **look)


def _eyes(body: Body, t: Traits, place: Vector, ahead: Vector, side: Vector) -> None:
    """Eyes on stalks, and feelers."""
    thin = torch.where(t.feeler > 0.02, 0.022, -1.0)
    for sign in (-1.0, 1.0):
        across = side * sign
        root = place + scaled(across, t.eye_gap)
        top = root + scaled(unit(ahead * 0.5 + across * 0.25 + UP), t.stalk)
        body.bone(root, top, t.eye_size * 0.55, t.eye_size * 0.5, part="head", colour=t.coat, soft=0.01)
        body.ball(top, (t.eye_size,) * 3, colour=t.eye, **EYEBALL)
        bend = root + scaled(unit(ahead + across * 0.35 + UP * 0.7), t.feeler * 0.5)
        tip = bend + scaled(unit(across * 0.55 - ahead * 0.3 + UP * 0.5), t.feeler * 0.5)
        body.chain([root, bend, tip], [thin, thin, 0.008], part="horn", colour=t.coat, tip=t.leg_tip, **PAINTED)


def crab(t: Traits, draws: Draws) -> Body:
    """A crab, which walks sideways: its width is along x, its face points to the left (z)."""
    body = Body(len(t), gloss=t.gloss, soft=0.06)
    lean = draws.number(0.05, 0.35)
    above, ahead = heading(lean, QUARTER, QUARTER - lean), heading(lean, QUARTER, -lean)
    side = cross(above, ahead)
    width, height, depth = t.shell_width, t.shell_height, t.shell_depth
    centre = vector(0.0, t.stand, 0.0)
    body.ball(centre, (width, height, depth), side, above, part="shell", colour=t.coat)
    front, size = centre + scaled(ahead, depth * 0.25), (width * 0.80, height * 0.95, depth * 0.9)
    body.ball(front, size, side, above, part="shell", colour=t.coat)
    _eyes(body, t, centre + scaled(ahead, depth * 0.85) + scaled(above, height * 0.55), ahead, side)
    for sign in (-1.0, 1.0):
        outward = side * sign
        for i in range(LEGS):
            _crab_leg(body, t, draws, i, centre, outward, ahead)
        raised = draws.number(0.5, 1.4)
        shoulder = centre + scaled(outward, width * 0.72) + scaled(ahead, depth * 0.6)
        elbow = shoulder + scaled(unit(outward + ahead * 0.25 + UP * 0.35), t.claw * 1.2)
        wrist = elbow + scaled(unit(outward * 0.25 + ahead * 0.2 + scaled(UP, raised)), t.claw * 0.9)
        point = unit(scaled(UP, raised) - outward * 0.65 + ahead * 0.2)
        _claw(body, t, [shoulder, elbow, wrist], point, unit(cross(cross(point, -outward), point)))
    return body


def _crab_leg(body: Body, t: Traits, draws: Draws, i: int, centre: Vector, outward: Vector, ahead: Vector) -> None:
    """The i-th leg of one side, counted from the front."""
    forward, reach = 0.55 - i * 0.42, t.leg_length * (1.0 - 0.08 * i)
    root = centre + scaled(outward, t.shell_width * (0.80 - 0.06 * i)) + scaled(ahead, t.shell_depth * (0.8 * forward))
    out = unit(outward + scaled(ahead, forward * 0.5 + draws.number(-0.12, 0.12)))
    knee = root + scaled(out, reach * 0.50) + scaled(UP, reach * (0.30 + 0.05 * i))
    foot = _grounded(root + scaled(out, reach * 0.95))
    shin = mix(knee, foot, 0.5) + scaled(out, reach * 0.08)
    body.bone(root, knee, t.leg_width * 0.9, t.leg_width, part="leg", colour=t.coat, soft=0.03)
    radii = [t.leg_width, t.leg_width * 0.7, 0.015]
    body.chain([knee, shin, foot], radii, part="leg", colour=t.coat, tip=t.leg_tip)


def lobster(t: Traits, draws: Draws) -> Body:
    """A lobster: claws in front, a segmented tail behind."""
    body = Body(len(t), gloss=t.gloss, soft=0.03)
    width, height, depth = t.shell_width, t.shell_height, t.shell_depth
    ahead, side = heading(width, 0.0, 0.06), heading(width, QUARTER, 0.0)
    centre = vector(0.1, t.stand, 0.0)
    body.ball(centre, (depth, height, width), ahead, part="shell", colour=t.coat)
    beak = centre + scaled(ahead, depth * 1.15) + UP * 0.06
    body.bone(centre, beak, height * 0.8, 0.03, part="head", colour=t.coat, soft=0.06)
    _eyes(body, t, centre + scaled(ahead, depth * 0.72) + scaled(UP, height * 0.45), ahead, side)
    _lobster_tail(body, t, draws, centre - scaled(ahead, depth * 0.75), side)
    for sign in (-1.0, 1.0):
        outward = side * sign
        for i in range(LEGS):
            root = centre + scaled(outward, width * 0.7) + scaled(ahead, depth * (0.45 - 0.28 * i))
            out = unit(outward + scaled(ahead, 0.45 - 0.3 * i + draws.number(-0.2, 0.2)))
            joints = [
                root,
                root + scaled(out, t.leg_length * 0.45) + UP * 0.10,
                _grounded(root + scaled(out, t.leg_length * 0.85)),
            ]
            radii = [t.leg_width, t.leg_width * 0.85, 0.015]
            body.chain(joints, radii, part="leg", colour=t.coat, tip=t.leg_tip)
        spread, lift = draws.number(0.25, 0.75), draws.number(0.10, 0.65)
        shoulder = centre + scaled(outward, width * 0.6) + scaled(ahead, depth * 0.65)
        elbow = shoulder + scaled(unit(ahead + scaled(outward, spread + 0.5)), t.claw * 0.9)
        wrist = elbow + scaled(unit(ahead + scaled(outward, spread * 0.6) + scaled(UP, lift)), t.claw * 0.7)
        point = unit(ahead - outward * 0.12 + scaled(UP, lift))
        _claw(body, t, [shoulder, elbow, wrist], point, unit(cross(cross(point, unit(UP - outward)), point)))
    return body


def _lobster_tail(body: Body, t: Traits, draws: Draws, place: Vector, side: Vector) -> None:
    """Segments that overlap, and the fan at the end."""
    bend, curl = draws.number(-0.5, 0.5), draws.number(-0.1, 0.25)
    back = -heading(bend, 0.0, 0.0)
    look = {"part": "tail", "colour": t.coat}
    for i in range(SEGMENTS):
        share = 1 - 0.11 * i
        back = -heading(bend, bend * (0.2 * i), curl * (0.5 * i))
        body.ball(place, (0.13, t.shell_height * 0.88 * share, t.shell_width * 0.95 * share), -back, **look)
        place = place + back * 0.145
    for lean in (-0.8, -0.4, 0.0, 0.4, 0.8):
        out = unit(back + side * lean)
        body.ball(place + out * 0.10, (0.20, 0.03, 0.085), out, tip=t.claw_colour, **look)
