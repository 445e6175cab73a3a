"""Sprawlers (lizards, newts, crocodiles) and turtles."""

import math

import torch

from menagerie.anatomy import QUARTER, Body, Number, Vector, mix, scaled, unit
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.stance import Stance, dot, eyeball, limb, stance, toes

SPINE, TAIL = 4, 6  # bones of the trunk, of the tail
TEETH = 4


def sprawler(t: Traits, draws: Draws) -> Body:
    """A long, low, winding body and tail, with legs that extend to the sides."""
    body = Body(len(t), gloss=t.gloss, soft=0.06)
    pose = stance(t.tilt * draws.number(0.8, 1.2), t.climb * draws.number(-0.3, 1.0))
    curl = t.curl * torch.where(draws.chance(0.65), draws.number(-1.0, -0.3), draws.number(0.3, 1.0))
    wave, sway = t.bend * draws.number(-1.0, 1.0), t.bend * draws.number(-1.0, 1.0)
    height = t.leg_length * t.stand + t.girth * 0.6
    spine = [pose.at(t.trunk_length * 0.5, height, 0.0)]
    ways = []
    for i in range(SPINE + TAIL):
        azimuth = wave * math.sin(0.75 * i + 0.4) + sway * math.cos(0.75 * i) * 0.6
        bone = t.trunk_length / SPINE if i < SPINE else t.tail_length / TAIL
        azimuth = azimuth + curl * max(0, i - SPINE)
        drop = height * (0.0 if i < SPINE else -0.75 / TAIL)
        ways.append(pose.way(azimuth, 0.0))
        spine.append(spine[-1] - scaled(ways[-1], bone) + scaled(pose.up, drop))
    bulk = [0.78, 1.0, 1.08, 1.0, 0.8]
    along = t.trunk_length * 0.5
    body.chain(spine[: SPINE + 1], [t.girth * one for one in bulk], part="trunk", colour=t.coat, along=(along,))
    whip = [t.girth * 0.8 + (t.tail_point - t.girth * 0.8) * (i / TAIL) ** 0.8 for i in range(TAIL + 1)]
    body.chain(spine[SPINE:], whip, part="tail", colour=t.coat, tip=t.tail_colour, along=(along + t.trunk_length,),
               belly=0.6)  # fmt: skip
    _crest(body, t, pose, spine, ways, [t.girth * one for one in bulk[:-1]] + whip)
    for front in (True, False):
        joint, way = (spine[0], ways[0]) if front else (spine[SPINE], ways[SPINE - 1])
        for side in (-1.0, 1.0):
            _sprawling_leg(body, t, draws, pose, joint, way, side, front)
    _long_head(body, t, draws, pose, spine[0])
    return body


def _crest(
    body: Body, t: Traits, pose: Stance, spine: list[Vector], ways: list[Vector], radii: list[torch.Tensor]
) -> None:
    """A fin or a row of spines down the back and the tail."""
    for i in range(SPINE + TAIL):
        middle, height = mix(spine[i], spine[i + 1], 0.5), t.fin * (1.0 if i < SPINE else 1.15 - 0.08 * i)
        part = t.trunk_length / SPINE if i < SPINE else t.tail_length / TAIL
        radius = (radii[i] + radii[i + 1]) * 0.5
        size = (torch.where(t.fin > 0, part * t.fin_length, 0.0), height, torch.full_like(height, 0.012))
        body.ball(middle + scaled(pose.up, radius * 0.8), size, ways[i], pose.up, part="fin", colour=t.fin_colour,
                  pattern=0.4, belly=0.0, soft=0.02)  # fmt: skip
        back, high = middle + scaled(pose.up, radius * 0.7), t.spine * (1 - 0.11 * max(0, i - SPINE))
        for row in (-1.0, 1.0):
            tooth = back + scaled(pose.side, radius * t.spine_rows * row) + scaled(ways[i], part * 0.2 * row)
            point = tooth + scaled(pose.up, radius * 0.3 + high) - scaled(ways[i], high * 0.5)
            there = t.spine > 0 if row < 0 else (t.spine_rows > 0) & (i < SPINE)
            body.bone(tooth, point, torch.where(there, high * 0.5, -1.0), 0.004, part="mane",
                      colour=t.fin_colour, pattern=0.0, belly=0.0, soft=0.02)  # fmt: skip


def _sprawling_leg(
    body: Body, t: Traits, draws: Draws, pose: Stance, joint: Vector, way: Vector, side: float, front: bool
) -> None:
    """One leg from `joint`, the body running along `way`."""
    swing = draws.number(-0.35, 0.35) + (0.35 if front else -0.35)
    flank = scaled(pose.side, side)
    out = unit(flank + scaled(way, swing))
    root = joint + scaled(flank, t.girth * 0.5) - scaled(way, t.girth * (0.2 if front else -0.2))
    knee = root + scaled(out, t.leg_length * 0.55) + scaled(pose.up, t.leg_length * 0.08)
    forward = scaled(way, t.leg_length * (0.25 + 0.2 * swing))
    fall = dot(knee, pose.up) - t.leg_thickness * 0.5
    foot = knee + scaled(out, t.leg_length * 0.3) + forward - scaled(pose.up, fall)
    thick = t.leg_thickness * (1.0 if front else 1.2)
    limb(body, (root, knee, foot), (thick * 1.3, thick, thick * 0.7), t.coat, t.leg, soft=0.04)
    toes(body, foot, pose, side * 0.5, t.toe_length, thick * 0.3, 0.0, t.leg, (-0.65, 0.0, 0.65))


def _long_head(body: Body, t: Traits, draws: Draws, pose: Stance, shoulder: Vector) -> None:
    """Neck, skull, upper and lower jaw with teeth, dewlap, eyes."""
    turn, lift = draws.number(-0.45, 0.45), t.head_lift + draws.number(-0.1, 0.2)
    neck = pose.way(turn * 0.5, lift)
    skull = shoulder + scaled(neck, t.neck_length + t.head)
    body.bone(shoulder, skull, t.girth * 0.75, t.head * 0.85, part="neck", colour=t.coat, along=(0.0,))
    face, up = pose.way(turn, lift * 0.3), pose.way(turn, lift * 0.3 + QUARTER)
    flank = pose.way(turn + QUARTER, 0.0)
    body.ball(skull, (t.head * 1.25, t.head * t.head_flat, t.head), face, up, part="head", colour=t.coat)
    nose = skull + scaled(face, t.head * 0.6 + t.snout_length) - scaled(up, t.head * 0.1)
    body.ball(mix(skull, nose, 0.6), (t.snout_length * 0.62 + t.head * 0.3, t.snout_thickness, t.snout_width), face, up,
              part="snout", colour=t.coat, belly=0.0)  # fmt: skip
    chin = nose - scaled(up, t.snout_thickness * 0.9 + t.gape * t.snout_length)
    root = skull - scaled(up, t.head * t.head_flat * 0.35)
    body.bone(root, chin, t.snout_width * 0.95, t.snout_width * 0.55, part="snout", colour=t.throat, pattern=0.0,
              soft=0.02)  # fmt: skip
    bag = skull - scaled(up, t.head * t.head_flat * 0.7 + t.dewlap * 0.5) - scaled(face, t.head * 0.2)
    body.ball(bag, (t.dewlap * 0.8, t.dewlap, torch.where(t.dewlap > 0, 0.03, 0.0)), face, up, part="neck",
              colour=t.throat, pattern=0.2, belly=0.0)  # fmt: skip
    for side in (-1.0, 1.0):
        socket = skull + scaled(flank, side * t.head * 0.72) + scaled(up, t.head * t.head_flat * 0.6)
        socket = socket + scaled(face, t.head * 0.45)
        eyeball(body, socket, t.eye_size, unit(scaled(flank, side) + scaled(up, 0.3)), t.iris, t.eye)
        for i in range(TEETH):
            gum = mix(skull, nose, 0.5 + 0.5 * i / TEETH) + scaled(flank, side * t.snout_width * 0.82)
            point = gum - scaled(up, t.snout_thickness + t.tooth * 1.2)
            body.bone(gum, point, torch.where(t.tooth > 0, t.tooth * 0.5, -1.0), t.tooth * 0.15, part="snout",
                      colour=t.tooth_colour, pattern=0.0, belly=0.0, soft=0.0)  # fmt: skip


SCUTES = ((0.0, 0.62, 0.34), (0.0, 0.0, 0.36), (0.0, -0.62, 0.34), (0.62, 0.42, 0.27), (0.68, -0.05, 0.29),
          (0.58, -0.52, 0.27))  # fmt: skip


def turtle(t: Traits, draws: Draws) -> Body:
    """A domed shell with head, legs and tail sticking out."""
    body = Body(len(t), gloss=t.gloss, soft=0.05)
    pose = stance(t.tilt * draws.number(0.7, 1.3), draws.number(-0.1, 0.2))
    rim = t.leg_length * 0.75
    # An ellipsoid sunk into its rim by less than half: its underside stays hidden.
    centre, high = pose.at(0.0, rim + t.dome * 0.34, 0.0), t.dome * 0.66
    long, wide = t.shell_length * 1.08, t.shell_width * 1.08
    body.ball(centre, (long, high, wide), pose.forward, pose.up, part="shell", colour=t.seam, belly=0.0, gloss=0.3)
    base = pose.at(0.0, rim, 0.0)
    body.ball(base, (t.shell_length * 1.1, t.dome * 0.2, t.shell_width * 1.1), pose.forward, pose.up, part="shell",
              colour=t.rim, soft=0.0, belly=0.0)  # fmt: skip
    body.ball(base - scaled(pose.up, t.dome * 0.12), (t.shell_length * 0.98, t.dome * 0.3, t.shell_width * 0.98),
              pose.forward, pose.up, part="shell", colour=t.belly, pattern=0.0)  # fmt: skip
    _scutes(body, t, pose, centre, (long, high, wide))
    for front in (1.0, -1.0):
        for side in (-1.0, 1.0):
            swing = draws.number(-0.1, 0.1)
            root = pose.at(front * t.shell_length * 0.62, rim * 0.95, side * t.shell_width * 0.6)
            knee = pose.at(front * t.shell_length * (0.86 + swing), rim * 0.75, side * t.shell_width * 0.95)
            foot = pose.at(front * t.shell_length * (0.85 + swing), t.leg_thickness * 0.7, side * t.shell_width * 1.06)
            limb(body, (root, knee, foot), [t.leg_thickness * k for k in (1.1, 1.1, 0.9)], t.skin, t.skin,
                 pattern=0.5)  # fmt: skip
            toes(body, foot, pose, 0.0, t.leg_thickness * 1.1, t.leg_thickness * 0.4, 0.0, t.skin)
    _short_head(body, t, draws, pose, rim)
    end = pose.at(-t.shell_length * 1.3, rim * 0.35, 0.0)
    body.bone(
        pose.at(-t.shell_length * 0.85, rim * 0.8, 0.0), end, t.leg_thickness * 0.6, 0.015, part="tail", colour=t.skin
    )
    return body


def _scutes(body: Body, t: Traits, pose: Stance, centre: Vector, shell: tuple[Number, Number, Number]) -> None:
    """The plates of the shell, each with a bright middle; `shell` is the ellipsoid below them."""
    long, high, wide = shell
    for across, ahead, half in SCUTES:
        for side in (-1.0, 1.0) if across else (1.0,):
            up = math.sqrt(max(0.05, 1 - across * across - ahead * ahead))
            spot = centre + pose.at(long * ahead, high * up, wide * across * side)
            out = unit(pose.at(ahead / long, up / high, across * side / wide))
            size = (t.shell_length * half * 0.86, t.dome * 0.12, t.shell_width * half * 1.05)
            body.ball(spot - scaled(out, t.dome * 0.02), size, pose.forward, out, part="shell", colour=t.coat,
                      belly=0.0, soft=0.0, gloss=0.3)  # fmt: skip
            middle = (size[0] * 0.45, t.dome * 0.1, size[2] * 0.45)
            body.ball(spot + scaled(out, t.dome * 0.03), middle, pose.forward, out, part="shell", colour=t.scute,
                      pattern=0.0, belly=0.0, soft=0.0, gloss=0.3)  # fmt: skip


def _short_head(body: Body, t: Traits, draws: Draws, pose: Stance, rim: torch.Tensor) -> None:
    """A turtle's neck, head, cheek stripes and eyes."""
    lift, turn = draws.number(0.15, 0.6), draws.number(-0.35, 0.35)
    root = pose.at(t.shell_length * 0.7, rim, 0.0)
    face, up = pose.way(turn, lift * 0.3), pose.way(turn, lift * 0.3 + QUARTER)
    skull = pose.at(t.shell_length * 0.95, rim, 0.0) + scaled(pose.way(turn, lift), t.neck_length)
    body.bone(root, skull, t.head * 0.85, t.head * 0.75, part="neck", colour=t.skin, pattern=0.4)
    body.ball(skull + scaled(face, t.head * 0.3), (t.head * 1.25, t.head * 0.88, t.head * 0.9), face, up, part="head",
              colour=t.skin, pattern=0.4, belly=0.6)  # fmt: skip
    for side in (-1.0, 1.0):
        flank = pose.way(turn + QUARTER * side, 0.0)
        socket = skull + scaled(face, t.head * 0.75) + scaled(flank, t.head * 0.62) + scaled(up, t.head * 0.25)
        eyeball(body, socket, t.head * 0.24, flank, t.iris, t.eye)
        body.bone(skull + scaled(flank, t.head * 0.8), socket - scaled(up, t.head * 0.45) + scaled(face, t.head * 0.2),
                  t.head * t.cheek, t.head * t.cheek * 0.6, part="head", colour=t.scute, pattern=0.0, belly=0.0,
                  soft=0.0)  # fmt: skip


CURL = 11  # bones of a chameleon's tail


def chameleon(t: Traits, draws: Draws) -> Body:
    """A chameleon that clasps a branch: a tall body, a helmet, turret eyes, the tail a spiral."""
    body = Body(len(t), gloss=t.gloss, soft=0.05)
    pose = stance(t.tilt * draws.number(-1.0, 1.0), draws.number(-0.1, 0.3))
    height = t.leg_length * 0.8
    middle = pose.at(0.0, height + t.trunk_height * 0.5, 0.0)
    body.ball(middle, (t.trunk_length, t.trunk_height, t.trunk_width), pose.way(0.0, 0.1), pose.way(0.0, 1.67),
              part="trunk", colour=t.coat, along=(0.0, t.trunk_length * 2))  # fmt: skip
    for i in range(7):
        share = i / 3 - 1
        back = middle + pose.at(t.trunk_length * share * 0.85, t.trunk_height * (1 - share * share * 0.62) ** 0.5 * 0.93
                                + t.trunk_length * share * 0.07, 0.0)  # fmt: skip
        point = back + pose.at(-0.03, t.crest, 0.0)
        body.bone(back, point, t.crest * 0.6, 0.006, part="mane", colour=t.coat, pattern=0.0, belly=0.0)
    joint, angle, tight = middle - pose.at(t.trunk_length * 0.8, t.trunk_height * 0.3, 0.0), 3.5, draws.number(0.9, 1.1)
    points, bone = [joint], t.tail_length / CURL
    for i in range(CURL):
        points.append(points[-1] + scaled(pose.way(0.0, angle), bone * (1.35 - 0.075 * i)))
        angle = angle + tight * (0.2 + 0.062 * i)
    body.chain(points, [t.tail_thickness * (1 - 0.8 * i / CURL) for i in range(CURL + 1)], part="tail", colour=t.coat,
               along=(t.trunk_length * 2,), soft=0.02)  # fmt: skip
    _helmet(body, t, draws, pose, middle)
    for ahead in (0.55, -0.6):
        for side in (-1.0, 1.0):
            step = draws.number(-0.1, 0.1) + 0.1 * side
            root = middle + pose.at(t.trunk_length * ahead, -t.trunk_height * 0.35, side * t.trunk_width * 0.6)
            knee = pose.at(t.trunk_length * ahead + step - 0.16 * ahead, height * 0.55, side * (t.trunk_width + 0.12))
            foot = pose.at(t.trunk_length * ahead + step, 0.05, side * 0.05)
            limb(body, (root, knee, foot), (t.leg_thickness * 1.3, t.leg_thickness, t.leg_thickness), t.coat, t.coat)
            body.ball(foot, (t.leg_thickness * 1.3,) * 3, part="foot", colour=t.coat)
    droop = draws.number(-0.06, 0.06)
    low, high = pose.at(-0.95, -0.03 - droop, 0.0), pose.at(1.0, -0.03 + droop, 0.0)
    bark = {"colour": t.bark, "pattern": 0.0, "belly": 0.0, "soft": 0.0, "gloss": 0.0}
    body.bone(low, high, t.branch_size, t.branch_size * 0.7, part=None, **bark)
    return body


def _helmet(body: Body, t: Traits, draws: Draws, pose: Stance, middle: Vector) -> None:
    """A chameleon's head: casque, jaw, mouth and turret eyes."""
    nod, size = draws.number(-0.1, 0.25), t.head
    face, up = pose.way(0.0, nod), pose.way(0.0, nod + QUARTER)
    skull = middle + pose.at(t.trunk_length * 0.95, t.trunk_height * 0.35, 0.0) + scaled(face, size * 0.5)
    body.ball(skull, (size * 1.05, size * 0.72, size * 0.6), face, up, part="head", colour=t.coat)
    top = skull + scaled(up, size * 1.15) - scaled(face, size * 0.95)
    body.bone(skull + scaled(up, size * 0.1), top, size * 0.5, size * 0.1, part="head", colour=t.coat)
    snout = skull + scaled(face, size * 1.15) - scaled(up, size * 0.12)
    body.bone(skull, snout, size * 0.55, size * 0.22, part="snout", colour=t.coat)
    bag = skull - scaled(up, size * 0.5) - scaled(face, size * 0.25)
    body.ball(bag, (size * 0.9, size * 0.45, size * 0.35), pose.way(0.0, nod + 0.25), up, part="neck", colour=t.throat)
    for side in (-1.0, 1.0):
        corner = skull + scaled(pose.side, side * size * 0.56) - scaled(up, size * 0.3) - scaled(face, size * 0.1)
        body.bone(corner, snout + scaled(pose.side, side * size * 0.12) - scaled(up, size * 0.06), size * 0.045,
                  part="snout", colour=t.eye, pattern=0.0, belly=0.0, soft=0.0)  # fmt: skip
        gaze = unit(
            scaled(pose.side, side) + scaled(face, draws.number(0.0, 0.5)) + scaled(up, draws.number(-0.2, 0.4))
        )
        turret = skull + scaled(pose.side, side * size * 0.48) + scaled(up, size * 0.15) + scaled(face, size * 0.3)
        body.ball(turret, (size * 0.38,) * 3, part="eye", colour=t.iris, pattern=0.0, belly=0.0, soft=0.0)
        body.ball(turret + scaled(gaze, size * 0.27), (size * 0.16,) * 3, part="eye", colour=t.eye, pattern=0.0,
                  belly=0.0, soft=0.0, gloss=0.8)  # fmt: skip
