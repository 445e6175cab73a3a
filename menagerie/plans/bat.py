"""Bats, flying with their wings spread or hanging by their feet."""

import torch

from menagerie.anatomy import QUARTER, Body, Number, Vector, cross, frame, heading, mix, scaled, unit, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits

THIN = 0.012  # half the thickness of the membrane
# Points of a wing in units of the forearm, out from the shoulder and forward to the head: spread and folded.
ELBOW = ((0.55, -0.22), (0.30, -0.75))
WRIST = ((1.30, 0.42), (0.34, 0.22))
FINGERS = (
    ((2.35, 0.30), (0.62, -0.75)),
    ((2.10, -0.45), (0.56, -1.05)),
    ((1.50, -0.90), (0.44, -1.20)),
    ((0.80, -1.00), (0.28, -1.20)),
)
WEB = (0.34, 0.40, 0.44, 0.46)  # half widths of the membrane along each finger


def bat(t: Traits, draws: Draws) -> Body:
    """A bat seen flat, its wings in the plane of x and y: flying up and across, or hanging from a twig."""
    body = Body(len(t), gloss=t.gloss, soft=0.12)
    flat = torch.zeros(len(t))
    hangs = draws.number() < t.hanging
    fold = torch.where(hangs, draws.number(0.55, 0.95), draws.number(0.0, 0.30))
    course = torch.where(hangs, -QUARTER + draws.number(-0.15, 0.15), QUARTER + draws.number(-0.7, 0.7))
    belly = torch.where(draws.chance(0.5), 1.0, -1.0)  # whether the belly faces left or right in the image
    tilt = torch.where(hangs, 0.15, draws.number(-0.25, 0.45))
    ahead = unit(heading(flat, 0.0, course) + vector(flat, flat, belly * tilt))
    ahead, below, left = frame(ahead, vector(flat, flat, belly))
    shoulder, hip = scaled(ahead, t.body_length * 0.35), scaled(ahead, t.body_length * -0.45)
    body.ball(scaled(ahead, t.body_length * 0.12), (t.body_length * 0.48, t.girth, t.girth * 1.1), ahead, below,
              part="trunk", colour=t.coat, belly=0.0)  # fmt: skip
    body.ball(hip, (t.body_length * 0.40, t.girth * 0.75, t.girth * 0.8), ahead, below,
              part="trunk", colour=t.coat, belly=0.0)  # fmt: skip
    # The membrane between the legs.
    tail = hip - scaled(ahead, t.body_length * 0.25)
    web = t.body_length * (1 - fold) * 0.42
    body.skew(tail, scaled(ahead - left, web * 0.5), scaled(ahead + left, web * 0.5), scaled(below, THIN), part="wing",
              colour=t.membrane, pattern=0.0, belly=0.0, soft=0.03)  # fmt: skip
    beat = draws.number(-0.25, 0.6)  # wings raised towards the back or lowered
    for side in (-1.0, 1.0):
        out = unit(scaled(left, side) + scaled(below, torch.where(hangs, 0.45, -beat)))
        _wing(body, t, shoulder + scaled(left, t.girth * side * 0.5), out, ahead, fold, hip)
        _foot(body, t, hip, ahead, left, side, hangs)
    _head(body, t, shoulder, ahead, below, draws.number(0.35, 0.9))
    foot = hip - scaled(ahead, t.body_length * 0.75)
    twig = [foot + vector(flat + x, draws.number(-0.1, 0.1), flat) for x in (-0.9, 0.9)]
    body.bone(*twig, torch.where(hangs, 0.06, -1.0), 0.05, part=None, colour=t.branch, pattern=0.0, belly=0.0)
    return body


def _wing(body: Body, t: Traits, shoulder: Vector, out: Vector, ahead: Vector, fold: torch.Tensor, hip: Vector) -> None:
    arm = t.forearm

    def at(spread: tuple[float, float], folded: tuple[float, float]) -> Vector:
        x, y = (a + (b - a) * fold for a, b in zip(spread, folded, strict=True))
        return shoulder + scaled(out, x * arm) + scaled(ahead, y * arm)

    elbow, wrist = at(*ELBOW), at(*WRIST)
    tips = [at(*one) for one in FINGERS]
    web = {"part": "wing", "colour": t.membrane, "pattern": 0.0, "belly": 0.0, "soft": 0.03, "gloss": 0.15}
    normal = scaled(unit(cross(out, ahead)), THIN)
    narrow = 1 - 0.55 * fold
    for tip, half in zip(tips, WEB, strict=True):
        ray = tip - wrist
        across = scaled(unit(cross(ray, normal)), half * arm * narrow)
        # Kites along the fingers, whose points form the scalloped rim.
        u, v = scaled(ray, 0.25) + scaled(across, 0.5), scaled(ray, 0.25) - scaled(across, 0.5)
        body.skew(mix(wrist, tip, 0.5), u, v, normal, **web)
    # Between the flank and the fifth finger.
    last = tips[-1]
    side = mix(shoulder, hip, 0.95)
    body.skew((shoulder + wrist + last + side) * 0.25, (wrist + last - shoulder - side) * 0.25,
              (shoulder + wrist - side - last) * 0.25, normal, **web)  # fmt: skip
    limb = {"part": "wing", "pattern": 0.0, "belly": 0.0, "soft": 0.02}
    body.bone(shoulder, elbow, t.bone * 1.9, t.bone * 1.4, colour=t.coat, tip=t.finger, **limb)
    body.bone(elbow, wrist, t.bone * 1.5, t.bone * 1.2, colour=t.finger, **limb)
    for tip in tips:
        body.bone(wrist, tip, t.bone * 0.9, t.bone * 0.45, colour=t.finger, **limb)
    thumb = wrist + scaled(ahead, arm * 0.16)
    body.bone(wrist, thumb, t.bone * 0.9, t.bone * 0.5, colour=t.finger, **limb)


def _foot(body: Body, t: Traits, hip: Vector, ahead: Vector, left: Vector, side: float, hangs: torch.Tensor) -> None:
    spread = torch.where(hangs, 0.18, 0.55) * side
    end = hip - scaled(ahead, t.body_length * 0.72) + scaled(left, t.body_length * spread)
    body.bone(hip + scaled(left, t.girth * 0.4 * side), end, t.bone * 1.6, t.bone, part="leg", colour=t.coat,
              tip=t.finger, pattern=0.0, belly=0.0, soft=0.02)  # fmt: skip


def _head(body: Body, t: Traits, shoulder: Vector, ahead: Vector, below: Vector, bow: Number) -> None:
    r = t.head
    face, up, side = frame(ahead + scaled(below, bow), ahead - scaled(below, 1.0))
    skull = shoulder + scaled(ahead, t.girth * 0.8 + r * 0.45) + scaled(below, r * 0.2)

    def at(forward: Number, above: Number, across: Number = 0.0) -> Vector:
        return skull + scaled(face, r * forward) + scaled(up, r * above) + scaled(side, r * across)

    look = {"pattern": 0.0, "belly": 0.0}
    body.ball(skull, (r, r * 0.95, r), face, up, part="head", colour=t.coat, **look)
    snout = {"part": "snout", **look}
    body.bone(at(0.4, -0.2), at(0.6 + t.snout, -0.35), r * 0.6, r * t.snout_width, colour=t.coat, tip=t.face, **snout)
    leaf = t.nose_leaf * r
    body.ball(at(0.75 + t.snout, 0.05), (leaf * 0.35, leaf, leaf * 0.6), face, up, colour=t.face, soft=0.01, **snout)
    nose = r * 0.22
    tip = at(0.65 + t.snout + t.snout_width * 0.8, -0.28)
    body.ball(tip, (nose, nose, nose * 1.3), face, up, colour=t.nose_colour, soft=0.01, **snout)
    for hand in (-1.0, 1.0):
        eye = r * t.eye_size
        body.ball(at(0.75, 0.25, hand * 0.55), (eye, eye, eye), face, up, part="eye", colour=t.eye, soft=0.0,
                  gloss=0.8, **look)  # fmt: skip
        root = at(-0.05, 0.45, hand * 0.6)
        point = unit(up + scaled(side, hand * t.ear_splay) + scaled(face, 0.15))
        long = r * t.ear
        for colour, share, shift in ((t.ear_colour, 1.0, 0.0), (t.inner_ear, 0.72, 0.1)):
            centre = root + scaled(point, long * 0.8) + scaled(face, long * shift)
            size = (long * share, long * 0.14, long * t.ear_width * share)
            body.ball(centre, size, point, face, part="ear", colour=colour, soft=0.01, **look)
