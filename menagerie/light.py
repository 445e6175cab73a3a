"""Light on a body, and the shadow of the body on the ground."""

from functools import cache

import torch

from menagerie import coat as coats
from menagerie.anatomy import CAPSULE, PARTS, RA, RB, SHAPE, P, U, V, W
from menagerie.coat import Coat
from menagerie.draws import square_root
from menagerie.raster import Surface, centre, locate, pick, present, rectangles, square
from menagerie.scene import Scene
from menagerie.view import View, back

WRAP = 0.2  # wrapped diffuse: how far light reaches beyond the terminator, as on fur and skin
RIM = 0.28  # darkening of surfaces seen at a grazing angle
SHARPNESS = 5  # the highlight is the 2**SHARPNESS-th power of a cosine
PENUMBRA = 0.10  # width of a shadow's edge, in half image widths
# How much fur frays the outline of each part; thin and hard parts keep their edge.
FRAYED = {
    "trunk": 1.0, "neck": 1.0, "head": 0.8, "mane": 1.0, "tail": 0.7, "leg": 0.5, "arm": 0.5, "crown": 1.0, "ear": 0.3,
}  # fmt: skip


def lit(surface: Surface, coat: Coat, view: View, scene: Scene, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear light (3, S) of every pixel of a surface, and its distance to the outline in pixels (S).

    The sum of a key light (wrapped Lambert), light from the sky and from the ground, and a highlight (Blinn).
    """
    who, row, column = locate(surface.pixel, size)
    spot = back(view, who, *centre(row, column, size), surface.depth)
    nx, ny, nz = surface.normal / square_root(square(*surface.normal)).clamp(min=1e-4)
    m = pick(view.turn[:, :, 1].T, who)
    up = nx * m[0] + ny * m[1] + nz * m[2]
    painted, relief, fray = coats.paint(surface, coat, who, spot, up)

    lx, ly, lz = pick(scene.light.T, who)
    facing = nx * lx + (ny + relief) * ly + (nz + relief) * lz
    diffuse = (facing * (1 - WRAP) + WRAP).clamp(min=0)
    glance = (nx * lx + ny * ly + nz * (lz + 1)).clamp(min=0) / square_root(square(lx, ly, lz + 1))
    for _ in range(SHARPNESS):
        glance = glance * glance
    rim = (1 - RIM) + RIM * nz.clamp(min=0)
    above = 0.5 + 0.5 * up
    result = []
    for channel in range(3):
        key = pick(scene.key[:, channel], who)
        fill = pick(scene.bounce[:, channel], who)
        fill = fill + (pick(scene.ambient[:, channel], who) - fill) * above
        result.append(painted[channel] * (key * diffuse + fill) * rim + key * glance * surface.gloss)
    fray = fray * pick(_frayed(), surface.part.long()) * pick(view.scale, who) * (size / 2)
    return torch.stack(result), surface.edge + fray


@cache
def _frayed() -> torch.Tensor:
    """FRAYED by the value of the part map."""
    return torch.tensor([0.0] + [FRAYED.get(part, 0.0) for part in PARTS])


def shade(subject: torch.Tensor, view: View, scene: Scene, size: int) -> torch.Tensor:
    """Share of the light that reaches the ground past the subject, (N, H, W): 1 where no shadow falls.

    Every primitive, taken as a capsule, is thrown along the key light onto the plane under the feet, where its
    shadow is a capsule again; distances are measured in that plane.
    """
    count, many = subject.shape[:2]
    image_of = torch.arange(count)[:, None].expand(count, many)[there := present(subject) & (scene.shadow > 0)[:, None]]
    chosen = subject[there]
    cosine, sine = (one[image_of] for one in view.pitch)
    sine = sine.clamp(min=0.02)
    floor = (view.ground * view.scale)[image_of]
    dx, dy, dz = view.shift.T[:, image_of]
    lx, ly, lz = scene.light.T[:, image_of]
    ly, lz = ly * cosine + lz * sine, lz * cosine - ly * sine
    lean = 1 / ly.clamp(min=0.4)

    a, b, radius = _as_capsules(chosen)
    feet = []
    for end in (a, b):
        x, y, z = end[:, 0] - dx, end[:, 1] - dy, end[:, 2] - dz
        height, z = y * cosine + z * sine - floor, z * cosine - y * sine
        feet.append((x - height * lx * lean, z - height * lz * lean))
    (ax, az), (bx, bz) = feet
    level, reach = floor * cosine + dy, radius + PENUMBRA / 2
    low = torch.stack([torch.minimum(ax, bx) - reach + dx, level - (torch.maximum(az, bz) + reach) * sine], dim=1)
    high = torch.stack([torch.maximum(ax, bx) + reach + dx, level - (torch.minimum(az, bz) - reach) * sine], dim=1)
    which, column, row = rectangles(low, high, size)
    x, y = centre(row, column, size)
    x, z = x - pick(dx, which), (pick(level, which) - y) / pick(sine, which)
    px, pz = x - pick(ax, which), z - pick(az, which)
    ux, uz = pick(bx - ax, which), pick(bz - az, which)
    t = ((px * ux + pz * uz) / square(ux, uz).clamp(min=1e-6)).clamp(0, 1)
    distance = square_root(square(px - t * ux, pz - t * uz)) - pick(radius, which)
    dark = (0.5 - distance * (1 / PENUMBRA)).clamp(0, 1)
    result = torch.zeros(count * size * size)
    result.scatter_reduce_(0, (pick(image_of, which) * size + row) * size + column, dark, "amax")
    y = 1 - (torch.arange(size) + 0.5) * (2 / size)
    strength = torch.where(y < scene.numbers[:, :1], scene.shadow[:, None], 0.0)  # none above the horizon
    return 1 - result.view(count, size, size) * strength[:, :, None]


def _as_capsules(primitives: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Both ends (M, 3) and the radius (M) of capsules about as large as the primitives (M, FIELDS)."""
    u, v, w = (primitives[:, axis] for axis in (U, V, W))
    length, height, width = (square_root(square(*one.unbind(1))).clamp(min=1e-6) for one in (u, v, w))
    girth = torch.maximum(height, width) * 0.9
    inner = ((length - girth) / length).clamp(min=0)[:, None] * u
    capsule = primitives[:, SHAPE] == CAPSULE
    start, many = primitives[:, P], capsule[:, None]
    radius = torch.where(capsule, torch.maximum(primitives[:, RA], primitives[:, RB]), girth)
    return torch.where(many, start, start - inner), start + torch.where(many, u, inner), radius
