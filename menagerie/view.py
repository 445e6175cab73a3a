"""The view: rotate a body, scale it to the frame and move it to its position."""

import math
from dataclasses import dataclass

import torch

from menagerie.anatomy import PART, RA, RB, SOFT, P, U, V, W
from menagerie.draws import cos_sin
from menagerie.raster import extent, pick, present


@dataclass(frozen=True, eq=False)
class View:
    """Map from body to view coordinates: rotate by `turn`, multiply by `scale`, add `shift`."""

    turn: torch.Tensor  # (N, 3, 3)
    scale: torch.Tensor  # (N,)
    shift: torch.Tensor  # (N, 3)
    pitch: tuple[torch.Tensor, torch.Tensor]  # cosine and sine of the camera's elevation, each (N,)
    ground: torch.Tensor  # (N,), lowest point of the body in body coordinates


def turning(yaw: torch.Tensor, pitch: torch.Tensor, roll: torch.Tensor) -> torch.Tensor:
    """Matrices (N, 3, 3): roll about the z axis, yaw about the vertical, then pitch of the camera.

    A head to the left is a mirrored view, not the other flank, so that the side that faces the viewer (the face of a
    flower, the back of a beetle on a stem) stays visible.
    """
    mirrored = cos_sin(yaw)[0] < 0
    yaw = torch.where(mirrored, math.pi - yaw, yaw)
    (cy, sy), (cp, sp), (cr, sr) = cos_sin(yaw), cos_sin(pitch), cos_sin(roll)
    zero, one = torch.zeros_like(cy), torch.ones_like(cy)
    about_z = torch.stack([cr, -sr, zero, sr, cr, zero, zero, zero, one], dim=1).view(-1, 3, 3)
    about_y = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], dim=1).view(-1, 3, 3)
    about_x = torch.stack([one, zero, zero, zero, cp, -sp, zero, sp, cp], dim=1).view(-1, 3, 3)
    matrix = _product(about_x, _product(about_y, about_z))
    matrix[:, 0] = torch.where(mirrored[:, None], -matrix[:, 0], matrix[:, 0])
    return matrix


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Matrix product (N, 3, 3) in a fixed order of additions."""
    return sum(a[:, :, i, None] * b[:, i, None, :] for i in range(3))


def turned(vectors: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Vectors (N, M, 3) times matrices (N, 3, 3)."""
    return sum(vectors[:, :, i, None] * matrix[:, None, :, i] for i in range(3))


def place(
    primitives: torch.Tensor,
    turn: torch.Tensor,
    pitch: torch.Tensor,
    target: torch.Tensor,
    centre: torch.Tensor,
) -> tuple[torch.Tensor, View]:
    """Rotate bodies and fit them to the frame.

    Args:
        primitives: (N, M, FIELDS) in body coordinates.
        turn: (N, 3, 3), from `turning`.
        pitch: (N,), the pitch of `turn`, radians.
        target: (N,), longer side of the bounding box in the view; the image is 2 wide.
        centre: (N, 2), centre of that box in the view.
    """
    if not primitives.shape[1]:
        return primitives, View(turn, torch.ones_like(pitch), torch.zeros(len(pitch), 3), cos_sin(pitch), pitch)
    there = present(primitives)
    low, _ = extent(primitives)
    ground = torch.where(there, low[:, :, 1], 1e3).amin(dim=1)
    result = primitives.clone()
    for axis in (P, U, V, W):
        result[:, :, axis] = turned(primitives[:, :, axis], turn)
    low, high = extent(result)
    own = (there & (primitives[:, :, PART] > 0))[..., None]  # fit the bird to the frame, not its branch
    low = torch.where(own, low, 1e3).amin(dim=1)
    high = torch.where(own, high, -1e3).amax(dim=1)
    size = torch.maximum(high[:, 0] - low[:, 0], high[:, 1] - low[:, 1])
    scale = target / size
    middle = (low + high) * 0.5
    shift = torch.cat([centre - middle[:, :2] * scale[:, None], -middle[:, 2:] * scale[:, None]], dim=1)
    for axis in (P, U, V, W):
        result[:, :, axis] = result[:, :, axis] * scale[:, None, None]
    result[:, :, P] = result[:, :, P] + shift[:, None]
    for column in (RA, RB, SOFT):
        result[:, :, column] = result[:, :, column] * scale[:, None]
    return result, View(turn, scale, shift, cos_sin(pitch), ground)


def back(view: View, who: torch.Tensor, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Positions in body coordinates (3, S) of view coordinates, each (S)."""
    over = pick(1 / view.scale, who)
    sx, sy, sz = pick(view.shift.T, who)
    x, y, z = (x - sx) * over, (y - sy) * over, (z - sz) * over
    m = pick(view.turn.permute(1, 2, 0).reshape(9, -1), who)
    return torch.stack([m[i] * x + m[3 + i] * y + m[6 + i] * z for i in range(3)])
