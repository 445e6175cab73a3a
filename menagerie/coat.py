"""The coat of a body: marks, belly colour and texture.

Marks depend on the position on the body, not on the screen, so they do not move with the viewpoint. Stripes follow each
limb by the stripe coordinate of its primitives.
"""

from dataclasses import dataclass

import torch

from menagerie import noise
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.raster import Surface, pick

PATTERNS = ("plain", "stripes", "spots", "rosettes", "patches", "scales", "speckles", "bands")
# Strength of the texture, its cells per unit of length, its relief, how far it frays the outline, and its scale along
# the body.
TEXTURES = {
    "bark": (0.30, 16.0, 0.50, 0.0, 1.0),
    "feather": (0.12, 28.0, 0.10, 0.008, 0.4),
    "foliage": (0.35, 14.0, 0.80, 0.06, 1.0),
    "fur": (0.16, 36.0, 0.12, 0.022, 0.3),
    "hide": (0.10, 18.0, 0.10, 0.0, 1.0),
    "scales": (0.12, 30.0, 0.15, 0.0, 1.0),
    "skin": (0.05, 10.0, 0.05, 0.0, 1.0),
    "smooth": (0.0, 8.0, 0.0, 0.0, 1.0),
    "wool": (0.20, 12.0, 0.50, 0.035, 1.0),
}


@dataclass(frozen=True, eq=False)
class Coat:
    """Properties that all primitives of an individual share, one row per individual."""

    pattern: torch.Tensor  # int64 (N), index into PATTERNS
    mark: torch.Tensor  # (N, 3), colour of the marks
    belly: torch.Tensor  # (N, 3)
    numbers: torch.Tensor  # (N, 8): marks per unit of length, their amount and contrast, five columns of TEXTURES
    shift: torch.Tensor  # (N, 3), offset in the noise, in cells


def coat(traits: Traits, draws: Draws) -> Coat:
    """Coats of individuals, each with its marks in different places."""
    texture = torch.tensor([TEXTURES[str(one["texture"])] for one in traits.rows])
    marks = torch.stack([traits.mark_scale, traits.mark_amount, traits.mark_contrast], dim=1)
    return Coat(
        pattern=torch.tensor([PATTERNS.index(str(one["pattern"])) for one in traits.rows]),
        mark=traits.mark,
        belly=traits.belly,
        numbers=torch.cat([marks, texture], dim=1),
        shift=draws.uniform(0, noise.CELLS, (3,)),
    )


def _ramp(x: torch.Tensor, low: torch.Tensor | float, width: float) -> torch.Tensor:
    """0 below `low`, 1 above `low` + `width`, linear between."""
    return ((x - low) / width).clamp(0, 1)


def paint(
    surface: Surface, coat: Coat, who: torch.Tensor, place: torch.Tensor, up: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Colour of every pixel before lighting.

    Args:
        surface: the pixels.
        coat: of all individuals.
        who: int64 (S), index of the individual of each pixel.
        place: (3, S), position on the body in its own frame.
        up: (S), upward component of the normal in the body's frame, 1 on the back.

    Returns:
        colour (3, S); relief (S), added to the normal; fray (S), by how much the outline recedes, in body units.
    """
    scale, amount, contrast, roughness, grain, relief, fray, stretch = pick(coat.numbers.T, who)
    kind = pick(coat.pattern, who)
    shift = pick(coat.shift.T, who)
    spot = noise.index3(*(place[i] * scale + shift[i] for i in range(3)))
    rough = pick(noise.volume(), spot)
    near, next_near = (pick(one, spot) for one in noise.spots())

    # A triangle wave of the stripe coordinate, bent by noise; marks fade towards the belly.
    phase = surface.along * scale + (rough - 0.5) * 1.1
    wave = ((phase - phase.floor()) * 2 - 1).abs()
    straight = surface.along * scale + (rough - 0.5) * 0.15
    band = ((straight - straight.floor()) * 2 - 1).abs()
    fields = {
        "stripes": _ramp(wave, 1 - amount - 0.15 * up, 0.18),
        "spots": _ramp(-near, -amount, 0.10),
        "rosettes": _ramp(0.13 - (near - amount * 0.8).abs(), 0.0, 0.08) + 0.35 * (near < amount * 0.8),
        "patches": _ramp(rough, 1 - amount, 0.05),
        "scales": _ramp(0.16 - (next_near - near), 0.0, 0.12),
        "speckles": _ramp(-near, -amount * (0.6 + 0.8 * rough), 0.2),
        "bands": _ramp(band, 1 - amount, 0.10),
    }
    mark = torch.zeros_like(wave)
    for name, field in fields.items():
        mark += field * (kind == PATTERNS.index(name))
    mark = (mark * contrast * surface.pattern).clamp(0, 1)
    below = _ramp(-up, 0.05, 0.7) * surface.belly

    grains = (grain * stretch, grain, grain)
    fine = pick(noise.volume(), noise.index3(*(place[i] * grains[i] + shift[2 - i] for i in range(3))))
    tone = 1 + roughness * 1.6 * (fine - 0.5) + roughness * 0.5 * (rough - 0.5)
    painted = []
    for base, light, colour in zip(surface.colour, coat.belly.T, coat.mark.T, strict=True):
        base = base + (pick(light, who) - base) * below
        painted.append((base + (pick(colour, who) - base) * mark) * tone)
    return torch.stack(painted), (fine - 0.5) * relief, fine * fray
