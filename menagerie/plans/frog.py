"""Frogs and toads."""

from menagerie.anatomy import QUARTER, Body, Number, Vector, mix, scaled
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.stance import Stance, eyeball, limb, stance, toes

WARTS = ((-0.75, 0.5), (-0.5, -0.6), (-0.3, 0.15), (-0.1, 0.7), (0.05, -0.25), (0.3, 0.5), (0.4, -0.6), (-0.05, -0.75),
         (-0.6, -0.1), (0.25, 0.05), (-0.4, 0.8), (0.6, 0.25))  # fmt: skip


def frog(t: Traits, draws: Draws) -> Body:
    """A sitting frog or toad, its hind legs folded beside the body."""
    body = Body(len(t), gloss=t.gloss, soft=0.07)
    pose = stance(t.tilt * draws.number(0.5, 1.5))
    rise = t.back_slope + draws.number(-0.1, 0.12)
    along, over = pose.way(0.0, rise), pose.way(0.0, rise + QUARTER)
    middle = pose.at(-0.12, 0.1 + t.trunk_height, 0.0)
    trunk = (t.trunk_length, t.trunk_height, t.trunk_width)
    body.ball(middle, trunk, along, over, part="trunk", colour=t.coat)
    body.ball(middle - scaled(over, t.trunk_height * 0.25), (t.trunk_length * 0.8, t.trunk_height * 0.85,
              t.trunk_width * 1.02), along, over, part="trunk", colour=t.coat, tip=t.coat)  # fmt: skip
    for side in (-1.0, 1.0):
        fold = [middle + scaled(along, t.trunk_length * x) + scaled(over, t.trunk_height * y)
                + scaled(pose.side, side * t.trunk_width * z) for x, y, z in
                ((-0.75, 0.62, 0.32), (-0.1, 0.93, 0.42), (0.6, 0.8, 0.5))]  # fmt: skip
        body.chain(fold, [t.back_fold] * 3, part="trunk", colour=t.fold, pattern=0.0, belly=0.0, soft=0.02)
    for x, z in WARTS:
        height = (1 - x * x * 0.9 - z * z * 0.9) ** 0.5 if x * x + z * z < 1.1 else 0.1
        spot = middle + scaled(along, t.trunk_length * x) + scaled(over, t.trunk_height * height)
        spot = spot + scaled(pose.side, t.trunk_width * z)
        body.ball(spot, (t.wart,) * 3, part="trunk", colour=t.fold, belly=0.0, soft=0.02)
    _head(body, t, pose, middle + scaled(along, t.trunk_length * 0.72) + scaled(over, t.trunk_height * 0.3), rise)
    _legs(body, t, draws, pose, middle, along)
    return body


def _head(body: Body, t: Traits, pose: Stance, skull: Vector, rise: Number) -> None:
    """Skull, jaw, mouth, nostrils, ear drums and bulging eyes; `skull` is its centre."""
    level = rise * 0.35
    face, up = pose.way(0.0, level), pose.way(0.0, level + QUARTER)
    centre = skull + scaled(face, t.head_length * 0.45)
    size = (t.head_length, t.head_height, t.head_width)
    body.ball(centre, size, face, up, part="head", colour=t.coat, belly=0.0)
    jaw = centre - scaled(up, t.head_height * 0.45)
    body.ball(jaw, (t.head_length * 0.95, t.head_height * 0.62, t.head_width * 0.95), face, up, part="head",
              colour=t.throat, pattern=0.0, soft=0.03)  # fmt: skip
    lips = centre - scaled(up, t.head_height * 0.3)
    body.ball(lips, (t.head_length * 1.0, t.head_height * 0.07, t.head_width * 1.0), face, up, part="head",
              colour=t.mouth, pattern=0.0, belly=0.0, soft=0.0)  # fmt: skip
    for side in (-1.0, 1.0):
        flank = scaled(pose.side, side)
        socket = centre + scaled(up, t.head_height * 0.72) + scaled(flank, t.head_width * 0.6)
        socket = socket - scaled(face, t.head_length * 0.02)
        lid = t.eye_size * 1.15
        body.ball(socket - scaled(up, t.eye_size * 0.3), (lid * 1.2, lid, lid), face, up, part="head", colour=t.coat,
                  pattern=0.3, belly=0.0)  # fmt: skip
        gaze = scaled(flank, 0.86) + scaled(face, 0.35) + scaled(up, 0.3)
        eyeball(body, socket + scaled(up, t.eye_size * 0.25) + scaled(flank, t.eye_size * 0.3), t.eye_size, gaze,
                t.iris, t.eye)  # fmt: skip
        drum = centre - scaled(face, t.head_length * 0.62) + scaled(flank, t.head_width * 0.83)
        body.ball(drum + scaled(up, t.head_height * 0.05), (t.eye_size * 0.75, t.eye_size * 0.75, t.eye_size * 0.4),
                  face, up, part="head", colour=t.drum, pattern=0.0, belly=0.0, soft=0.0)  # fmt: skip
        nostril = centre + scaled(face, t.head_length * 0.85) + scaled(up, t.head_height * 0.38)
        body.ball(nostril + scaled(flank, t.head_width * 0.2), (t.eye_size * 0.16,) * 3, part="snout", colour=t.mouth,
                  pattern=0.0, belly=0.0, soft=0.0)  # fmt: skip


def _legs(body: Body, t: Traits, draws: Draws, pose: Stance, middle: Vector, along: Vector) -> None:
    """Two folded hind legs and two props in front."""
    thick = t.leg_thickness
    for side in (-1.0, 1.0):
        flank = scaled(pose.side, side)
        slip = draws.number(-0.06, 0.06)
        hip = middle - scaled(along, t.trunk_length * 0.62) + scaled(flank, t.trunk_width * 0.55)
        knee = pose.at(0.02 + slip, 0.1 + t.leg_length * 0.5, side * (t.trunk_width + thick * 0.9))
        ankle = pose.at(-0.5 + slip, thick * 0.75, side * (t.trunk_width + thick * 1.4))
        heel = pose.at(-0.5 + slip + t.leg_length * 0.75, thick * 0.35, side * (t.trunk_width + thick * 2.2))
        limb(body, (hip, knee), (thick * 2.0, thick * 1.35), t.coat, t.coat, soft=0.05, along=(0.0,))
        limb(body, (knee, ankle), (thick * 1.25, thick * 0.75), t.coat, t.coat, soft=0.02)
        limb(body, (ankle, heel), (thick * 0.7, thick * 0.5), t.coat, t.toe_colour, soft=0.03)
        toes(body, heel, pose, -side * 0.2, t.toe_length * 1.3, thick * 0.32, t.toe_pad, t.toe_colour)
        shoulder = middle + scaled(along, t.trunk_length * 0.5) + scaled(flank, t.trunk_width * 0.62)
        reach = draws.number(-0.06, 0.1)
        elbow = pose.at(0.2 + reach * 0.3, 0.3, side * (t.trunk_width + thick * 0.5))
        hand = pose.at(0.38 + reach, thick * 0.4, side * (t.trunk_width * 0.95))
        limb(body, (mix(shoulder, elbow, 0.2), elbow, hand), (thick * 1.1, thick * 0.8, thick * 0.6), t.coat, t.coat,
             soft=0.05)  # fmt: skip
        toes(body, hand, pose, side * -0.1, t.toe_length, thick * 0.32, t.toe_pad, t.toe_colour)
