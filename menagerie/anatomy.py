"""A body is a list of primitives: tapered capsules, ellipsoids and slabs, posed in three dimensions.

Frame of a body: x points forward (to the head), y up, z out of its left flank. Lengths are in units of the plan's
own choice (about one shoulder height); the view scales every subject to the frame, so only proportions matter.

A vector is float32 (N, 3), one row per individual; a number is a float or float32 (N,). As in `draws`, all operations
are exactly rounded, so that an individual does not depend on its batch.
"""

from collections.abc import Sequence

import torch

from menagerie.draws import cos_sin, square_root

Number = float | torch.Tensor
Vector = torch.Tensor

PARTS = (
    "trunk", "neck", "head", "eye", "ear", "snout", "horn", "leg", "foot", "tail", "fin", "wing", "shell", "mane",
    "arm", "stem", "leaf", "petal", "cap", "crown", "hull", "window", "wheel", "mast",
)  # fmt: skip

# Columns of a primitive. A capsule goes from P to P + U with radii RA and RB; an ellipsoid and a slab have their
# centre in P and half axes U, V, W.
P, U, V, W = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12)
RA, RB = 12, 13
COLOUR, TIP = slice(14, 17), slice(17, 20)  # at the start and the end of U
PATTERN, BELLY, SOFT, GLOSS = 20, 21, 22, 23
ALONG, ALONG_END = 24, 25  # stripe coordinate at both ends of U
PART, SHAPE = 26, 27
FIELDS = 28
CAPSULE, ELLIPSOID, SLAB = 0.0, 1.0, 2.0

QUARTER = 1.5708  # of a turn, radians


def vector(x: Number, y: Number, z: Number) -> Vector:
    """Stack three numbers, at least one of them a tensor, to a vector (N, 3)."""
    rows = max((one for one in (x, y, z) if isinstance(one, torch.Tensor)), key=torch.Tensor.numel)
    return torch.stack([torch.as_tensor(one, dtype=torch.float32).expand_as(rows) for one in (x, y, z)], dim=1)


def scaled(direction: Vector, length: Number) -> Vector:
    """A vector times a number per individual."""
    return direction * (length[:, None] if isinstance(length, torch.Tensor) else length)


def heading(like: torch.Tensor, azimuth: Number, elevation: Number) -> Vector:
    """Unit vectors; azimuth turns from forward (x) to the left (z), elevation from level to up, in radians."""
    azimuth, elevation = (torch.as_tensor(one, dtype=torch.float32).expand_as(like) for one in (azimuth, elevation))
    (ca, sa), (ce, se) = cos_sin(azimuth), cos_sin(elevation)
    return torch.stack([ce * ca, se, ce * sa], dim=1)


def cross(a: Vector, b: Vector) -> Vector:
    """Cross product of the rows."""
    (ax, ay, az), (bx, by, bz) = a.unbind(1), b.unbind(1)
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], dim=1)


def norm(a: Vector) -> torch.Tensor:
    """Length of the rows, (N,)."""
    x, y, z = a.unbind(1)
    return square_root(x * x + y * y + z * z)


def unit(a: Vector) -> Vector:
    """The rows, normalised to length one."""
    return a / norm(a).clamp(min=1e-6)[:, None]


def mix(a: Vector, b: Vector, share: Number) -> Vector:
    """Interpolate linearly from a (share 0) to b (share 1), points or colours."""
    return a + scaled(b - a, share)


def frame(forward: Vector, up: Vector) -> tuple[Vector, Vector, Vector]:
    """Orthonormal forward, up and side; `up` is made perpendicular to `forward`."""
    forward = unit(forward)
    side = unit(cross(forward, up))
    return forward, cross(side, forward), side


def _half_axes(
    size: tuple[Number, Number, Number], forward: Vector | None, up: Vector | None, like: Vector
) -> list[Vector]:
    forward = torch.tensor([[1.0, 0.0, 0.0]]).expand_as(like) if forward is None else forward
    up = torch.tensor([[0.0, 1.0, 0.0]]).expand_as(like) if up is None else up
    return [scaled(axis, half) for axis, half in zip(frame(forward, up), size, strict=True)]


class Body:
    """The primitives of N individuals of one plan; every method adds one to each of them.

    Arguments `look` of all methods:
        part: a name in PARTS, or None if the primitive does not belong to the subject.
        colour: linear RGB (N, 3) in [0, 1], as in Traits.
        tip: colour at the far end of the primitive's first axis; `colour` if None.
        pattern: how strongly the kind's marks (stripes, spots …) show, 0 to 1.
        belly: how strongly the kind's belly colour shows on the underside, 0 to 1.
        soft: depth over which this primitive blends into its neighbours; 0 gives a sharp edge (eyes, horns).
        gloss: strength of the highlight; the kind's own if None.
        along: stripe coordinate at the start and the end of the first axis; by default 0 and the length. Stripes
            cross the first axis.
    """

    def __init__(self, count: int, gloss: Number = 0.0, soft: float = 0.1) -> None:
        self.count, self.gloss, self.soft = count, gloss, soft
        self.primitives: list[torch.Tensor] = []

    def bone(self, a: Vector, b: Vector, ra: Number, rb: Number | None = None, **look: object) -> None:
        """A tapered capsule from point a with radius ra to point b with radius rb. A negative radius leaves it out."""
        zero = torch.zeros(self.count, 6)
        u = b - a
        self._add(CAPSULE, torch.cat([a, u, zero], dim=1), ra, ra if rb is None else rb, norm(u), **look)

    def chain(self, points: Sequence[Vector], radii: Sequence[Number], **look: object) -> None:
        """Capsules from point to point; stripe coordinate and the gradient from `colour` to `tip` span the chain."""
        colour, tip, bones = look.pop("colour"), look.pop("tip", None), len(points) - 1
        start = look.pop("along", (0.0,))[0]
        for i in range(bones):
            near = colour if tip is None else mix(colour, tip, i / bones)
            far = colour if tip is None else mix(colour, tip, (i + 1) / bones)
            end = start + norm(points[i + 1] - points[i])
            self.bone(
                points[i], points[i + 1], radii[i], radii[i + 1], colour=near, tip=far, along=(start, end), **look
            )
            start = end

    def ball(
        self,
        centre: Vector,
        size: tuple[Number, Number, Number],
        forward: Vector | None = None,
        up: Vector | None = None,
        **look: object,
    ) -> None:
        """An ellipsoid; `size` is its half length, half height and half width along `forward`, `up` and across."""
        axes = _half_axes(size, forward, up, centre)
        self._add(ELLIPSOID, torch.cat([centre, *axes], dim=1), 0.0, 0.0, 2 * norm(axes[0]), **look)

    def slab(
        self,
        centre: Vector,
        size: tuple[Number, Number, Number],
        forward: Vector | None = None,
        up: Vector | None = None,
        **look: object,
    ) -> None:
        """A rectangular box; arguments as for `ball`."""
        self.skew(centre, *_half_axes(size, forward, up, centre), **look)

    def skew(self, centre: Vector, u: Vector, v: Vector, w: Vector, **look: object) -> None:
        """A slab with any three half axes, not necessarily orthogonal: wedges, swept wings, raked windscreens."""
        self._add(SLAB, torch.cat([centre, u, v, w], dim=1), 0.0, 0.0, 2 * norm(u), **look)

    def stack(self) -> torch.Tensor:
        """All primitives, float32 (N, count of primitives, FIELDS)."""
        return torch.stack(self.primitives, dim=1)

    def _add(
        self,
        shape: float,
        geometry: torch.Tensor,
        ra: Number,
        rb: Number,
        length: torch.Tensor,
        *,
        part: str | None,
        colour: Vector,
        tip: Vector | None = None,
        pattern: Number = 1.0,
        belly: Number = 1.0,
        soft: Number | None = None,
        gloss: Number | None = None,
        along: tuple[Number | None, ...] = (0.0,),
    ) -> None:
        start = along[0] if along[0] is not None else 0.0
        end = along[1] if len(along) > 1 else start + length
        numbers = (
            pattern, belly, self.soft if soft is None else soft, self.gloss if gloss is None else gloss,
            start, end, 0.0 if part is None else float(PARTS.index(part) + 1), shape,
        )  # fmt: skip
        radii = torch.stack([self._column(one) for one in (ra, rb)], dim=1)
        rest = torch.stack([self._column(one) for one in numbers], dim=1)
        self.primitives.append(torch.cat([geometry, radii, colour, colour if tip is None else tip, rest], dim=1))

    def _column(self, value: Number) -> torch.Tensor:
        return torch.as_tensor(value, dtype=torch.float32).expand(self.count)
