"""What momentum, Adam and Muon do with a gradient."""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from imgcls.plots import theme
from imgcls.training.muon import QUINTIC, newton_schulz

CURVATURE = (1.0, 20.0)  # of the valley along its two weights: flat and steep
START = (-4.0, 1.0)
STEPS = 30


def valley_paths(steps: int = STEPS) -> dict[str, np.ndarray]:
    """The two weights, (steps + 1, 2), on their way down L = (w₁² + 20 w₂²) / 2 with three optimizers of PyTorch."""
    ways = {
        "gradient descent": (torch.optim.SGD, {"lr": 0.03}),
        "momentum": (torch.optim.SGD, {"lr": 0.03, "momentum": 0.8}),
        "Adam": (torch.optim.Adam, {"lr": 0.3}),
    }
    return {name: _path(kind, options, steps) for name, (kind, options) in ways.items()}


def _path(kind: type[torch.optim.Optimizer], options: dict[str, Any], steps: int) -> np.ndarray:
    weights = torch.nn.Parameter(torch.tensor(START))
    optimizer, visited = kind([weights], **options), [START]
    for _ in range(steps):
        weights.grad = torch.tensor(CURVATURE) * weights.detach()
        optimizer.step()
        visited.append(tuple(weights.tolist()))
    return np.array(visited)


def step_spectra(gradient: Tensor) -> dict[str, np.ndarray]:
    """Singular values of the first step that each optimizer takes on a layer, largest first, as a share of the first.

    The first step of momentum is that of gradient descent.

    Args:
        gradient: Of the loss at the weights of the layer, (filters, …).
    """
    matrix = gradient.detach().cpu().float().flatten(1)
    steps = {
        "gradient descent": matrix,
        "Adam": matrix.sign(),  # each entry is divided by its own size
        "Muon": newton_schulz(matrix[None], QUINTIC)[0],
    }
    values = {name: torch.linalg.svdvals(step).numpy() for name, step in steps.items()}
    return {name: value / value[0] for name, value in values.items()}


@theme.themed
def optimizer_steps(gradient: Tensor) -> Figure:
    """Paths of three optimizers down a valley of two weights, and the singular values of first steps on a layer.

    Args:
        gradient: Of the loss at the weights of the layer, (filters, …).
    """
    figure, (valley, spectrum) = theme.canvas(height=3.7, ncols=2)
    theme.dress(valley, grid="")  # the lines of equal loss are its grid
    turn = np.linspace(0, 2 * np.pi, 200)
    for loss in np.geomspace(0.2, 20, 5):  # lines of equal loss are ellipses
        flat, steep = (np.sqrt(2 * loss / curvature) for curvature in CURVATURE)
        valley.plot(flat * np.cos(turn), steep * np.sin(turn), color=theme.MUTED, linewidth=0.6)
    drawn = {}
    for name, path, colour, marker in theme.series(valley_paths(), "optimizer_steps"):
        (drawn[name],) = valley.plot(*path.T, color=colour, marker=marker, markersize=3.5, linewidth=1.2, label=name)
    valley.plot(0, 0, "*", color=theme.INK, markersize=12, zorder=4)
    valley.set(xlim=(-4.6, 2.2), ylim=(-1.5, 1.5), xlabel="flat direction", ylabel="steep direction")
    valley.set_title(f"two weights, {STEPS} steps")
    for name, values in step_spectra(gradient).items():
        colour = drawn[name].get_color() if name in drawn else theme.SERIES[len(drawn)]
        (line,) = spectrum.plot(range(1, 1 + len(values)), values, color=colour, linewidth=2, label=name)
        drawn.setdefault(name, line)
    spectrum.set(title="first step on a layer", xlabel="singular values of the step, by size", ylim=(0, 1.05))
    spectrum.set_ylabel("size, share of the largest")
    theme.percent_axis(spectrum.yaxis)
    theme.figure_legend(figure, list(drawn.values()), columns=4)
    return figure
