"""Butterflies."""

import torch

from menagerie.anatomy import QUARTER, Body, Vector, cross, scaled, unit
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.stance import Stance, stance

# Halves of the hind wing, then of the fore wing: centre forward and outward, half length, half width, slant forward.
BLADES = ((-0.25, 0.33, 0.36, 0.36, -0.55), (-0.34, 0.22, 0.30, 0.24, -1.3), (0.22, 0.42, 0.56, 0.23, 0.62),
          (0.12, 0.46, 0.42, 0.30, 0.2))  # fmt: skip
DOTS = ((0.43, 0.80), (0.33, 0.83), (0.2, 0.82), (0.07, 0.79), (-0.03, 0.73))  # forward, outward
EYESPOTS = ((-0.3, 0.38), (0.3, 0.5))
VEINS = ((0.75, 0.72, 0.03), (0.4, 0.72, 0.03), (0.1, 0.72, 0.03), (-0.3, 0.55, 0.018), (-0.8, 0.55, 0.018),
         (-1.6, 0.55, 0.018))  # slant forward, length, radius at the far end  # fmt: skip


def butterfly(t: Traits, draws: Draws) -> Body:
    """A butterfly, its wings spread towards the viewer or folded up above its back."""
    body = Body(len(t), gloss=t.gloss, soft=0.0)
    folded = draws.chance(0.2)
    tilt = torch.where(folded, draws.number(-0.45, -0.2), t.tilt * draws.number(0.8, 1.15))
    pose = stance(tilt, torch.where(folded, draws.number(0.1, 0.7), draws.number(0.5, 1.57)))
    lift = torch.where(folded, draws.number(1.38, 1.5), draws.number(0.08, 0.5))
    thorax = pose.at(0.0, 0.12, 0.0)
    body.ball(thorax, (0.14, 0.075, 0.07), pose.forward, pose.up, part="trunk", colour=t.trunk_colour, pattern=0.0)
    body.bone(thorax, pose.at(-0.45, 0.08, 0.0), 0.055, 0.03, part="tail", colour=t.trunk_colour, pattern=0.0)
    skull = pose.at(0.19, 0.13, 0.0)
    body.ball(skull, (0.06, 0.055, 0.065), pose.forward, pose.up, part="head", colour=t.trunk_colour, pattern=0.0)
    for side in (-1.0, 1.0):
        tip = skull + scaled(pose.way(side * 0.5, 0.35), t.feeler)
        body.bone(skull, tip, 0.011, part="horn", colour=t.trunk_colour, pattern=0.0, belly=0.0)
        body.bone(
            tip, tip + scaled(pose.way(side * 0.5, 0.35), 0.05), 0.02, part="horn", colour=t.trunk_colour, pattern=0.0
        )
        leg = pose.at(0.05, 0.07, side * 0.04)
        for ahead in (0.12, -0.1):
            body.bone(leg, pose.at(ahead, -0.06, side * 0.16), 0.011, part="leg", colour=t.trunk_colour, pattern=0.0)
        _wings(body, t, pose, thorax, pose.way(side * QUARTER, lift))
    return body


def _wings(body: Body, t: Traits, pose: Stance, root: Vector, across: Vector) -> None:
    """Fore and hind wing of one side; `across` points from the body along the wings' plane."""
    normal = unit(cross(pose.forward, across))
    span, depth = t.span, t.wing_depth
    plain = {"part": "wing", "pattern": 0.0, "belly": 0.0}

    def spot(ahead: float, beyond: float) -> Vector:
        return root + scaled(pose.forward, depth * ahead) + scaled(across, span * beyond)

    # Dark sheets, each with a bright field that protrudes from both faces.
    for i, (ahead, beyond, long, wide, slant) in enumerate(BLADES):
        way, layer = unit(across + scaled(pose.forward, slant)), 0.006 + 0.012 * (i // 2)
        fore = i >= len(BLADES) // 2
        sheet = (long * span, layer, wide * depth)
        body.ball(spot(ahead, beyond), sheet, way, normal, colour=t.border_colour, **plain)
        inside = (long * span - t.border, layer + 0.006, wide * depth - t.border)
        body.ball(spot(ahead * 0.94, beyond * 0.93), inside, way, normal, part="wing", belly=0.0,
                  colour=t.coat if fore else t.hind_colour)  # fmt: skip
    corner = (t.tip_length * span, 0.03, t.tip_length * 0.6 * depth)
    body.ball(spot(0.44, 0.74), corner, unit(across + scaled(pose.forward, 0.3)), normal, colour=t.tip, **plain)
    for ahead, beyond in DOTS:
        body.ball(spot(ahead, beyond), (t.dot, 0.04, t.dot), across, normal, colour=t.dot_colour, **plain)
    for ahead, beyond in EYESPOTS:
        body.ball(spot(ahead, beyond), (t.eyespot, 0.045, t.eyespot), across, normal, colour=t.tip, **plain)
    for slant, reach, lift in VEINS:
        end = root + scaled(unit(across + scaled(pose.forward, slant)), span * reach)
        body.bone(
            root, end, torch.where(t.vein_width > 0, lift + t.vein_width, -1.0), lift, colour=t.border_colour, **plain
        )
