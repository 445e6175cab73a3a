"""Periodic 3-D noise for coats, computed once and then looked up."""

from functools import cache

import torch

from menagerie.draws import Draws, square_root

CELL = 8  # samples per cell of the noise
CELLS = 16  # cells per period, each way
SIDE = CELL * CELLS


def _smooth(grid: torch.Tensor, axis: int) -> torch.Tensor:
    """Interpolate a periodic grid along one axis with cubic easing, CELL samples per cell."""
    weight = (torch.arange(CELL) + 0.5) / CELL
    weight = weight * weight * (3 - 2 * weight)
    shape = [1] * (grid.dim() + 1)
    shape[axis + 1] = CELL
    weight = weight.view(shape)
    here, there = grid.unsqueeze(axis + 1), grid.roll(-1, axis).unsqueeze(axis + 1)
    return (here + (there - here) * weight).flatten(axis, axis + 1)


@cache
def volume() -> torch.Tensor:
    """Smooth noise in [0, 1), flat (SIDE³), z fastest."""
    grid = Draws("volume", torch.zeros(1, dtype=torch.int64)).uniform(shape=(CELLS, CELLS, CELLS))[0]
    for axis in range(3):
        grid = _smooth(grid, axis)
    return grid.flatten()


@cache
def spots() -> tuple[torch.Tensor, torch.Tensor]:
    """Worley noise: distance to the nearest and second nearest of one point per cell, in cells, each flat (SIDE³)."""
    points = Draws("cells", torch.zeros(1, dtype=torch.int64)).uniform(0.1, 0.9, (3, CELLS, CELLS, CELLS))[0]
    inside = (torch.arange(CELL) + 0.5) / CELL
    near = torch.full((CELLS, CELL, CELLS, CELL, CELLS, CELL), 9.0)
    second = near.clone()
    for step in torch.cartesian_prod(*[torch.arange(-1, 2)] * 3).tolist():
        other = points.roll([-one for one in step], (1, 2, 3))
        square = torch.zeros(1)
        for axis in range(3):
            shape = [1] * 6
            shape[2 * axis + 1] = CELL
            delta = other[axis].view(CELLS, 1, CELLS, 1, CELLS, 1) + step[axis] - inside.view(shape)
            square = square + delta * delta
        second = torch.minimum(second, torch.maximum(near, square))
        near = torch.minimum(near, square)
    return square_root(near).flatten(), square_root(second).flatten()


def index3(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Index into `volume` or `spots` of a position in cells."""
    x, y, z = ((one * CELL).floor().long() & (SIDE - 1) for one in (x, y, z))
    return (x * SIDE + y) * SIDE + z
