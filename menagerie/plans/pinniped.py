"""Seals and walruses: on land with the head raised, or swimming."""

import torch

from menagerie.anatomy import QUARTER, Body, Vector, cross, heading, mix, scaled, unit, vector
from menagerie.draws import Draws, cos_sin
from menagerie.kinds import Traits
from menagerie.plans.marks import EYEBALL, PAINTED

# Joints of the trunk from the rump forward: x, radius over girth.
JOINTS = ((-0.95, 0.28), (-0.70, 0.55), (-0.35, 0.88), (0.05, 1.0), (0.38, 0.88))
WHISKERS = (-0.5, 0.0, 0.5)  # on each side, height on the pad
UP, LEFT = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])


def _trunk(body: Body, t: Traits, draws: Draws, swims: torch.Tensor) -> list[Vector]:
    """Rump to shoulder, the rear end lifted now and then; returns the joints."""
    lift = torch.where(swims, draws.number(-0.15, 0.15), draws.number(-0.1, 0.35).clamp(min=0))
    cosine, sine = cos_sin(torch.where(swims, draws.number(-0.35, 0.45), 0.0))
    sway = draws.number(-0.25, 0.25)
    points, radii = [], []
    for x, share in JOINTS:
        radius, rear, along = t.girth * share, max(0.0, -x - 0.3), x * t.trunk_length
        y = torch.where(swims, t.girth, radius) + lift * (2.2 * rear * rear)
        points.append(vector(along * cosine - y * sine, along * sine + y * cosine, sway * (x * x - 0.4)))
        radii.append(radius)
    look = {"part": "trunk", "colour": t.coat, "soft": 0.14}
    body.chain(points, radii, **look)
    size = (t.trunk_length * 0.62, t.girth * 0.96, t.girth * 1.10)
    body.ball(mix(points[2], points[3], 0.7), size, points[4] - points[1], **look)
    return points


def _face(body: Body, t: Traits, skull: Vector, face: Vector, up: Vector) -> None:
    """Skull, muzzle, nose and eyes."""
    head, snout = t.head, t.snout
    body.ball(skull, (head * 1.12, head * 0.95, head), face, up, part="head", colour=t.face, soft=0.08, pattern=0.5)
    muzzle = skull + scaled(face, head * 0.8 + snout * 0.5) - scaled(up, head * 0.22)
    look = {"part": "snout", "colour": t.muzzle, "soft": 0.06, "pattern": 0.0, "belly": 0.3}
    body.ball(muzzle, (snout, snout * 0.72, snout * 0.9), face, up, **look)
    nose = muzzle + scaled(face, snout * 0.74) + scaled(up, snout * 0.42)
    size = (snout * 0.26, snout * 0.24, snout * 0.38)
    body.ball(nose, size, face, up, part="snout", colour=t.nose_colour, gloss=0.5, **PAINTED)
    side = cross(face, up)
    for sign in (-1.0, 1.0):
        eye = skull + scaled(face, head * 0.70) + scaled(up, head * 0.30) + scaled(side, head * 0.62 * sign)
        body.ball(eye, (t.eye_size,) * 3, face, up, colour=t.eye, **EYEBALL)
        lip = muzzle + scaled(face, snout * 0.62) - scaled(up, snout * 0.14)
        _moustache(body, t, lip, face, up, side * sign)


def _moustache(body: Body, t: Traits, lip: Vector, face: Vector, up: Vector, across: Vector) -> None:
    """Whisker pad, whiskers and tusk of one side."""
    pad = lip + scaled(across, t.pad * 0.62) - scaled(face, t.pad * 0.30)
    look = {"part": "snout", "colour": t.pad_colour, "pattern": 0.0, "belly": 0.2, "soft": 0.02}
    body.ball(pad, (t.pad * 0.70, t.pad * 0.90, t.pad * 0.85), face, up, **look)
    for height in WHISKERS:
        root, out = pad + scaled(up, t.pad * height * 0.6), unit(face * 0.45 + across + up * (height * 0.5 - 0.25))
        body.bone(root, root + scaled(out, t.whisker), 0.008, 0.004, part="snout", colour=t.whisker_colour, **PAINTED)
    root = pad - scaled(up, t.pad * 0.3)
    bend = root + scaled(face * 0.06 - up * 0.55 + across * 0.02, t.tusk)
    tip = root + scaled(across * 0.10 - up - face * 0.02, t.tusk)
    thick = torch.where(t.tusk > 0.03, 0.048, -1.0)
    look = PAINTED | {"part": "horn", "gloss": 0.4}
    body.chain([root, bend, tip], [thick, thick * 0.85, 0.014], colour=t.tusk_colour, **look)


def _flippers(body: Body, t: Traits, draws: Draws, points: list[Vector], swims: torch.Tensor) -> None:
    """Fore flippers that prop or paddle, hind flippers that trail as a pair."""
    ahead, back = unit(points[4] - points[3]), unit(points[0] - points[1])
    look = {"part": "fin", "tip": t.flipper_colour, "pattern": 0.3, "belly": 0.0, "soft": 0.06}
    for sign in (-1.0, 1.0):
        across = LEFT * sign
        root = mix(points[3], points[4], 0.75) + scaled(across, t.girth * 0.72) - scaled(UP, t.girth * 0.35)
        paddle = across * 0.75 - ahead * 0.55 - scaled(UP, 0.35 + draws.number(-0.15, 0.25))
        prop = root + scaled(unit(across * 0.5 + ahead * 0.25), t.flipper * 0.75)
        prop = prop - scaled(UP, prop[:, 1] - 0.05)
        tip = torch.where(swims[:, None], root + scaled(unit(paddle), t.flipper), prop)
        body.bone(root, mix(root, tip, 0.7), t.flipper * 0.26, t.flipper * 0.17, colour=t.coat, **look)
        size = (t.flipper * 0.42, t.flipper * 0.08 + 0.02, t.flipper * 0.22)
        hand, out = mix(root, tip, 0.85), tip - root + scaled(ahead, t.flipper * 0.35)
        body.ball(hand, size, out, UP + across * 0.3, colour=t.flipper_colour, **look)
        out = unit(back + scaled(across, draws.number(0.12, 0.4)) + scaled(UP, draws.number(0.0, 0.3)))
        foot = points[0] + scaled(back, t.girth * 0.1) + scaled(out, t.hind * 0.55)
        body.ball(foot, (t.hind * 0.62, t.hind * 0.26, t.hind * 0.10), out, UP + across * 0.8, colour=t.coat, **look)


def pinniped(t: Traits, draws: Draws) -> Body:
    """A seal or walrus."""
    body = Body(len(t), gloss=t.gloss, soft=0.1)
    swims = draws.chance(0.3)
    points = _trunk(body, t, draws, swims)
    turn = draws.number(-0.5, 0.5)
    rise = torch.where(swims, draws.number(0.0, 0.4), draws.number(0.45, 1.05)) * t.neck_rise
    nape = points[4] + scaled(unit(points[4] - points[3]), t.girth * 0.2) + scaled(UP, t.girth * 0.18)
    crown = nape + scaled(heading(turn, turn * 0.4, rise), t.neck)
    body.bone(points[4], crown, t.girth * 0.82, t.head * t.neck_thickness, part="neck", colour=t.coat, soft=0.14)
    look = rise * 0.25 + draws.number(-0.20, 0.15)
    face, up = heading(turn, turn, look), heading(turn, turn, look + QUARTER)
    _face(body, t, crown + scaled(face, t.head * 0.35), face, up)
    _flippers(body, t, draws, points, swims)
    return body
