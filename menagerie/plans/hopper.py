"""Kangaroos: upright on long hind feet, propped up by the tail, or in mid-leap."""

import torch

from menagerie.anatomy import Body, Number, Vector, frame, heading, mix, scaled, unit, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.primate import limb

TAIL = 7  # bones


def hopper(t: Traits, draws: Draws) -> Body:
    """A kangaroo, standing or leaping."""
    body = Body(len(t), gloss=t.gloss, soft=0.12)
    flat = torch.zeros(len(t))
    leaps = draws.number() < t.leaping
    rise = torch.where(leaps, draws.number(0.15, 0.55), draws.number(0.7, 1.25))
    spine = heading(flat, 0.0, rise)
    _, back, _ = frame(spine, vector(flat - 1.0, 0.3, 0.0))
    height = torch.where(leaps, t.leg_length * draws.number(0.75, 0.95), t.leg_length * 0.62)
    hip = vector(flat, height, flat)
    shoulder = hip + scaled(spine, t.trunk_length)
    look = {"part": "trunk", "colour": t.coat, "pattern": 0.0}
    body.ball(mix(hip, shoulder, 0.02), (t.rump * 1.2, t.rump, t.rump * 0.85), spine, back, **look)
    body.ball(mix(hip, shoulder, 0.42), (t.trunk_length * 0.5, t.rump * 0.78, t.rump * 0.72), spine, back, **look)
    body.ball(mix(hip, shoulder, 0.85), (t.chest * 1.25, t.chest, t.chest * 0.85), spine, back, **look)
    for side in (-1.0, 1.0):
        _leg(body, t, draws, hip, side, leaps)
        top = shoulder + vector(flat, flat, side * t.chest * 0.7) - scaled(back, t.chest * 0.3)
        goal = top + scaled(heading(flat, side * -0.2, draws.number(-1.3, -0.5)), t.arm_length)
        elbow, hand = limb(top, goal, t.arm_length * 0.5, t.arm_length * 0.55, -spine - vector(flat + 0.5, flat, flat))
        arm = {"part": "arm", "colour": t.coat, "pattern": 0.0, "belly": 0.3}
        body.bone(top, elbow, t.arm_thickness * 1.4, t.arm_thickness, **arm)
        body.bone(elbow, hand, t.arm_thickness, t.arm_thickness * 0.75, tip=t.paw, **arm)
    _tail(body, t, draws, hip - scaled(spine, t.rump * 0.7), leaps)
    nape = shoulder + scaled(spine, t.chest * 0.4)
    crown = nape + scaled(heading(flat, 0.0, (rise + 0.25).clamp(0.6, 1.4)), t.neck_length)
    body.bone(nape, crown, t.chest * 0.75, t.head * 0.75, part="neck", colour=t.coat, pattern=0.0)
    _head(body, t, crown, draws.number(-1.1, 1.1), draws.number(-0.45, -0.05), draws)
    return body


def _leg(body: Body, t: Traits, draws: Draws, hip: Vector, side: float, leaps: torch.Tensor) -> None:
    """Thigh forward, shank back, then the long foot: flat on the ground, or pushed out behind in a leap."""
    flat = torch.zeros(len(t))
    out = side * t.rump * 0.8
    top = hip + vector(flat, flat, out * 0.8)
    shift = draws.number(-0.06, 0.06)
    knee = top + scaled(heading(flat, side * 0.15, torch.where(leaps, -0.9, -0.45)), t.leg_length * 0.42)
    knee = vector(knee[:, 0], knee[:, 1], out * 1.1)
    heel = vector(hip[:, 0] - t.leg_length * 0.16 + shift, t.foot_thickness * 1.1, out)
    kick = knee + scaled(heading(flat, 3.1416, -0.75 + shift * 3), t.leg_length * 0.5)
    heel = torch.where(leaps[:, None], kick, heel)
    tilt = torch.where(leaps, draws.number(-1.5, -0.7), -0.02)
    toe = heel + scaled(heading(flat, 0.0, tilt), t.foot)
    leg = {"part": "leg", "pattern": 0.0, "belly": 0.4}
    body.bone(top, knee, t.thigh, t.thigh * 0.55, colour=t.coat, **leg)
    body.bone(knee, heel, t.thigh * 0.5, t.foot_thickness * 1.1, colour=t.coat, tip=t.leg, **leg)
    body.bone(heel, toe, t.foot_thickness, t.foot_thickness * 0.8, part="foot", colour=t.leg, tip=t.paw, pattern=0.0,
              belly=0.0)  # fmt: skip


def _tail(body: Body, t: Traits, draws: Draws, root: Vector, leaps: torch.Tensor) -> None:
    flat = torch.zeros(len(t))
    sway = 3.1416 + draws.number(-0.3, 0.3)
    droop, lift = torch.where(leaps, -0.25, -0.95), torch.where(leaps, 0.5, 1.15)
    points = [root]
    for i in range(TAIL):
        after = points[-1] + scaled(heading(flat, sway, droop + lift * (i / TAIL)), t.tail_length / TAIL)
        points.append(vector(after[:, 0], torch.maximum(after[:, 1], t.tail_thickness * 0.5), after[:, 2]))
    radii = [t.tail_thickness * (1 - 0.72 * i / TAIL) for i in range(TAIL + 1)]
    body.chain(points, radii, part="tail", colour=t.coat, tip=t.tail_tip, pattern=0.0, belly=0.5)


def _head(body: Body, t: Traits, crown: Vector, azimuth: Number, elevation: Number, draws: Draws) -> None:
    r = t.head
    face, up, side = frame(heading(r, azimuth, elevation), vector(torch.zeros_like(r), 1.0, 0.0))
    skull = crown + scaled(face, r * 0.35) + scaled(up, r * 0.1)
    look = {"pattern": 0.0, "belly": 0.0}
    body.ball(skull, (r * 1.1, r * 0.95, r * 0.8), face, up, part="head", colour=t.face, **look)
    nose = skull + scaled(face, r * 0.5 + t.snout_length) - scaled(up, r * 0.45)
    body.bone(skull + scaled(face, r * 0.35) - scaled(up, r * 0.15), nose, r * 0.62, t.snout_thickness, part="snout",
              colour=t.face, tip=t.muzzle, **look)  # fmt: skip
    tip = nose + scaled(face, t.snout_thickness * 0.75) + scaled(up, t.snout_thickness * 0.3)
    size = t.snout_thickness * 0.6
    body.ball(tip, (size, size, size * 1.1), face, up, part="snout", colour=t.nose_colour, soft=0.01, **look)
    for hand in (-1.0, 1.0):
        eye = skull + scaled(face, r * 0.55) + scaled(up, r * 0.35) + scaled(side, r * 0.60 * hand)
        body.ball(eye, (r * 0.17, r * 0.17, r * 0.17), face, up, part="eye", colour=t.eye, soft=0.0, gloss=0.8, **look)
        root = skull - scaled(face, r * 0.25) + scaled(up, r * 0.6) + scaled(side, r * 0.4 * hand)
        point = unit(up + scaled(side, hand * draws.number(0.2, 0.6)) - scaled(face, draws.number(-0.1, 0.3)))
        for colour, share, shift in ((t.coat, 1.0, 0.0), (t.inner_ear, 0.72, 0.12)):
            body.ball(root + scaled(point, t.ear * 0.5) + scaled(face, t.ear * 0.5 * shift),
                      (t.ear * 0.62 * share, t.ear * 0.10, t.ear * t.ear_width * share), point, face, part="ear",
                      colour=colour, soft=0.01, **look)  # fmt: skip
