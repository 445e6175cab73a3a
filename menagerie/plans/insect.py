"""Insects except butterflies: beetles and ladybirds, bees and ants, dragonflies, grasshoppers."""

import math

import torch

from menagerie.anatomy import QUARTER, Body, Number, Vector, mix, scaled, unit
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.stance import Stance, limb, stance

LEGS = (0.8, 1.6, 2.35)  # directions of a side's legs, from forward, radians
SPOTS = ((0.55, 0.35), (-0.02, 0.55), (-0.52, 0.36))  # of one wing case: ahead, across
STEP = 0.14  # variation of the directions of legs, radians


def _six_legs(
    body: Body, t: Traits, draws: Draws, pose: Stance, middle: Vector, height: Number, spacing: Number
) -> None:
    """Three pairs of legs under `middle`, which is `height` above the ground."""
    for side in (-1.0, 1.0):
        for i, azimuth in enumerate(LEGS):
            turn = (azimuth + draws.number(-STEP, STEP)) * side
            root = middle + scaled(pose.forward, spacing * (1 - i)) - scaled(pose.up, height * 0.3)
            reach = t.leg_length * (0.9, 0.9, 1.15)[i]
            knee = root + scaled(pose.way(turn, t.knee_rise), reach * 0.55)
            ankle = root + scaled(pose.way(turn * 1.04, 0.0), reach * 0.85) - scaled(pose.up, height * 0.55)
            foot = root + scaled(pose.way(turn * 1.06, 0.0), reach * 1.1) - scaled(pose.up, height * 0.7)
            thick = t.leg_thickness
            limb(body, (root, knee, ankle, foot), (thick, thick * 1.1, thick * 0.75, thick * 0.45), t.leg, t.leg,
                 pattern=0.0)  # fmt: skip


def _feelers(body: Body, t: Traits, draws: Draws, pose: Stance, root: Vector, spread: float, rise: float) -> None:
    """Two antennae with an elbow."""
    for side in (-1.0, 1.0):
        wide = spread + draws.number(-0.15, 0.15)
        elbow = root + scaled(pose.way(side * wide, rise + 0.3), t.feeler * 0.45)
        tip = elbow + scaled(pose.way(side * (wide + 0.25), rise - 0.3), t.feeler * 0.55)
        limb(body, (root, elbow, tip), (t.feeler_thickness,) * 3, t.leg, t.leg, part="horn", pattern=0.0)


def beetle(t: Traits, draws: Draws) -> Body:
    """A beetle on its six legs: wing cases, their seam, breast shield, head, jaws."""
    body = Body(len(t), gloss=t.gloss, soft=0.0)
    pose = stance(t.tilt * draws.number(0.8, 1.15), draws.number(-0.2, 1.4))
    height = t.stand + t.dome * 0.2
    back = pose.at(-t.case_length * 0.75, height, 0.0)
    size = (t.case_length, t.dome, t.case_width)
    body.ball(back, size, pose.forward, pose.up, part="wing", colour=t.coat, belly=0.0)
    shield = pose.at(t.shield_length * 0.45, height - t.dome * 0.02, 0.0)
    body.ball(shield, (t.shield_length, t.dome * 0.78, t.shield_width), pose.forward, pose.up, part="trunk",
              colour=t.shield, pattern=0.0, belly=0.0)  # fmt: skip
    skull = shield + pose.at(t.shield_length * 0.85 + t.head * 0.35, -t.dome * 0.15, 0.0)
    ridge = []
    for angle in (-1.25, -0.8, -0.35, 0.1, 0.5, 0.9):
        ridge.append(back + pose.at(t.case_length * 1.01 * math.sin(angle), t.dome * 1.01 * math.cos(angle), 0.0))
    body.chain(ridge, [t.seam_width] * 6, part="wing", colour=t.seam, pattern=0.0, belly=0.0)
    for ahead, across in SPOTS:
        for side in (-1.0, 1.0):
            _spot(body, t, pose, back, ahead, across * side, t.dot)
    _spot(body, t, pose, back, 0.82, 0.0, t.dot)
    for side in (-1.0, 1.0):
        cheek = shield + pose.at(t.shield_length * 0.35, t.dome * 0.3, side * t.shield_width * 0.68)
        body.ball(cheek, (t.shield_length * 0.42, t.dome * 0.32, torch.where(t.cheek > 0, t.shield_width * 0.26, 0.0)),
                  pose.forward, pose.up, part="trunk", colour=t.cheek_colour, pattern=0.0, belly=0.0)  # fmt: skip
    _beetle_head(body, t, pose, skull)
    _feelers(body, t, draws, pose, skull + pose.at(t.head * 0.4, 0.0, 0.0), 0.8, 0.15)
    _six_legs(body, t, draws, pose, pose.at(-t.case_length * 0.15, height, 0.0), height, t.case_length * 0.42)
    return body


def _beetle_head(body: Body, t: Traits, pose: Stance, skull: Vector) -> None:
    """Head, eyes and jaws; `skull` is the middle of the head."""
    body.ball(skull, (t.head, t.head * 0.7, t.head * t.head_width), pose.forward, pose.up, part="head", colour=t.face,
              pattern=0.0, belly=0.0)  # fmt: skip
    for side in (-1.0, 1.0):
        eye = skull + pose.at(t.head * 0.25, t.head * 0.25, side * t.head * t.head_width * 0.8)
        body.ball(eye, (t.head * 0.28,) * 3, part="eye", colour=t.eye, pattern=0.0, belly=0.0, gloss=0.8)
        jaw = skull + pose.at(t.head * 0.6, -t.head * 0.1, side * t.head * t.head_width * 0.45)
        out = jaw + scaled(pose.way(side * 0.65, 0.1), t.jaw * 0.5)
        hook = out + scaled(pose.way(-side * 0.45, 0.15), t.jaw * 0.55)
        thick = torch.where(t.jaw > 0, 0.022 + t.jaw * 0.09, -1.0)
        limb(body, (jaw, out, hook), (thick, thick * 0.9, thick * 0.45), t.jaw_colour, t.jaw_colour, part="horn",
             pattern=0.0)  # fmt: skip
        tooth = out + scaled(pose.way(-side * 1.3, 0.1), t.jaw * 0.18)
        body.bone(out, tooth, thick * 0.6, thick * 0.3, part="horn", colour=t.jaw_colour, pattern=0.0, belly=0.0)


def _spot(body: Body, t: Traits, pose: Stance, centre: Vector, ahead: float, across: float, radius: Number) -> None:
    """A dark spot on the wing cases."""
    up = math.sqrt(max(0.05, 1 - ahead * ahead - across * across))
    spot = centre + pose.at(t.case_length * ahead, t.dome * up, t.case_width * across)
    out = unit(pose.at(ahead / t.case_length, up / t.dome, across / t.case_width))
    size = (radius, radius * 0.25, radius)
    body.ball(spot, size, pose.forward, out, part="wing", colour=t.mark, pattern=0.0, belly=0.0)


def bee(t: Traits, draws: Draws) -> Body:
    """A bee or an ant: head, thorax and abdomen, joined by a waist, with or without wings."""
    body = Body(len(t), gloss=t.gloss, soft=0.02)
    pose = stance(t.tilt * draws.number(0.7, 1.2), draws.number(-0.2, 0.8))
    height = t.stand
    thorax = pose.at(0.0, height, 0.0)
    body.ball(thorax, (t.thorax_length, t.thorax_height, t.thorax_height * 0.95), pose.forward, pose.up, part="trunk",
              colour=t.thorax, pattern=0.0, belly=0.0)  # fmt: skip
    hang = t.droop + draws.number(-0.1, 0.15)
    tail, over = pose.way(3.1416, -hang), pose.way(0.0, QUARTER + hang)
    waist = thorax + scaled(pose.way(3.1416, -0.1), t.thorax_length * 0.8 + t.waist)
    body.bone(thorax, waist, t.thorax_height * 0.35, t.thorax_height * 0.25, part="trunk", colour=t.thorax, pattern=0.0,
              belly=0.0)  # fmt: skip
    knot = mix(thorax, waist, 0.85) + scaled(pose.up, t.thorax_height * 0.2)
    bead = torch.where(t.waist > 0.06, t.thorax_height * 0.45, 0.0)
    body.ball(knot, (bead,) * 3, pose.forward, pose.up, part="trunk", colour=t.thorax, pattern=0.0)  # fmt: skip
    gaster = waist + scaled(tail, t.abdomen_length * 0.85)
    body.ball(gaster, (t.abdomen_length, t.abdomen_height, t.abdomen_height), tail, over, part="tail", colour=t.coat,
              tip=t.abdomen_tip, belly=0.3, gloss=0.35)  # fmt: skip
    sting = gaster + scaled(tail, t.abdomen_length * 0.9)
    body.bone(sting, sting + scaled(tail, t.abdomen_length * 0.22), t.abdomen_height * 0.18, 0.01, part="tail",
              colour=t.abdomen_tip, pattern=0.0)  # fmt: skip
    face = pose.way(0.0, -0.3)
    skull = thorax + scaled(pose.way(0.0, -0.1), t.thorax_length * 0.95 + t.head * 0.7)
    body.ball(skull, (t.head * 0.8, t.head, t.head * 0.95), face, pose.up, part="head", colour=t.face, pattern=0.0,
              belly=0.0)  # fmt: skip
    for side in (-1.0, 1.0):
        eye = skull + pose.at(t.head * 0.2, t.head * 0.15, side * t.head * 0.68)
        body.ball(eye, (t.head * t.eye_share * 0.7, t.head * t.eye_share, t.head * t.eye_share * 0.7), face, pose.up,
                  part="eye", colour=t.eye, pattern=0.0, belly=0.0, soft=0.0, gloss=0.7)  # fmt: skip
        jaw = skull + pose.at(t.head * 0.5, -t.head * 0.55, side * t.head * 0.3)
        bite = jaw + pose.at(t.jaw, -t.jaw * 0.5, -side * t.jaw * 0.5)
        body.bone(jaw, bite, torch.where(t.jaw > 0, 0.03, -1.0), 0.012, part="horn", colour=t.leg, pattern=0.0,
                  belly=0.0)  # fmt: skip
        lift, sweep = t.wing_lift + draws.number(-0.15, 0.2), t.wing_sweep + draws.number(-0.2, 0.2)
        root = thorax + pose.at(-t.thorax_length * 0.1, t.thorax_height * 0.75, side * t.thorax_height * 0.35)
        for k, (turn, share) in enumerate(((0.0, 1.0), (0.38, 0.68))):
            _wing(body, t, pose, root - scaled(pose.forward, 0.1 * k), side * (sweep + turn), lift - 0.12 * k,
                  t.wing_length * share, t.wing_width * (1.0, 0.8)[k])  # fmt: skip
    _feelers(body, t, draws, pose, skull + scaled(face, t.head * 0.6) + scaled(pose.up, t.head * 0.3), 0.5, 0.5)
    _six_legs(body, t, draws, pose, thorax - scaled(pose.up, t.thorax_height * 0.3), height - t.thorax_height * 0.3,
              t.thorax_length * 0.5)  # fmt: skip
    return body


def _wing(
    body: Body, t: Traits, pose: Stance, root: Vector, azimuth: Number, lift: Number, length: Number, width: Number
) -> None:
    """One glassy wing with its dark front vein; without length, none."""
    way = pose.way(azimuth, lift)
    middle = root + scaled(way, length * 0.52)
    thin = torch.where(length > 0, 0.008, 0.0)
    body.ball(middle, (length * 0.5, thin, length * width), way, pose.up, part="wing", colour=t.vein, pattern=0.0,
              belly=0.0, soft=0.0, gloss=0.2)  # fmt: skip
    body.ball(middle, (length * 0.47, thin * 2, length * (width - 0.02)), way, pose.up, part="wing", colour=t.wing,
              pattern=0.0, belly=0.0, soft=0.0, gloss=0.2)  # fmt: skip
    body.bone(root, root + scaled(way, length * 0.8), torch.where(length > 0, 0.014, -1.0), 0.006, part="wing",
              colour=t.vein, pattern=0.0, belly=0.0, soft=0.0)  # fmt: skip


def dragonfly(t: Traits, draws: Draws) -> Body:
    """A dragonfly at rest, its four wings spread flat."""
    body = Body(len(t), gloss=t.gloss, soft=0.02)
    pose = stance(t.tilt * draws.number(0.8, 1.2), draws.number(0.1, 1.3))
    thorax = pose.at(0.0, t.stand, 0.0)
    body.ball(thorax, (t.thorax_length, t.thorax_height, t.thorax_height * 0.8), pose.forward, pose.up, part="trunk",
              colour=t.thorax, pattern=0.0)  # fmt: skip
    bend = draws.number(-0.08, 0.1)
    points = [thorax - scaled(pose.forward, t.thorax_length * 0.8)]
    for i in range(5):
        points.append(points[-1] - scaled(pose.way(0.0, bend * i), t.tail_length / 5))
    thick = t.tail_thickness
    body.chain(points, [thick * one for one in (1.15, 0.85, 0.9, 1.0, 1.0, 0.75)], part="tail", colour=t.coat,
               tip=t.tail_end, belly=0.0)  # fmt: skip
    skull = thorax + scaled(pose.forward, t.thorax_length + t.head * 0.6)
    body.ball(
        skull, (t.head * 0.75, t.head * 0.7, t.head), pose.forward, pose.up, part="head", colour=t.face, pattern=0.0
    )
    for side in (-1.0, 1.0):
        eye = skull + pose.at(t.head * 0.05, t.head * 0.2, side * t.head * 0.62)
        body.ball(eye, (t.head * 0.68,) * 3, part="eye", colour=t.eye, pattern=0.0, belly=0.0, soft=0.0, gloss=0.8)
        raised = t.wing_lift + draws.number(-0.1, 0.15)
        for ahead, share, wide in ((t.wing_sweep, 1.0, 1.0), (-t.wing_sweep, 0.95, 1.2)):
            root = thorax + pose.at(ahead * 0.4, t.thorax_height * 0.75, side * t.thorax_height * 0.3)
            azimuth = side * (QUARTER - ahead + draws.number(-0.06, 0.06))
            _wing(body, t, pose, root, azimuth, raised, t.wing_length * share, t.wing_width * wide)
            mark = root + scaled(pose.way(azimuth - side * 0.11, raised), t.wing_length * share * 0.84)
            body.ball(mark, (0.075, 0.022, 0.028), pose.way(azimuth, raised), pose.up, part="wing", colour=t.vein,
                      pattern=0.0, belly=0.0, soft=0.0)  # fmt: skip
    _six_legs(body, t, draws, pose, thorax, t.stand, t.thorax_length * 0.4)
    return body


def grasshopper(t: Traits, draws: Draws) -> Body:
    """A grasshopper from the side, its hind knees high above the back."""
    body = Body(len(t), gloss=t.gloss, soft=0.03)
    pose = stance(t.tilt * draws.number(0.5, 1.4), draws.number(-0.1, 0.4))
    height = t.stand
    front, end = pose.at(0.3, height + 0.08, 0.0), pose.at(-t.trunk_length, height - 0.08, 0.0)
    body.bone(front, end, t.girth, t.girth * 0.45, part="trunk", colour=t.coat)
    shield = pose.at(0.22, height + 0.1, 0.0)
    body.ball(shield, (0.26, t.girth * 1.2, t.girth * 1.08), pose.way(0.0, 0.08), pose.way(0.0, 1.65), part="trunk",
              colour=t.shield, soft=0.0)  # fmt: skip
    skull = pose.at(0.52, height + 0.1, 0.0)
    body.ball(skull, (t.head * 0.72, t.head * 1.25, t.head * 0.85), pose.way(0.0, 0.3), pose.way(0.0, 1.87),
              part="head", colour=t.coat)  # fmt: skip
    for side in (-1.0, 1.0):
        case = pose.at(-t.trunk_length * 0.5, height + t.girth * 0.75, side * t.girth * 0.45)
        body.ball(case, (t.trunk_length * 0.68, t.girth * 0.6, 0.05), pose.way(3.1416, 0.04), pose.up, part="wing",
                  colour=t.wing, pattern=1.0, belly=0.0)  # fmt: skip
        eye = skull + pose.at(t.head * 0.1, t.head * 0.5, side * t.head * 0.7)
        body.ball(eye, (t.head * 0.32, t.head * 0.42, t.head * 0.28), part="eye", colour=t.eye, soft=0.0, gloss=0.8)
        swing = draws.number(-0.1, 0.1)
        hip = pose.at(-0.05, height - t.girth * 0.2, side * t.girth * 0.9)
        knee = hip + pose.at(-t.leg_length * (0.62 + swing), t.leg_length * 0.62, side * 0.08)
        foot = pose.at(-t.leg_length * (0.95 + swing), 0.02, side * (t.girth + 0.16))
        body.bone(hip, mix(hip, knee, 0.5), t.thigh * 0.8, t.thigh, part="leg", colour=t.leg, soft=0.02)
        body.bone(mix(hip, knee, 0.5), knee, t.thigh, t.thigh * 0.4, part="leg", colour=t.leg, tip=t.knee, soft=0.02)
        body.bone(knee, foot, t.leg_thickness * 1.1, t.leg_thickness * 0.8, part="leg", colour=t.leg, soft=0.0)
        body.bone(
            foot, foot + pose.at(0.14, 0.0, 0.0), t.leg_thickness, t.leg_thickness * 0.6, part="foot", colour=t.leg
        )
        for ahead in (0.12, 0.38):
            step = draws.number(-0.06, 0.06)
            root = pose.at(ahead, height - t.girth * 0.4, side * t.girth * 0.6)
            bent = pose.at(ahead + 0.1 + step, height * 0.75, side * (t.girth + 0.2))
            toe = pose.at(ahead + 0.12 + step, 0.02, side * (t.girth + 0.26))
            limb(body, (root, bent, toe), (t.leg_thickness * 1.2, t.leg_thickness, t.leg_thickness * 0.7), t.leg, t.leg)
    _feelers(body, t, draws, pose, skull + pose.at(t.head * 0.4, t.head * 0.8, 0.0), 0.35, 0.6)
    return body
