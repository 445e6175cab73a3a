"""Animals without front and rear: starfishes and jellyfishes."""

import math

from menagerie.anatomy import Body, Vector, cross, heading, mix, scaled, unit, vector
from menagerie.draws import Draws, cos_sin
from menagerie.kinds import Traits

TURN = 2 * math.pi
ARMS = 5
ARM = ((0.42, 0.86), (0.36, 0.60), (0.30, None))  # length over its own, radius at the end; the last is the taper
KNOBS = ((0, 0.7), (1, 0.3), (1, 0.95), (2, 0.6))  # on an arm: joint, share of the way to the next
# Ellipsoids of a bell from the rim up: height and half height over its own, radius over its own.
BELL = ((0.0, 0.17, 0.98), (0.12, 0.30, 1.0), (0.25, 0.60, 0.97))
LAPPETS, ORGANS, TENTACLES, ORAL_ARMS = 12, 4, 9, 4


def starfish(t: Traits, draws: Draws) -> Body:
    """A starfish that leans towards the viewer, its arms a little bent."""
    body = Body(len(t), gloss=t.gloss, soft=0.12)
    lean, twist = draws.number(0.15, 0.75), draws.number(-0.3, 0.3)
    normal, top = heading(lean, TURN / 4, lean), heading(lean, TURN / 4, lean + TURN / 4)
    right = cross(top, normal)
    centre = vector(0.0, 0.0, 0.0 * lean)
    body.ball(centre, (t.disc, t.disc, t.disc * 0.62), top, right, part="trunk", colour=t.coat)
    look = {"part": "arm", "colour": t.knob_colour, "pattern": 0.0, "belly": 0.0, "soft": 0.01}
    for i in range(ARMS):
        angle, bend = twist + TURN * i / ARMS + draws.number(-0.10, 0.10), draws.number(-0.35, 0.35)
        points, radii = [centre], [t.arm_width]
        for reach, share in ARM:
            cosine, sine = cos_sin(angle)
            points.append(points[-1] + scaled(scaled(top, cosine) + scaled(right, sine), t.arm * reach))
            radii.append(t.arm_width * (t.taper if share is None else share))
            angle = angle + bend
        body.chain(points, radii, part="arm", colour=t.coat, tip=t.arm_tip)
        for j, share in KNOBS:
            for side in (1.0, -1.0):
                place = mix(points[j], points[j + 1], share) + scaled(normal, radii[j] * 0.93 * side)
                body.ball(place, (t.knob,) * 3, **look)
    return body


def _around(right: Vector, front: Vector, i: float, many: int) -> Vector:
    """Unit vector to the i-th of many places around the axis of a bell."""
    return right * math.cos(TURN * i / many) + front * math.sin(TURN * i / many)


def _bell(body: Body, t: Traits, draws: Draws) -> tuple[Vector, Vector, Vector, Vector]:
    """The bell, its lappets and the organs that shine through; returns its axes and the colour of its rim."""
    tint, pulse = draws.number(), draws.number(-0.12, 0.12)
    coat, rim, crown = (
        mix(t.coat, t.other, tint * 0.8),
        mix(t.rim, t.other, tint * 0.6),
        mix(t.crown, t.other, tint * 0.5),
    )
    wide, tall = t.bell * (1 - pulse), t.bell_height * (1 + pulse)
    top = unit(vector(draws.number(-0.45, 0.45), 1.0, draws.number(-0.25, 0.25)))
    right = unit(cross(top, heading(tint, TURN / 4, 0.0)))
    front = cross(top, right)
    for level, thick, radius in BELL:
        size, tip = (tall * thick, wide * radius, wide * radius), mix(coat, crown, level * 4)
        body.ball(scaled(top, tall * level), size, top, right, part="cap", colour=rim, tip=tip, soft=0.25)
    look = {"part": "cap", "pattern": 0.0, "belly": 0.0}
    for i in range(LAPPETS):
        out = _around(right, front, i, LAPPETS)
        place = scaled(out, wide * 0.90) - scaled(top, tall * 0.12)
        body.ball(place, (tall * 0.10, wide * 0.20, wide * 0.12), top, out, colour=rim, soft=0.05, **look)
    for i in range(ORGANS):
        out = _around(right, front, i + 0.5, ORGANS)
        place, size = scaled(out, wide * 0.40) + scaled(top, tall * 0.68), (t.organ, t.organ * 0.8, tall * 0.13)
        body.ball(place, size, out, cross(top, out), colour=mix(coat, t.organ_colour, 0.5), soft=0.15, **look)
    return top, right, front, rim


def jellyfish(t: Traits, draws: Draws) -> Body:
    """A jellyfish that pulses, its bell tilted, tentacles trailing."""
    body = Body(len(t), gloss=t.gloss, soft=0.12)
    top, right, front, rim = _bell(body, t, draws)
    below = unit(vector(draws.number(-0.35, 0.35), -1.0, draws.number(-0.2, 0.2)) - top * 0.8)
    look = {"part": "arm", "pattern": 0.0, "belly": 0.0}
    thick = t.tentacle_width
    for i in range(TENTACLES):
        out = _around(right, front, i + 0.3, TENTACLES)
        length = t.tentacle * draws.number(0.75, 1.15)
        points = [scaled(out, t.bell * 0.85) - scaled(top, t.bell_height * 0.12)]
        for share in (0.30, 0.37, 0.33):
            ahead = below + out * 0.10 + scaled(right, draws.number(-0.30, 0.30))
            points.append(points[-1] + scaled(ahead, length * share))
        radii = [thick, thick, thick * 0.8, thick * 0.4]
        body.chain(points, radii, colour=t.tentacle_colour, tip=t.tentacle_tip, soft=0.02, **look)
    thick = t.oral_width
    for i in range(ORAL_ARMS):
        out = _around(right, front, i + 0.2, ORAL_ARMS)
        points = [scaled(out, t.bell * 0.18)]
        for _ in range(3):
            ahead = below + scaled(out + right * 0.5, draws.number(-0.35, 0.35))
            points.append(points[-1] + scaled(ahead, t.oral / 3))
        radii = [thick, thick * 1.15, thick * 0.8, thick * 0.3]
        body.chain(points, radii, colour=t.organ_colour, tip=rim, soft=0.05, **look)
    return body
