"""Parts shared by swimming animals: a bent spine and pointed fins."""

import torch

from menagerie.anatomy import QUARTER, Body, Number, Vector, cross, heading, mix, scaled
from menagerie.draws import cos_sin


def blade(
    body: Body, root: Vector, end: Vector, aft: Vector, chord: Number, there: torch.Tensor, flare: Number = 0.1,
    **look: object,
) -> None:  # fmt: skip
    """Add a fin of four rays: a flat triangle that ends in a point, or a fan.

    Args:
        body: gets the primitives.
        root: middle of the base, (N, 3).
        end: far end, (N, 3).
        aft: unit vector along the base, backwards, (N, 3).
        chord: length of the base.
        there: whether there is a fin, bool (N,).
        flare: width of the end over that of the base.
        **look: as for `Body`.
    """
    thick = torch.where(there, chord * 0.14, -1.0)
    for place in (-0.36, -0.12, 0.12, 0.36):
        # Rear rays are shorter, which makes the trailing edge concave.
        far = mix(end, root, max(0.0, place) * 0.45) + scaled(aft, chord * flare * place)
        body.bone(root + scaled(aft, chord * place), far, thick, chord * (0.02 + 0.13 * flare), **look)


class Spine:
    """Joints of a bent body from the snout backwards, with the directions in each of them.

    Args:
        start: the tip of the snout, (N, 3).
        azimuths: forward direction of each segment between joints, radians.
        elevations: of each segment, radians.
        lengths: of each segment.
        roll: of the whole body about its length, radians, (N,).
    """

    def __init__(
        self, start: Vector, azimuths: list[Number], elevations: list[Number], lengths: list[Number], roll: torch.Tensor
    ) -> None:
        cosine, sine = cos_sin(roll)
        self.points, self.forward, self.up, self.side = [start], [], [], []
        for azimuth, elevation, length in zip(azimuths, elevations, lengths, strict=True):
            ahead, above = heading(roll, azimuth, elevation), heading(roll, azimuth, elevation + QUARTER)
            across = cross(ahead, above)
            self.forward.append(ahead)
            self.up.append(scaled(above, cosine) + scaled(across, sine))
            self.side.append(scaled(across, cosine) - scaled(above, sine))
            self.points.append(self.points[-1] - scaled(ahead, length))
        for axis in (self.forward, self.up, self.side):
            axis.append(axis[-1])

    def at(self, i: int, ahead: Number, above: Number, across: Number) -> Vector:
        """A point beside joint i, (N, 3)."""
        offset = scaled(self.forward[i], ahead) + scaled(self.up[i], above) + scaled(self.side[i], across)
        return self.points[i] + offset

    def axes(self, i: int) -> tuple[Vector, Vector]:
        """Forward and up at joint i, each (N, 3)."""
        return self.forward[i], self.up[i]
