"""Spiders and scorpions."""

import math

import torch

from menagerie.anatomy import Body, scaled, unit
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.stance import Stance, limb, stance

LEGS = (0.55, 1.15, 1.95, 2.6)  # directions of a side's legs, from forward, radians
CROSS = ((0.75, 0.0), (0.5, 0.0), (0.25, 0.0), (0.0, 0.0), (-0.3, 0.0), (0.4, 0.34), (0.4, -0.34), (0.0, 0.3),
         (0.0, -0.3), (-0.4, 0.22), (-0.4, -0.22))  # of the back: ahead, across  # fmt: skip


def spider(t: Traits, draws: Draws) -> Body:
    """A spider on its eight legs, seen from above."""
    body = Body(len(t), gloss=t.gloss, soft=0.03)
    pose = stance(t.tilt * draws.number(0.8, 1.15), draws.number(-0.3, 1.6))
    height = t.stand
    front = pose.at(t.chest_length * 0.9, height, 0.0)
    body.ball(front, (t.chest_length, t.chest_length * 0.6, t.chest_length * 0.85), pose.forward, pose.up, part="head",
              colour=t.chest_colour, belly=0.0, pattern=0.3)  # fmt: skip
    back = pose.at(-t.abdomen_length * 0.85, height + t.abdomen_height * 0.35, 0.0)
    size = (t.abdomen_length, t.abdomen_height, t.abdomen_width)
    body.ball(back, size, pose.forward, pose.up, part="trunk", colour=t.coat, belly=0.0)
    _cross_marks(body, t, pose, back)
    for side in (-1.0, 1.0):
        for i, azimuth in enumerate(LEGS):
            _leg(body, t, draws, pose, azimuth, side, t.leg_length * (1.0, 0.92, 0.8, 1.0)[i])
        feeler = pose.at(t.chest_length * 1.7, height, side * t.chest_length * 0.35)
        bent = feeler + pose.at(t.feeler * 0.7, t.feeler * 0.25, side * t.feeler * 0.4)
        tip = bent + pose.at(t.feeler * 0.7, -t.feeler * 0.35, -side * t.feeler * 0.2)
        limb(body, (feeler, bent, tip), [t.leg_thickness * 0.8] * 3, t.leg, t.leg)
        fang = pose.at(t.chest_length * 1.75, height - 0.02, side * t.chest_length * 0.2)
        body.bone(fang, fang + pose.at(t.chest_length * 0.35, -t.chest_length * 0.35, 0.0), t.chest_length * 0.22,
                  t.chest_length * 0.1, part="snout", colour=t.chest_colour, pattern=0.0, belly=0.0)  # fmt: skip
        eye = pose.at(t.chest_length * 1.6, height + t.chest_length * 0.42, side * t.chest_length * 0.18)
        body.ball(
            eye, (t.chest_length * 0.13,) * 3, part="eye", colour=t.eye, pattern=0.0, belly=0.0, soft=0.0, gloss=0.9
        )
    return body


def _cross_marks(body: Body, t: Traits, pose: Stance, centre: torch.Tensor) -> None:
    """The pale cross of dots on a garden spider's back."""
    for ahead, across in CROSS:
        up = math.sqrt(1 - ahead * ahead - across * across)
        spot = centre + pose.at(t.abdomen_length * ahead, t.abdomen_height * up, t.abdomen_width * across)
        out = unit(pose.at(ahead / t.abdomen_length, up / t.abdomen_height, across / t.abdomen_width))
        body.ball(spot, (t.dot * 1.3, t.dot * 0.3, t.dot), pose.forward, out, part="trunk", colour=t.dot_colour,
                  pattern=0.0, belly=0.0, soft=0.0)  # fmt: skip


def _leg(body: Body, t: Traits, draws: Draws, pose: Stance, azimuth: float, side: float, length: torch.Tensor) -> None:
    """One leg: up to the knee, down to the ankle, out to the foot; every second bone is banded."""
    turn = (azimuth + draws.number(-0.16, 0.16)) * side
    root = pose.at(t.chest_length * 0.9, t.stand, 0.0) + scaled(pose.way(turn, 0.0), t.chest_length * 0.7)
    knee = root + scaled(pose.way(turn, t.knee_rise), length * 0.42)
    ankle = root + scaled(pose.way(turn * 0.98, 0.0), length * 0.75) + scaled(pose.up, t.stand * 0.1)
    foot = root + scaled(pose.way(turn * 0.94, 0.0), length) - scaled(pose.up, t.stand)
    thick = t.leg_thickness
    body.bone(root, knee, thick, thick * 1.05, part="leg", colour=t.leg, tip=t.joint, pattern=0.0, belly=0.0)
    body.bone(knee, ankle, thick * 0.95, thick * 0.75, part="leg", colour=t.leg, tip=t.joint, pattern=0.0, belly=0.0)
    body.bone(ankle, foot, thick * 0.7, thick * t.foot, part="foot", colour=t.leg, tip=t.joint, pattern=0.0, belly=0.0)


RINGS, TAIL = 6, 6


def scorpion(t: Traits, draws: Draws) -> Body:
    """A scorpion with open pincers and its tail curled over its back."""
    body = Body(len(t), gloss=t.gloss, soft=0.015)
    pose = stance(t.tilt * draws.number(0.75, 1.25), draws.number(-0.2, 0.35))
    height = t.stand
    front = pose.at(t.chest_length, height, 0.0)
    body.ball(
        front, (t.chest_length, t.girth * 0.75, t.girth * 0.95), pose.forward, pose.up, part="head", colour=t.coat
    )
    step = t.trunk_length / RINGS
    for i in range(RINGS):
        ring = pose.at(-step * (i + 0.2), height + 0.02, 0.0)
        wide = t.girth * (1.0, 1.15, 1.2, 1.15, 1.0, 0.8)[i]
        body.ball(ring, (step * 0.85, wide * 0.72, wide), pose.way(0.0, 0.25), pose.way(0.0, 1.82), part="trunk",
                  colour=t.coat, tip=t.joint, soft=0.0)  # fmt: skip
    _sting(body, t, draws, pose)
    for side in (-1.0, 1.0):
        _pincer(body, t, draws, pose, side)
        for i, azimuth in enumerate((0.85, 1.3, 1.8, 2.3)):
            turn, thick = (azimuth + draws.number(-0.1, 0.1)) * side, t.leg_thickness
            root = pose.at(t.chest_length * (1.2 - 0.5 * i), height, side * t.girth * 0.6)
            knee = root + scaled(pose.way(turn, 0.55), t.leg_length * 0.5)
            foot = root + scaled(pose.way(turn, 0.0), t.leg_length * (0.9 + 0.06 * i)) - scaled(pose.up, height)
            limb(body, (root, knee, foot), (thick * 1.2, thick, thick * 0.4), t.leg, t.leg)
        eye = front + pose.at(t.chest_length * 0.3, t.girth * 0.68, side * t.girth * 0.14)
        body.ball(eye, (t.girth * 0.12,) * 3, part="eye", colour=t.eye, soft=0.0, gloss=0.9)
    return body


def _sting(body: Body, t: Traits, draws: Draws, pose: Stance) -> None:
    """The tail, curled up and forward, with its bulb and barb."""
    joint, thick = pose.at(-t.trunk_length, t.stand, 0.0), t.tail_thickness
    curl, sway = draws.number(0.9, 1.1), draws.number(-0.12, 0.12)
    bone = t.tail_length / TAIL
    for i in range(TAIL):
        angle = 2.85 - curl * 0.58 * i
        far = joint + scaled(pose.way(sway * (i + 1), angle), bone)
        body.bone(joint, far, thick * 0.85, thick, part="tail", colour=t.joint, tip=t.coat, soft=0.01)
        joint, last = far, angle
    bulb = (thick * 1.4, thick * 1.15, thick * 1.1)
    body.ball(joint, bulb, pose.way(0.0, last - 0.5), pose.way(0.0, last + 1.07), part="tail", colour=t.coat)
    barb = joint + scaled(pose.way(0.0, last - 0.6), thick * 2.0)
    body.bone(joint, barb, thick * 0.6, thick * 0.3, part="tail", colour=t.coat, tip=t.claw_colour, soft=0.0)
    hook = barb + scaled(pose.way(0.0, last - 1.6), thick * 1.6)
    body.bone(barb, hook, thick * 0.3, 0.008, part="tail", colour=t.claw_colour, soft=0.0)


def _pincer(body: Body, t: Traits, draws: Draws, pose: Stance, side: float) -> None:
    """Arm, hand and two fingers."""
    spread = draws.number(-0.2, 0.2)
    shoulder = pose.at(t.chest_length * 1.7, t.stand, side * t.girth * 0.5)
    elbow = shoulder + scaled(pose.way(side * (1.0 + spread), 0.3), t.arm_length * 0.5)
    wrist = elbow + scaled(pose.way(side * (0.1 + spread), -0.05), t.arm_length * 0.45)
    thick = t.leg_thickness
    limb(body, (shoulder, elbow, wrist), (thick * 1.2, thick * 1.6, thick * 1.4), t.leg, t.coat, part="arm")
    ahead, over = pose.way(side * (-0.1 + spread), 0.05), pose.way(side * (-0.1 + spread), 1.62)
    palm = wrist + scaled(ahead, t.claw_length * 0.55)
    body.ball(palm, (t.claw_length * 0.62, t.claw_width * 0.75, t.claw_width), ahead, over, part="arm", colour=t.coat)
    for finger in (-1.0, 1.0):
        azimuth = side * (-0.1 + spread)
        base = palm + scaled(pose.way(azimuth + finger * 0.9, 0.0), t.claw_width * 0.75)
        middle = base + scaled(pose.way(azimuth + finger * 0.35, 0.05), t.claw_length * 0.7)
        tip = middle + scaled(pose.way(azimuth - finger * 0.4, 0.0), t.claw_length * 0.4)
        limb(
            body,
            (base, middle, tip),
            (t.claw_width * 0.42, t.claw_width * 0.3, 0.012),
            t.coat,
            t.claw_colour,
            part="arm",
        )
