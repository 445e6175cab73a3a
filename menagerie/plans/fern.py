"""Ferns: arching fronds from one root, each a rib with leaflets."""

import torch

from menagerie.anatomy import QUARTER, Body, Vector, cross, heading, mix, scaled, unit, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits

FRONDS = 6
LEAFLETS = 8  # pairs on each frond


def fern(t: Traits, draws: Draws) -> Body:
    """A tuft of fronds that rise from one root and bend over to all sides."""
    body = Body(len(t), gloss=t.gloss, soft=0.02)
    turn = draws.number(-0.3, 0.3)
    for i in range(FRONDS):
        _frond(body, t, draws, turn + i * (6.2832 / FRONDS) + draws.number(-0.25, 0.25))
    return body


def _frond(body: Body, t: Traits, draws: Draws, azimuth: torch.Tensor) -> None:
    flat = torch.zeros(len(t))
    length = t.frond_length * draws.number(0.8, 1.1)
    steep = t.frond_angle + draws.number(-0.2, 0.2)
    level, rising = heading(flat, azimuth, 0.0), heading(flat, azimuth, steep)
    root = scaled(level, 0.04)
    over = length * t.arch
    end = root + scaled(rising, length * 0.55) + scaled(level, over) - vector(flat, over * 0.35, flat)
    bend = root + scaled(rising, length * 0.62)

    def along(share: float) -> Vector:
        return mix(mix(root, bend, share), mix(bend, end, share), share)

    body.chain([root, along(0.5), end], [0.016 + flat, 0.012 + flat, 0.004 + flat],
               part="stem", colour=t.stem, belly=0.0)  # fmt: skip
    aside = heading(flat, azimuth + QUARTER, 0.0)
    # Fronds to the sides face the viewer; edge-on, they would be thin lines.
    face = level[:, 0].abs() * draws.number(0.55, 0.85)
    for j in range(LEAFLETS):
        share = 0.20 + 0.77 * j / (LEAFLETS - 1)
        breadth = t.leaflet * length * min(1.0, 0.55 + 1.6 * share) * (1.04 - share * share)
        ahead = unit(along(min(1.0, share + 0.06)) - along(share - 0.06))
        across = unit(scaled(aside, 1 - face) + scaled(cross(aside, ahead), face))
        body.ball(along(share), (breadth, length * 0.010, length * t.leaflet_width), across, cross(across, ahead),
                  part="leaf", colour=mix(t.leaf, t.leaf_tip, share), belly=0.25, soft=0.01)  # fmt: skip
