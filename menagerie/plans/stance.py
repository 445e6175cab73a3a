"""Small animals on a slope that shows their back to the viewer, and parts that several of their plans share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from menagerie.anatomy import QUARTER, Body, Number, Vector, frame, heading, scaled
from menagerie.draws import cos_sin


def dot(a: Vector, b: Vector) -> torch.Tensor:
    """Scalar product of the rows, (N,)."""
    x, y, z = (a * b).unbind(1)
    return x + y + z


@dataclass(frozen=True, eq=False)
class Stance:
    """Orthonormal frame of a body, each (N, 3): forward, up (normal to the slope) and side (left)."""

    forward: Vector
    up: Vector
    side: Vector

    def at(self, x: Number, y: Number, z: Number) -> Vector:
        """The point x forward, y off the slope and z to the left of the origin."""
        return scaled(self.forward, x) + scaled(self.up, y) + scaled(self.side, z)

    def way(self, azimuth: Number, elevation: Number) -> Vector:
        """Unit vectors; azimuth turns from forward to the left, elevation off the slope, in radians."""
        x, y, z = heading(self.forward[:, 0], azimuth, elevation).unbind(1)
        return self.at(x, y, z)


def stance(tilt: torch.Tensor, turn: Number = 0.0) -> Stance:
    """A slope that leans back by (pi / 2 - tilt) from the vertical: level at tilt 0, facing the viewer at pi / 2.

    Args:
        tilt: in radians, (N,).
        turn: of the animal on the slope, from level to head up, in radians.
    """
    up = heading(tilt, QUARTER, QUARTER - tilt)
    across = heading(tilt, QUARTER, -tilt)
    cosine, sine = cos_sin(torch.as_tensor(turn, dtype=torch.float32).expand_as(tilt))
    level = heading(tilt, 0.0, 0.0)
    return Stance(*frame(scaled(level, cosine) - scaled(across, sine), up))


def eyeball(body: Body, centre: Vector, radius: Number, gaze: Vector, iris: Vector, pupil: Vector) -> None:
    """An eye that looks along `gaze`: ball, pupil and the light in it."""
    size = (radius, radius, radius)
    body.ball(centre, size, part="eye", colour=iris, pattern=0.0, belly=0.0, soft=0.0, gloss=0.6)
    dark = tuple(one * 0.68 for one in size)
    body.ball(centre + scaled(gaze, radius * 0.42), dark, part="eye", colour=pupil, pattern=0.0, belly=0.0, soft=0.0,
              gloss=0.9)  # fmt: skip


def limb(
    body: Body, joints: Sequence[Vector], radii: Sequence[Number], colour: Vector, tip: Vector, **look: object
) -> None:
    """A jointed leg, its last bone in the colour `tip`."""
    look = {"part": "leg", "belly": 0.0} | look
    for i in range(len(joints) - 1):
        near = tip if i == len(joints) - 2 else colour
        body.bone(joints[i], joints[i + 1], radii[i], radii[i + 1], colour=near, **look)


def toes(
    body: Body, root: Vector, pose: Stance, azimuth: Number, length: Number, radius: Number, pad: Number,
    colour: Vector, splay: Sequence[float] = (-0.55, 0.0, 0.55),
) -> None:  # fmt: skip
    """Toes fanned out on the ground, each ending in a pad."""
    for turn in splay:
        end = root + scaled(pose.way(azimuth + turn, 0.0), length)
        body.bone(root, end, radius, radius * 0.8 + pad, part="foot", colour=colour, pattern=0.0, belly=0.0, soft=0.02)
