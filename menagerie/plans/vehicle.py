"""Parts shared by vehicles: paint, wheels, tapered plates, rotation of whole bodies."""

import torch

from menagerie.anatomy import FIELDS, Body, Number, Vector, mix, scaled, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits, linear
from menagerie.raster import present
from menagerie.view import turned, turning

Palette = tuple[tuple[str, float], ...]  # colours "#rrggbb", each with its weight


class Machine(Body):
    """A body with sharp edges and, by default, no marks and no belly colour."""

    def __init__(self, count: int, gloss: Number) -> None:
        super().__init__(count, gloss, soft=0.0)

    def _add(self, *geometry: object, pattern: Number = 0.0, belly: Number = 0.0, **look: object) -> None:
        super()._add(*geometry, pattern=pattern, belly=belly, **look)

    def stack(self) -> torch.Tensor:
        """As for `Body`, with absent primitives last, and without those that no individual has."""
        every = super().stack()
        there = present(every)
        order = torch.sort(there.int(), dim=1, descending=True, stable=True).indices
        order = order[:, : int(there.sum(dim=1).max())]
        return every.gather(1, order[:, :, None].expand(-1, -1, FIELDS))


def fixed(like: torch.Tensor, colour: str) -> Vector:
    """One colour "#rrggbb" for every individual, linear RGB (N, 3)."""
    return torch.tensor([linear(colour)]).expand(len(like), 3)


def palette(draws: Draws, colours: Palette) -> Vector:
    """Random colour of a palette per individual, linear RGB (N, 3)."""
    return torch.tensor([linear(colour) for colour, _ in colours])[draws.pick(*(weight for _, weight in colours))]


def paint(t: Traits, draws: Draws, own: Vector, colours: Palette) -> Vector:
    """Colour of the kind, or of a palette where the trait `paint` is "varied", linear RGB (N, 3)."""
    drawn = (palette(draws, colours) * t.tone).clamp(0, 1)
    return torch.where(t.equals("paint", "varied")[:, None], drawn, own)


def given(there: torch.Tensor, size: Number) -> torch.Tensor:
    """The size of a ball or slab where a part exists, else 0, which leaves it out."""
    return torch.where(there, size, 0.0)


def tube(there: torch.Tensor, radius: Number) -> torch.Tensor:
    """The radius of a capsule where a part exists, else -1, which leaves it out."""
    return torch.where(there, radius, -1.0)


def plate(
    body: Body, root: Vector, chord: Vector, tip: Vector, taper: Number, depth: Vector, strips: int, **look: object
) -> None:
    """A tapered plate (wing, fin, sail, bow, cabin) as a fan of strips, since a slab cannot taper.

    Args:
        body: gets `strips` primitives.
        root: one corner of the broad side, (N, 3).
        chord: along the broad side, from this corner to the other.
        tip: the corner of the narrow side that follows `root`.
        taper: narrow side over broad side; not below one over `strips`.
        depth: half the thickness; a chord of length zero leaves the plate out.
        strips: number of slabs; more give a smoother taper.
        look: as for `Body.skew`.
    """
    share = torch.as_tensor(taper, dtype=torch.float32).clamp(min=1 / strips)
    width = scaled(chord, share.expand(len(root)))
    for i in range(strips):
        start = root + (chord - width) * (i / (strips - 1))
        body.skew(mix(start, tip, 0.5) + width * 0.5, (tip - start) * 0.5, depth, width * 0.5, **look)


def wheel(
    body: Body, there: torch.Tensor, centre: Vector, radius: torch.Tensor, width: Number, side: float, hub: Vector
) -> None:
    """An upright wheel: a tyre and, on the outer side, a hub."""
    thick = width * torch.ones_like(radius)
    tyre = fixed(radius, "#1b1b1d")
    body.ball(centre, (given(there, radius), radius, thick), part="wheel", colour=tyre, gloss=0.03, soft=0.0)
    outside = centre + vector(0.0, 0.0, side * thick * 0.62)
    size = radius * 0.56
    body.ball(outside, (given(there, size), size, thick * 0.55), part="wheel", colour=hub, gloss=0.3, soft=0.0)


def arch(body: Body, centre: Vector, radius: torch.Tensor) -> None:
    """The dark arch above a wheel; it must protrude slightly from the flank."""
    thick = torch.full_like(radius, 0.07)
    body.ball(centre, (radius, radius, thick), part="hull", colour=fixed(radius, "#151517"), gloss=0.0, soft=0.0)


def bar(start: torch.Tensor, end: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Middle and half length of an interval."""
    return (start + end) * 0.5, (end - start) * 0.5


def block(
    body: Body,
    x: tuple[torch.Tensor, torch.Tensor],
    y: tuple[Number, Number],
    half: Number,
    there: torch.Tensor | None = None,
    **look: object,
) -> None:
    """An upright slab over the intervals `x` and `y`, `half` wide on each side of the middle."""
    (cx, hx), (cy, hy) = bar(*x), bar(*y)
    body.slab(vector(cx, cy, 0.0), (hx if there is None else given(there, hx), hy, half), **look)


def posed(body: Body, bank: torch.Tensor, climb: torch.Tensor) -> Body:
    """Rotate the whole body: `bank` about its length (top to the left), `climb` nose up, in radians."""
    turn = turning(torch.zeros_like(bank), bank, climb)
    body.primitives = [torch.cat([turned(one[:, :12].reshape(-1, 4, 3), turn).reshape(-1, 12), one[:, 12:]],
                                 dim=1) for one in body.primitives]  # fmt: skip
    return body
