"""Heads of mammals: skull, cheeks, snout, nose, jaw, eyes, ears, horns or tusks, proboscis, marks of the face.

The traits of heads are described in kinds.toml, at the end of `[plans.quadruped]`.
"""

from dataclasses import dataclass

import torch

from menagerie.anatomy import QUARTER, Body, Number, Vector, cross, heading, mix, scaled, unit
from menagerie.draws import Draws, square_root
from menagerie.kinds import Traits

Point = tuple[float, float, float]  # forward, up, out


@dataclass(frozen=True)
class Horn:
    """Shape of the left horn or tusk; the right one is its mirror image."""

    root: Point  # shares of the head's radius
    on_snout: float  # how far along the snout the root is moved
    bends: tuple[Point, Point, Point]  # shares of the horn's length, from the root
    girth: tuple[float, float, float, float]  # radii, shares of the horn's thickness
    tines: tuple[tuple[Point, Point], ...] = ()  # start and end of each, as in `bends`


HORNS = {
    "straight": Horn(
        (0.05, 0.85, 0.35), 0, ((-0.1, 0.33, 0.07), (-0.22, 0.66, 0.13), (-0.36, 1.0, 0.2)), (1, 0.8, 0.55, 0.15),
    ),
    "curved": Horn(
        (0.0, 0.7, 0.6), 0, ((0.03, 0.1, 0.36), (0.1, 0.36, 0.58), (0.12, 0.75, 0.52)), (1, 0.85, 0.6, 0.15),
    ),
    "swept": Horn(
        (0.1, 0.85, 0.3), 0, ((-0.1, 0.4, 0.1), (-0.4, 0.68, 0.22), (-0.8, 0.66, 0.32)), (1, 0.9, 0.65, 0.2),
    ),
    "lyre": Horn(
        (0.1, 0.9, 0.3), 0, ((-0.16, 0.36, 0.14), (-0.34, 0.66, 0.28), (-0.28, 1.0, 0.16)), (1, 0.85, 0.6, 0.15),
    ),
    "ram": Horn(
        (0.0, 0.7, 0.5), 0, ((-0.4, 0.16, 0.25), (-0.42, -0.42, 0.5), (0.16, -0.42, 0.68)), (1, 0.95, 0.75, 0.3),
    ),
    "buffalo": Horn(
        (0.1, 0.85, 0.1), 0, ((-0.08, -0.12, 0.45), (0.0, 0.02, 0.85), (0.05, 0.42, 0.8)), (1.2, 0.85, 0.6, 0.15),
    ),
    "knobs": Horn(
        (0.0, 0.8, 0.35), 0, ((-0.1, 0.33, 0.05), (-0.2, 0.66, 0.1), (-0.3, 1.0, 0.12)), (1, 0.8, 0.8, 1.3),
    ),
    "antlers": Horn(
        (0.0, 0.85, 0.35), 0, ((-0.22, 0.28, 0.2), (-0.22, 0.64, 0.42), (0.12, 1.0, 0.34)), (1, 0.85, 0.7, 0.3),
        (((-0.1, 0.13, 0.1), (0.3, 0.42, 0.2)), ((-0.22, 0.62, 0.4), (-0.5, 0.98, 0.5))),
    ),
    "palmate": Horn(
        (0.0, 0.75, 0.45), 0, ((-0.05, 0.12, 0.4), (-0.2, 0.4, 0.75), (-0.42, 0.72, 0.8)), (1, 0.9, 3.4, 1.8),
        (((-0.08, 0.25, 0.62), (0.36, 0.62, 0.7)), ((-0.2, 0.5, 0.75), (0.06, 0.95, 0.85))),
    ),
    "nose": Horn(
        (0.25, 0.45, 0.0), 0.75, ((0.08, 0.36, 0.0), (0.07, 0.7, 0.0), (-0.02, 1.0, 0.0)), (1, 0.75, 0.45, 0.12),
    ),
    "tusks": Horn(
        (0.55, -0.3, 0.5), 0.3, ((0.2, -0.36, 0.1), (0.58, -0.56, 0.12), (0.95, -0.46, 0.06)), (1, 0.9, 0.75, 0.35),
    ),
    "fangs": Horn(
        (0.2, -0.45, 0.3), 0.9, ((0.06, -0.36, 0.04), (0.05, -0.7, 0.04), (-0.02, -1.0, 0.02)), (1, 0.9, 0.7, 0.35),
    ),
    "boar": Horn(
        (0.2, -0.25, 0.35), 0.8, ((0.12, 0.05, 0.4), (0.12, 0.4, 0.58), (-0.05, 0.72, 0.5)), (1, 0.85, 0.6, 0.2),
    ),
}  # fmt: skip
NO_TINES = (((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),) * 2
HIND_NOSE_HORN = 0.45  # length of a rhinoceros' second horn over that of its first


class Skull:
    """Frame of the head; positions are in units of the skull's radius."""

    def __init__(self, t: Traits, crown: Vector, azimuth: Number, elevation: Number) -> None:
        self.radius = t.head
        self.face = heading(t.head, azimuth, elevation)
        self.up = heading(t.head, azimuth, elevation + QUARTER)
        self.left = cross(self.face, self.up)
        self.centre = crown + scaled(self.face, t.head * 0.4)
        sight = heading(t.head, azimuth, elevation + t.snout_angle)
        self.bridge = self.at(0.35, -0.12 - 0.32 * t.stop, 0.0)  # where the snout leaves the skull
        self.snout = scaled(sight, t.head * 0.35 + t.snout_length)
        self.tip = self.bridge + self.snout
        self.sight, self.brow = sight, cross(self.left, sight)

    def towards(self, forward: Number, up: Number, out: Number) -> Vector:
        """Vector with components in the frame of the head."""
        return scaled(self.face, forward) + scaled(self.up, up) + scaled(self.left, out)

    def at(self, forward: Number, up: Number, out: Number) -> Vector:
        """Point with components in units of the skull's radius."""
        return self.centre + scaled(self.towards(forward, up, out), self.radius)


def head(body: Body, t: Traits, draws: Draws, crown: Vector, azimuth: Number, elevation: Number) -> None:
    """Add a head to a body.

    Args:
        body: gets the primitives.
        t: traits, which include those of heads.
        draws: for variation between individuals.
        crown: where the neck ends, (N, 3).
        azimuth: where the face looks, from forward to the left flank, radians.
        elevation: above level, radians.
    """
    skull = Skull(t, crown, azimuth, elevation)
    _face(body, t, skull)
    _eyes(body, t, skull)
    _ears(body, t, skull, draws)
    _horns(body, t, skull, draws, azimuth)


def _face(body: Body, t: Traits, skull: Skull) -> None:
    """Skull, cheeks, snout, jaw, whisker pads, nose, blaze."""
    thick, marks = t.snout_thickness, t.face_pattern
    coat = {"colour": t.face, "pattern": marks, "belly": 0.5}
    body.ball(skull.centre, (t.head * 1.08, t.head, t.head * t.head_width), skull.face, skull.up, part="head", **coat)
    body.ball(
        skull.at(0.12, -0.3 - 0.15 * t.cheek, 0.0), (t.head * t.cheek * 0.75, t.head * t.cheek * 0.8,
        t.head * (t.cheek * 0.6 + t.head_width * 0.55)), skull.face, skull.up, part="head", colour=t.cheek_colour,
        pattern=marks * 0.4, soft=0.06,
    )  # fmt: skip
    wool = t.head * t.topknot
    body.ball(skull.at(-0.15, 0.55 + 0.3 * t.topknot, 0.0), (wool, wool * 0.9, wool), skull.face, skull.up, part="head",
              colour=t.ear_colour, pattern=0.0, soft=0.05)  # fmt: skip
    body.bone(skull.bridge, skull.tip, t.head * t.snout_root, thick, part="snout", colour=t.face, tip=t.muzzle,
              pattern=marks * 0.5, belly=0.7)  # fmt: skip
    gum = scaled(skull.brow, thick * 0.75)
    chin = torch.where((t.pads > 0)[:, None], t.cheek_colour, mix(t.face, t.muzzle, 0.6))
    body.bone(skull.at(0.2, -0.5, 0.0), mix(skull.bridge, skull.tip, 0.9) - gum, t.head * 0.42, thick * t.jaw,
              part="snout", colour=t.face, tip=chin, pattern=marks * 0.3)  # fmt: skip
    lips = skull.tip - scaled(skull.brow, thick * (0.2 + 0.25 * t.pads))
    body.ball(lips, (thick * t.pads * 0.9, thick * t.pads * 0.8, thick * t.pads * 1.15), skull.sight, skull.brow,
              part="snout", colour=t.cheek_colour, pattern=0.0, soft=0.04)  # fmt: skip
    nostrils = skull.tip + scaled(skull.sight, thick * 0.72) + scaled(skull.brow, thick * 0.38)
    bare = thick * t.nose
    body.ball(nostrils, (bare * 0.7, bare * 0.75, bare * 1.05), skull.sight, skull.brow, part="snout",
              colour=t.nose_colour, pattern=0.0, belly=0.0, gloss=0.35, soft=0.01)  # fmt: skip
    width = torch.where(t.blaze > 0, t.blaze, -1.0) * t.head
    ridge = mix(skull.bridge, skull.tip, 0.8) + scaled(skull.brow, thick * 1.08 - width.clamp(min=0) * 0.9)
    body.bone(skull.at(0.3, 1.0 - t.blaze * 0.9, 0.0), ridge, width, width, part="head", colour=t.blaze_colour,
              pattern=0.0, belly=0.0, soft=0.015)  # fmt: skip


def _eyes(body: Body, t: Traits, skull: Skull) -> None:
    """Eyes and the patches around them. The pupil looks out of the head; the iris is a ring around it."""
    forward, out = 0.42 + 0.42 * t.eye_forward, 0.86 - 0.36 * t.eye_forward
    length = square_root(forward * forward + out * out + t.eye_height * t.eye_height)
    forward, rise, out = forward / length, t.eye_height / length, out / length
    ring = t.iris * 2 - t.eye  # the visible half of the ball is the outer half of its gradient
    size, pupil = t.head * t.eye_patch, t.head * t.eye_size
    # Sink a patch by the curvature of the skull, so that its rim is flush.
    sunk = size * t.eye_patch * 0.4
    patch = (size, size * t.patch_height, sunk + size * 0.1 + t.head * 0.03)
    for side in (-1.0, 1.0):
        gaze = skull.towards(forward, rise, out * side)
        socket = skull.at(1.04 * forward, 0.97 * rise, t.head_width * side * out)
        back = unit(skull.towards(-out, t.patch_angle, forward * side))
        body.ball(socket - scaled(gaze, sunk), patch, back, cross(gaze, back) * -side, part="head",
                  colour=t.patch_colour, pattern=0.0, belly=0.0, soft=0.004)  # fmt: skip
        centre = socket + scaled(gaze, pupil * 0.15 + size * 0.06)
        body.ball(centre, (pupil * 0.6, pupil, pupil), gaze, skull.up, part="eye", colour=ring, tip=t.eye,
                  pattern=0.0, belly=0.0, gloss=0.9, soft=0.0)  # fmt: skip


def _ears(body: Body, t: Traits, skull: Skull, draws: Draws) -> None:
    for side in (-1.0, 1.0):
        _ear(body, t, skull, side, t.ear_angle + draws.number(-0.12, 0.12))


def _ear(body: Body, t: Traits, skull: Skull, side: float, angle: torch.Tensor) -> None:
    """A flat oval, a cone, or an oval with a tuft on it; in front of it the inner ear."""
    pointed, tufted = t.equals("ear_shape", "pointed"), t.equals("ear_shape", "tufted")
    look = {"part": "ear", "belly": 0.0}
    tips = mix(t.ear_colour, t.ear_tip, t.ear_tip_shade)
    # Hanging ears, too, are rooted in the upper half of the head.
    level, upright = heading(angle, 0.0, angle).unbind(1)[:2]
    stem, crest = heading(angle, 0.0, angle.clamp(0.5, 1.15)).unbind(1)[:2]
    root = skull.at(-0.12 - 0.2 * t.ear_back, crest * 0.82, stem * side * t.head_width)
    along = unit(skull.towards(-t.ear_back - 0.05, upright, level * side))
    opening = unit(skull.towards(1.0 - t.ear_turn, 0.15, (t.ear_turn + 0.15) * side))
    half, wide = t.ear * 0.5, t.ear * t.ear_width * 0.5
    centre = root + scaled(along, half * 0.8)
    body.ball(centre, (torch.where(pointed, 0.0, half), wide * 0.3 + 0.004, wide), along, opening,
              colour=t.ear_colour, tip=tips, pattern=0.25, soft=0.03, **look)  # fmt: skip
    cone = torch.where(pointed, wide, torch.where(tufted, wide * 0.3, -1.0))
    start, end = (root + scaled(along, torch.where(tufted, a, b) * half) for a, b in ((1.4, 0.1), (2.9, 2.0)))
    near = torch.where(tufted[:, None], tips, t.ear_colour)
    body.bone(start, end, cone, torch.where(cone > 0, cone * 0.12, -1.0), colour=near, tip=tips, pattern=0.0,
              soft=0.03, **look)  # fmt: skip
    shown = (t.ear_hollow > 0) & (t.ear_angle > -0.3)  # hanging ears turn it inwards
    lift = torch.where(pointed, wide * 0.42, wide * 0.3 + 0.002)
    hollow = centre + scaled(square_to(along, opening), lift) - scaled(along, half * (1 - t.ear_hollow) * 0.3)
    flat = torch.where(shown, wide * torch.where(pointed, 0.25, 0.16), 0.0)
    body.ball(hollow, (half * t.ear_hollow, flat, wide * t.ear_hollow), along, opening, colour=t.ear_inner,
              pattern=0.0, soft=0.01, **look)  # fmt: skip


def square_to(axis: Vector, direction: Vector) -> Vector:
    """Unit vector of the component of a direction that is perpendicular to an axis."""
    return unit(cross(cross(axis, direction), axis))


def _horns(body: Body, t: Traits, skull: Skull, draws: Draws, azimuth: Number) -> None:
    """Horns, antlers or tusks, of three bones a side, and four bones more: tines of antlers or a proboscis."""
    named = [HORNS.get(str(one["horn_shape"])) for one in t.rows]
    there = torch.tensor([shape is not None for shape in named]) & (t.horn_length > 0)
    shapes = [shape or HORNS["straight"] for shape in named]
    branched = torch.tensor([bool(one.tines) for one in shapes]) & there
    roots, girth = torch.tensor([one.root for one in shapes]), torch.tensor([one.girth for one in shapes])
    bends = torch.tensor([((0.0, 0.0, 0.0), *one.bends) for one in shapes])
    tines = torch.tensor([one.tines or NO_TINES for one in shapes])  # (N, tine, end, 3)
    on_snout = torch.tensor([one.on_snout for one in shapes])
    spare: list[list[Vector]] = []
    for side in (1.0, -1.0):
        # The mirror image of the horn on a rhinoceros' nose is the smaller one behind it.
        hind = t.equals("horn_shape", "nose") & (side < 0)
        size = torch.where(hind, HIND_NOSE_HORN, 1.0) * t.horn_length * (1 + 0.05 * draws.bell().clamp(-2, 2))
        root = skull.at(roots[:, 0], roots[:, 1], roots[:, 2] * side)
        root = root + scaled(skull.snout, torch.where(hind, on_snout - 0.45, on_snout))
        thick = torch.where(hind, 0.75, 1.0) * t.horn_thickness
        radii = [torch.where(there, thick * girth[:, i], -1.0) for i in range(4)]
        body.chain([_place(skull, root, size, side, bends[:, i]) for i in range(4)], radii, part="horn",
                   colour=t.horn, tip=t.horn_tip, pattern=0.0, belly=0.0, soft=0.015, gloss=0.25)  # fmt: skip
        spare += [[_place(skull, root, size, side, tines[:, i, end]) for end in range(2)] for i in range(2)]
    _tines_or_proboscis(body, t, skull, spare, torch.where(branched, t.horn_thickness * 0.8, -1.0),
                        azimuth, draws.number(-0.2, 0.9))  # fmt: skip


def _place(skull: Skull, root: Vector, size: torch.Tensor, side: float, point: torch.Tensor) -> Vector:
    """A point of a horn (N, 3), in shares of the horn's length, in the frame of the body."""
    return root + scaled(skull.towards(point[:, 0], point[:, 1], point[:, 2] * side), size)


def _tines_or_proboscis(
    body: Body, t: Traits, skull: Skull, tines: list[list[Vector]], thick: torch.Tensor, azimuth: Number,
    curl: torch.Tensor,
) -> None:  # fmt: skip
    """Four bones: no animal has both antlers and a trunk, which hangs from the snout and curls forward at its end."""
    hose, start = t.proboscis > 0, skull.tip
    colour = torch.where(hose[:, None], t.muzzle, t.horn)
    for i, slope in enumerate((-0.95, -1.3, -1.5 + 0.25 * curl, -1.45 + curl)):
        end = start + scaled(heading(t.head, azimuth, slope), t.proboscis * 0.27)
        a, b = (torch.where(hose[:, None], *both) for both in zip((start, end), tines[i], strict=True))
        wide, narrow = (t.snout_thickness * (1.0 - 0.14 * k) for k in (i, i + 1))
        body.bone(a, b, torch.where(hose, wide, thick), torch.where(hose, narrow, thick * 0.45), part="horn",
                  colour=colour, pattern=0.0, belly=0.0, soft=0.03)  # fmt: skip
        start = end
