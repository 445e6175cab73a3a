"""From primitives to pixels: analytic depth and coverage, nearest surface, soft union.

The pixels of the bounding boxes of all primitives form one list of fragments. Each fragment solves the equation of its
primitive along the line of sight, and the nearest fragment of a pixel is visible. The cost therefore depends on the
covered area, not on the number of primitives.

Views are orthographic along z: the image spans [-1, 1] in x and y, y points up, larger z is nearer to the viewer.
"""

from dataclasses import dataclass

import torch

from menagerie.anatomy import (
    ALONG,
    ALONG_END,
    BELLY,
    CAPSULE,
    COLOUR,
    ELLIPSOID,
    GLOSS,
    PART,
    PATTERN,
    RA,
    RB,
    SHAPE,
    SLAB,
    SOFT,
    TIP,
    P,
    U,
    V,
    W,
)
from menagerie.draws import square_root

TINY = 1e-7
FAR = 64.0  # subtracted from the depth of fragments outside their outline: fragments inside one win


@dataclass(frozen=True, eq=False)
class Surface:
    """The visible surface in all covered pixels, one row per pixel (S)."""

    pixel: torch.Tensor  # int64, index into the pixels of all images
    depth: torch.Tensor
    normal: torch.Tensor  # (3, S), not of unit length where surfaces blend
    colour: torch.Tensor  # (3, S)
    along: torch.Tensor  # stripe coordinate
    pattern: torch.Tensor
    belly: torch.Tensor
    gloss: torch.Tensor
    part: torch.Tensor  # uint8
    edge: torch.Tensor  # approximate distance to the outline of the body in pixels, negative inside


Solved = tuple[torch.Tensor, ...]  # depth, distance in pixels, normal x y z, t


def square(*xs: torch.Tensor) -> torch.Tensor:
    """Sum of squares, added in this order."""
    total = xs[0] * xs[0]
    for x in xs[1:]:
        total = total + x * x
    return total


def pick(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """`values[..., index]`; index_select is faster than general indexing."""
    return torch.index_select(values, values.dim() - 1, index)


def locate(pixel: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image, row and column of an index into the pixels of all images, each int64 like `pixel`."""
    image = pixel // (size * size)
    within = pixel - image * (size * size)
    row = within // size
    return image, row, within - row * size


def centre(row: torch.Tensor, column: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """View coordinates x and y of the middle of pixels."""
    return (column.float() + 0.5) * (2 / size) - 1, 1 - (row.float() + 0.5) * (2 / size)


def extent(primitives: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest and highest (x, y, z) of primitives (..., FIELDS), each (..., 3)."""
    p, u, v, w = primitives[..., P], primitives[..., U], primitives[..., V], primitives[..., W]
    ra, rb = primitives[..., RA, None].clamp(min=0), primitives[..., RB, None].clamp(min=0)
    far = p + u
    around = square_root(square(u, v, w))
    corner = u.abs() + v.abs() + w.abs()
    shape = primitives[..., SHAPE, None]
    reach = torch.where(shape == ELLIPSOID, around, corner)
    low = torch.where(shape == CAPSULE, torch.minimum(p - ra, far - rb), p - reach)
    high = torch.where(shape == CAPSULE, torch.maximum(p + ra, far + rb), p + reach)
    return low, high


def present(primitives: torch.Tensor) -> torch.Tensor:
    """Whether primitives exist, bool (...): those with a negative radius or a half axis of zero are left out."""
    capsule = primitives[..., SHAPE] == CAPSULE
    solid = primitives[..., RA] > 0
    sizes = [square(*primitives[..., axis].unbind(-1)) for axis in (U, V, W)]
    boxed = torch.minimum(torch.minimum(sizes[0], sizes[1]), sizes[2]) > 1e-10
    return torch.where(capsule, solid, boxed)


def _capsule(column: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor, scale: float) -> Solved:
    """A capsule as the union of spheres whose centre moves by u while the radius grows by dr."""
    px, py, pz, ux, uy, uz, ra, dr, a, over = column  # over is 1 / -a
    dx, dy = x - px, y - py
    # Height² of sphere t over the pixel: a t² + 2 b t + c.
    b = ra * dr + dx * ux + dy * uy
    c = ra * ra - dx * dx - dy * dy
    outline = (b * over).clamp(0, 1)
    inner = square_root((b * b - a * c).clamp(min=0) / (uz * uz - a).clamp(min=TINY))
    t = ((b + uz * inner) * over).clamp(0, 1)

    # Seen nearly end-on, one end may hide the other: compare both ends and the point between.
    hard = (a > 0).nonzero().squeeze(1)
    if len(hard):
        a, b, c, uz_, between = (pick(one, hard) for one in (a, b, c, uz, t))
        ends = [uz_ * one + _root((a * one + 2 * b) * one + c) for one in (between, 0.0, 1.0)]
        between = torch.where(ends[1] > ends[0], 0.0, between)
        t[hard] = torch.where(ends[2] > torch.maximum(ends[0], ends[1]), 1.0, between)
        outline[hard] = (b > 0).float()
    ox, oy = dx - outline * ux, dy - outline * uy
    distance = (square_root(ox * ox + oy * oy) - (ra + outline * dr)) * scale
    ox, oy, radius = dx - t * ux, dy - t * uy, ra + t * dr
    height = square_root((radius * radius - ox * ox - oy * oy).clamp(min=0))
    return pz + t * uz + height, distance, ox, oy, height, t


def _sweep(capsules: torch.Tensor) -> list[torch.Tensor]:
    """Columns for `_capsule`: start, direction, first radius, its growth, the curvature a of height², and -1 / a."""
    px, py, pz, ux, uy, uz = capsules[:, 0:6].unbind(1)
    ra, dr = capsules[:, RA], capsules[:, RB] - capsules[:, RA]
    a = dr * dr - ux * ux - uy * uy
    a = torch.where(a.abs() < TINY, -TINY, a)
    return [px, py, pz, ux, uy, uz, ra, dr, a, -1 / a]


def _root(x: torch.Tensor) -> torch.Tensor:
    """Square root, -FAR for negative numbers."""
    return torch.where(x >= 0, square_root(x.clamp(min=0)), -FAR)


def _ellipsoid(column: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor, scale: float) -> Solved:
    """An ellipsoid as the unit ball, seen through the inverse (columns i, j, k) of the matrix of half axes."""
    px, py, pz, ix, iy, iz, jx, jy, jz, kx, ky, kz = column
    dx, dy = x - px, y - py
    qx, qy, qz = ix * dx + jx * dy, iy * dx + jy * dy, iz * dx + jz * dy
    a = square(kx, ky, kz).clamp(min=TINY)
    b = qx * kx + qy * ky + qz * kz
    root = (b * b - a * (square(qx, qy, qz) - 1)).clamp(min=0)
    m = 1 - (b * b - a * (square(qx, qy, qz) - 1)) / a  # squared radius within the outline
    along = b / a
    ex, ey, ez = qx - along * kx, qy - along * ky, qz - along * kz
    gx, gy = ix * ex + iy * ey + iz * ez, jx * ex + jy * ey + jz * ez
    distance = (m - 1) / (2 * square_root(square(gx, gy))).clamp(min=TINY) * scale
    z = (square_root(root) - b) / a
    qx, qy, qz = qx + z * kx, qy + z * ky, qz + z * kz
    normal = (qx * ix + qy * iy + qz * iz, qx * jx + qy * jy + qz * jz, qx * kx + qy * ky + qz * kz)
    return pz + z, distance, *normal, (qx * 0.5 + 0.5).clamp(0, 1)


def _slab(column: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor, scale: float) -> Solved:
    """A parallelepiped: the line of sight leaves it through the nearest of three faces; its outline is a hexagon."""
    px, py, pz, ix, iy, iz, jx, jy, jz, kx, ky, kz, *axes = column
    dx, dy = x - px, y - py
    q = [ix * dx + jx * dy, iy * dx + jy * dy, iz * dx + jz * dy]
    slope = [torch.where(k.abs() < TINY, TINY, k) for k in (kx, ky, kz)]
    leave = [torch.maximum((1 - one) / k, (-1 - one) / k) for one, k in zip(q, slope, strict=True)]
    z = torch.minimum(torch.minimum(leave[0], leave[1]), leave[2])
    first, second = leave[0] == z, leave[1] == z
    second = second & ~first
    third = ~(first | second)
    sign = [torch.where(k > 0, on.float(), -on.float()) for k, on in zip(slope, (first, second, third), strict=True)]
    normal = [sum_of(sign, row) for row in ((ix, iy, iz), (jx, jy, jz), (kx, ky, kz))]
    distance = torch.full_like(x, -FAR)
    for one, others in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
        nx, ny = -axes[2 * one + 1], axes[2 * one]
        length = square_root(square(nx, ny))
        support = sum((nx * axes[2 * o] + ny * axes[2 * o + 1]).abs() for o in others)
        side = ((nx * dx + ny * dy).abs() - support) / length.clamp(min=TINY)
        distance = torch.maximum(distance, torch.where(length > 1e-5, side, distance))
    return pz + z, distance * scale, *normal, ((q[0] + z * kx) * 0.5 + 0.5).clamp(0, 1)


def sum_of(weights: list[torch.Tensor], row: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Weighted sum of three columns."""
    return weights[0] * row[0] + weights[1] * row[1] + weights[2] * row[2]


def _inverse(primitives: torch.Tensor) -> list[torch.Tensor]:
    """Inverse of the matrix of half axes as nine columns: three for x, three for y, three for z."""
    (ux, uy, uz), (vx, vy, vz), (wx, wy, wz) = (primitives[:, axis].unbind(1) for axis in (U, V, W))
    ax, ay, az = vy * wz - vz * wy, vz * wx - vx * wz, vx * wy - vy * wx
    bx, by, bz = wy * uz - wz * uy, wz * ux - wx * uz, wx * uy - wy * ux
    cx, cy, cz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    volume = ux * ax + uy * ay + uz * az
    over = 1 / torch.where(volume.abs() < 1e-12, 1e-12, volume)
    return [one * over for one in (ax, bx, cx, ay, by, cy, az, bz, cz)]


def rectangles(
    low: torch.Tensor, high: torch.Tensor, size: int, capsules: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All pixels of boxes: index of the box, column and row of each pixel, int64 (F).

    Args:
        low: (M, 2), lower left corners.
        high: (M, 2), upper right corners.
        size: height and width of the image in pixels.
        capsules: (M, FIELDS), capsules in the boxes; rows are then cut to their width.
    """
    half = size / 2
    y0 = ((1 - high[:, 1]) * half - 1).floor().clamp(0, size).long()
    y1 = ((1 - low[:, 1]) * half + 1).ceil().clamp(0, size).long()
    # First one entry per row of each box, then one per pixel of each row, which needs no division.
    height = (y1 - y0).clamp(min=0)
    box = torch.repeat_interleave(height)
    row = torch.arange(len(box)) - pick(height.cumsum(0) - height - y0, box)
    left, right = pick(low[:, 0], box), pick(high[:, 0], box)
    if capsules is not None:
        left, right = _chord(capsules, box, 1 - (row.float() + 0.5) / half, 1.5 / half, left, right)
    x0 = ((left + 1) * half - 1).floor().clamp(0, size).long()
    width = (((right + 1) * half + 1).ceil().clamp(0, size).long() - x0).clamp(min=0)
    line = torch.repeat_interleave(width)
    column = torch.arange(len(line)) - pick(width.cumsum(0) - width - x0, line)
    return pick(box, line), column, pick(row, line)


def _chord(
    capsules: torch.Tensor,
    box: torch.Tensor,
    y: torch.Tensor,
    margin: float,
    left: torch.Tensor,
    right: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Start and end of rows at height y (R) in the capsules `box` (R), at most from `left` to `right`."""
    px, py, ux, uy, ra, rb = (pick(capsules[:, i], box) for i in (0, 1, 3, 4, RA, RB))
    reach = torch.maximum(ra, rb)
    near = reach + margin
    over = 1 / torch.where(uy.abs() < 1e-4, 1e-4, uy)
    one, other = (y - near - py) * over, (y + near - py) * over
    # A row crosses a level capsule along its whole length.
    one, other = (
        torch.where(uy.abs() < 1e-4, 0.0, one).clamp(0, 1),
        torch.where(uy.abs() < 1e-4, 1.0, other).clamp(0, 1),
    )
    a, b = px + one * ux, px + other * ux
    return torch.maximum(left, torch.minimum(a, b) - reach), torch.minimum(right, torch.maximum(a, b) + reach)


def fragments(
    primitives: torch.Tensor, image: torch.Tensor, size: int, shape: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fragments of all primitives of one shape.

    Returns:
        primitive int64 (F), pixel int64 (F), and depth, distance, normal, t as float32 (6, F) of the fragments that
        cover at least a part of their pixel.
    """
    rows = (primitives[:, SHAPE] == shape).nonzero().squeeze(1)
    chosen = primitives[rows]
    low, high = extent(chosen)
    which, column, line = rectangles(low[:, :2], high[:, :2], size, chosen if shape == CAPSULE else None)
    if shape == CAPSULE:
        solve, columns = _capsule, _sweep(chosen)
    else:
        columns = [*chosen[:, P].unbind(1), *_inverse(chosen)]
        solve = _ellipsoid if shape == ELLIPSOID else _slab
        if shape == SLAB:
            columns += [chosen[:, i] for i in (3, 4, 6, 7, 9, 10)]
    x, y = centre(line, column, size)
    solved = torch.stack(solve([pick(one, which) for one in columns], x, y, size / 2))
    keep = (solved[1] < 0.5).nonzero().squeeze(1)
    which = pick(rows, pick(which, keep))
    pixel = (pick(image, which) * size + pick(line, keep)) * size + pick(column, keep)
    return which, pixel, pick(solved, keep)


def rasterize(primitives: torch.Tensor, image: torch.Tensor, count: int, size: int) -> Surface:
    """Find the visible surface.

    Args:
        primitives: float32 (M, FIELDS) in view coordinates, of all images.
        image: int64 (M), the image of each primitive.
        count: number of images.
        size: height and width in pixels.
    """
    parts = [fragments(primitives, image, size, shape) for shape in (CAPSULE, ELLIPSOID, SLAB)]
    which, pixel = (torch.cat([part[i] for part in parts]) for i in (0, 1))
    depth, distance, nx, ny, nz, t = torch.cat([part[2] for part in parts], dim=1)
    depth = depth.clamp(-0.49 * FAR, 0.49 * FAR)  # a face seen edge-on has no end

    nearest = torch.full((count * size * size,), -4 * FAR)
    key = depth - (distance > 0).float() * FAR
    nearest.scatter_reduce_(0, pixel, key, "amax")
    seen = (nearest > -3 * FAR).nonzero().squeeze(1)
    compact = torch.empty(count * size * size, dtype=torch.int64)
    compact.index_copy_(0, seen, torch.arange(len(seen)))
    slot = pick(compact, pixel)
    top = pick(nearest, pixel)

    candidate = (which + 1) * (key == top)
    owner = torch.zeros(len(seen), dtype=torch.int64).scatter_reduce_(0, slot, candidate, "amax") - 1
    holder = pick(owner, slot)
    edge = torch.full((len(seen),), FAR).scatter_reduce_(0, slot, distance, "amin")

    # Soft union: surfaces less than `soft` behind the nearest one also contribute to colour and normal.
    soft = primitives[:, SOFT]
    reach = torch.minimum(pick(soft, which), pick(soft, holder))
    weight = (1 - (top - key) / reach.clamp(min=TINY)).clamp(min=0)
    melts = ((weight > 0) & ((reach > TINY) | (which == holder))).nonzero().squeeze(1)
    weight, which, slot, t = pick(weight, melts), pick(which, melts), pick(slot, melts), pick(t, melts)
    weight = weight * weight
    nx, ny, nz = pick(nx, melts), pick(ny, melts), pick(nz, melts)
    over = weight / square_root(nx * nx + ny * ny + nz * nz).clamp(min=TINY)
    look = primitives[:, [*range(COLOUR.start, TIP.stop), PATTERN, BELLY, ALONG, ALONG_END]].T.contiguous()
    r0, g0, b0, r1, g1, b1, pattern, belly, s0, s1 = (pick(one, which) for one in look)
    values = (
        nx * over, ny * over, nz * over,
        (r0 + (r1 - r0) * t) * weight, (g0 + (g1 - g0) * t) * weight, (b0 + (b1 - b0) * t) * weight,
        pattern * weight, belly * weight, (s0 + (s1 - s0) * t) * weight,
    )  # fmt: skip
    share = 1 / torch.zeros(len(seen)).scatter_add_(0, slot, weight).clamp(min=TINY)
    total = torch.stack([torch.zeros(len(seen)).scatter_add_(0, slot, one) * share for one in values])
    best = pick(nearest, seen)
    return Surface(
        pixel=seen,
        depth=best + (best < -FAR / 2).float() * FAR,
        normal=total[0:3],
        colour=total[3:6],
        along=total[8],
        pattern=total[6],
        belly=total[7],
        gloss=pick(primitives[:, GLOSS], owner),
        part=pick(primitives[:, PART], owner).to(torch.uint8),
        edge=edge,
    )
