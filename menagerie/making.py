"""Illustrations of how one image is rendered, step by step."""

from dataclasses import replace

import torch

from menagerie import coat as coats
from menagerie import scene as scenes
from menagerie.anatomy import BELLY, COLOUR, GLOSS, PART, PARTS, PATTERN, SOFT, TIP
from menagerie.draws import Draws, square_root
from menagerie.kinds import row
from menagerie.light import lit, shade
from menagerie.picture import Model, build, pose, shoot
from menagerie.raster import Surface, centre, locate, present, rasterize, square
from menagerie.view import View, back

PAPER = 0.85  # linear light of the blank sheet behind the steps


def steps(kind: str, image_size: int = 192, seed: int = 0, habitat: str | None = None) -> dict[str, torch.Tensor]:
    """Images of the rendering steps of one kind by name, in order, each uint8 (H, W, 3)."""
    index, key = torch.zeros(1, dtype=torch.int64), f"steps/{seed}"
    model, draws = build([kind], key, index), Draws(f"{key}/scene", index)
    name = habitat or str(row(kind)["habitat"])
    scene = scenes.arrange(torch.tensor([list(scenes.habitats()).index(name)]), draws)
    scene = replace(scene, target=torch.tensor([1.7]), centre=torch.zeros(1, 2))
    posed, view = pose(model, scene)
    surface, coat = _surface(posed, image_size), model.coat
    flat = _flat(model)
    scheme = _surface(pose(flat, scene)[0], image_size)
    bare = replace(coat, numbers=coat.numbers * 0)
    nx, ny, nz = surface.normal / square_root(square(*surface.normal)).clamp(min=1e-4)
    near, far = surface.depth.max(), surface.depth.min()
    paint = _painted(surface, model, view, image_size)
    shadow = shade(posed, view, scene, image_size)
    place = scenes.backdrop(scene, image_size)
    front = scenes.occluders(scene, draws)
    images, parts, _ = shoot(model, scene, front, key, index, image_size)
    part = _part_colours()[parts[0].long()]
    return {
        "primitives": _on_paper(scheme, lit(scheme, bare, view, scene, image_size)[0], image_size),
        "depth": _on_paper(surface, ((surface.depth - far) / (near - far)).square().expand(3, -1), image_size),
        "normals": _on_paper(surface, (torch.stack([nx, ny, nz]) * 0.5 + 0.5).square(), image_size),
        "coat": _on_paper(surface, paint, image_size),
        "light": _on_paper(surface, lit(surface, coat, view, scene, image_size)[0], image_size),
        "place": _visible(place[0].permute(1, 2, 0)),
        "shadow": _visible((place * shadow[:, None])[0].permute(1, 2, 0)),
        "picture": images[0].permute(1, 2, 0),
        "parts": _visible(part),
        "mask": ((parts[0] > 0).to(torch.uint8) * 255)[..., None].expand(-1, -1, 3),
    }


def _surface(posed: torch.Tensor, size: int) -> Surface:
    chosen = posed[present(posed)]
    return rasterize(chosen, torch.zeros(len(chosen), dtype=torch.int64), 1, size)


def _flat(model: Model) -> Model:
    """The primitives in the colours of their parts, with sharp edges."""
    primitives = model.primitives.clone()
    colours = _part_colours()[primitives[:, :, PART].long()]
    primitives[:, :, COLOUR], primitives[:, :, TIP] = colours, colours
    for column in (PATTERN, BELLY, SOFT, GLOSS):
        primitives[:, :, column] = 0.0
    return replace(model, primitives=primitives)


def _part_colours() -> torch.Tensor:
    """Colour of every value of a part map, linear RGB (len(PARTS) + 1, 3); 0 is PAPER."""
    hue = torch.arange(len(PARTS)) * 0.618034  # steps of the golden ratio: neighbours differ in hue
    ramp = (((hue[:, None] + torch.tensor([0.0, 2 / 3, 1 / 3])) % 1) * 6 - 3).abs()
    shade = 0.55 + 0.35 * (torch.arange(len(PARTS)) % 3 / 2)[:, None]
    return torch.cat([torch.full((1, 3), PAPER), ((ramp - 1).clamp(0, 1) * 0.55 + 0.35) * shade])


def _painted(surface: Surface, model: Model, view: View, size: int) -> torch.Tensor:
    who, row, column = locate(surface.pixel, size)
    spot = back(view, who, *centre(row, column, size), surface.depth)
    return coats.paint(surface, model.coat, who, spot, surface.normal[1])[0]


def _on_paper(surface: Surface, light: torch.Tensor, size: int) -> torch.Tensor:
    """A surface in linear light (3, S) on a blank sheet, uint8 (H, W, 3)."""
    cover = (0.5 - surface.edge).clamp(0, 1)
    sheet = torch.full((3, size * size), PAPER)
    sheet[:, surface.pixel] = PAPER + (light - PAPER) * cover
    return _visible(sheet.view(3, size, size).permute(1, 2, 0))


def _visible(light: torch.Tensor) -> torch.Tensor:
    """Linear light as uint8."""
    return (square_root(light.clamp(0, 1)) * 255 + 0.5).to(torch.uint8)
