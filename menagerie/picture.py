"""The complete rendering of images: individuals, bodies, view, scene, light."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from menagerie import coat as coats
from menagerie import scene as scenes
from menagerie.anatomy import FIELDS, RA
from menagerie.coat import Coat
from menagerie.draws import Draws
from menagerie.kinds import Traits, attributes, row
from menagerie.light import lit, shade
from menagerie.plans import PLANS
from menagerie.raster import locate, present, rasterize
from menagerie.scene import Scene
from menagerie.threads import one_thread_each, rows_of
from menagerie.view import View, place, turning

FINE = 2  # supersampling of the subject: rendered pixels per pixel, each way
CHUNK = 2**17  # pixels that a thread renders at a time


@dataclass(frozen=True, eq=False)
class Pictures:
    """Rendered images; see `shoot`, and `kinds.attributes` for the traits of the individuals."""

    images: torch.Tensor
    parts: torch.Tensor
    depth: torch.Tensor
    traits: torch.Tensor


@dataclass(frozen=True, eq=False)
class Model:
    """Individuals in body coordinates, before view and scene."""

    primitives: torch.Tensor  # (N, M, FIELDS) in body coordinates
    coat: Coat
    attributes: torch.Tensor  # (N, T), of kinds.attribute_names()


def build(kinds: Sequence[str], key: str, index: torch.Tensor) -> Model:
    """Individuals `index` (N) of the given kinds, each a pure function of (kind, key, index)."""
    plan_of = [str(row(kind)["plan"]) for kind in kinds]
    groups = []
    for plan in dict.fromkeys(plan_of):
        rows = [i for i, one in enumerate(plan_of) if one == plan]
        draws = Draws(f"{key}/{plan}", index[rows])
        traits = Traits([kinds[i] for i in rows], draws)
        coat = coats.coat(traits, draws)
        groups.append((rows, PLANS[plan](traits, draws).stack(), coat, traits.attributes()))
    most = max(primitives.shape[1] for _, primitives, *_ in groups)
    every = torch.zeros(len(kinds), most, FIELDS)
    every[:, :, RA] = -1.0  # absent, unless filled
    order = torch.empty(len(kinds), dtype=torch.int64)
    order[[i for rows, *_ in groups for i in rows]] = torch.arange(len(kinds))
    for rows, primitives, *_ in groups:
        every[rows, : primitives.shape[1]] = primitives
    merged = (torch.cat([getattr(coat, name) for _, _, coat, _ in groups])[order] for name in Coat.__dataclass_fields__)
    attributes = torch.cat([one for *_, one in groups])[order]
    return Model(every, Coat(*merged), attributes)


def take(
    kinds: Sequence[str],
    habitat: torch.Tensor,
    key: str,
    index: torch.Tensor,
    size: int,
    yaw: torch.Tensor | None = None,
    subject: bool = True,
    clutter: float = 1.0,
) -> Pictures:
    """Render images `index` (N) of kinds in habitats; `key` seeds all other draws.

    Args:
        kinds: kind of each subject.
        habitat: int64 (N), index into scene.habitats().
        key: seed of every draw.
        index: int64 (N), numbers of the images.
        size: height and width in pixels.
        yaw: (N), direction of the head in radians; random if None.
        subject: whether the subject is rendered at all.
        clutter: as for `menagerie.generate`.
    """
    if not len(index):
        none = torch.empty(0, size, size)
        return Pictures(none[:, None].expand(-1, 3, -1, -1).byte(), none.byte(), none, attributes(()))
    model = build(kinds, key, index)
    draws = Draws(f"{key}/scene", index)
    scene = scenes.arrange(habitat, draws)
    front = scenes.occluders(scene, draws)
    if clutter != 1:
        scene = _tidied(scene, clutter)
        front[Draws(f"{key}/clutter", index).number() >= clutter] = 0.0  # no primitive at all
    scene = scene if yaw is None else replace(scene, yaw=yaw)
    if not subject:
        model = replace(model, primitives=model.primitives[:, :0])
    return Pictures(*shoot(model, scene, front, key, index, size), model.attributes)


SIDE, LARGE = math.pi, 1.7  # yaw of a head to the left, size of a subject that fills the frame


def _tidied(scene: Scene, clutter: float) -> Scene:
    """Move yaw, roll, size and position of the subjects towards a centred side view."""
    side = torch.where(scene.yaw.abs() < SIDE / 2, 0.0, SIDE)
    return replace(
        scene,
        yaw=side + (scene.yaw - side) * clutter,
        roll=scene.roll * clutter,
        target=LARGE + (scene.target - LARGE) * clutter,
        centre=scene.centre * clutter,
    )


def shoot(
    model: Model, scene: Scene, front: torch.Tensor, key: str, index: torch.Tensor, size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Render models in scenes.

    Args:
        model: N individuals.
        scene: N scenes.
        front: occluding primitives in view coordinates (N, M, FIELDS).
        key: seed of the sensor noise.
        index: int64 (N), numbers of the images.
        size: height and width in pixels.

    Returns:
        images uint8 (N, 3, size, size); parts uint8 (N, size, size); depth float32 (N, size, size) in half image
        widths, larger is nearer, NaN off the subject.
    """
    posed, view = pose(model, scene)
    count = len(index)
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    parts = torch.empty(count, size, size, dtype=torch.uint8)
    depth = torch.empty(count, size, size)
    step = max(1, CHUNK // size**2)

    # Each habitat has its own painter, so images of one habitat are rendered together.
    order = scene.habitat.argsort(stable=True)

    def fill(begin: int) -> None:
        rows = order[begin : begin + step]
        image, part, far = _render(
            torch.cat([posed[rows], front[rows]], dim=1), posed[rows], rows_of(model.coat, rows), rows_of(view, rows),
            rows_of(scene, rows), size,
        )  # fmt: skip
        images[rows] = scenes.develop(rows_of(scene, rows), image, Draws(f"{key}/sensor", index[rows]))
        parts[rows], depth[rows] = part, far

    with one_thread_each() as pool:
        list(pool.map(fill, range(0, count, step)))
    return images, parts, depth


def pose(model: Model, scene: Scene) -> tuple[torch.Tensor, View]:
    """Primitives in view coordinates, and the view."""
    turn = turning(scene.yaw, scene.pitch, scene.roll)
    return place(model.primitives, turn, scene.pitch, scene.target, scene.centre)


def _render(
    primitives: torch.Tensor, subject: torch.Tensor, coat: Coat, view: View, scene: Scene, size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Linear light (N, 3, H, W), parts and depth (N, H, W) of posed primitives (N, M, FIELDS)."""
    count = len(primitives)
    image = scenes.backdrop(scene, size) * shade(subject, view, scene, size)[:, None]
    image_of = torch.arange(count)[:, None].expand(primitives.shape[:2])
    there = present(primitives)
    fine = size * FINE
    surface = rasterize(primitives[there], image_of[there], count, fine)
    light, edge = lit(surface, coat, view, scene, fine)

    # Sum over the fine pixels of each pixel: light, coverage, and coverage by the subject.
    who, row, column = locate(surface.pixel, fine)
    pixel = (who * size + row // FINE) * size + column // FINE
    cover = (0.5 - edge).clamp(0, 1) * (1 / FINE**2)
    subject_cover = torch.where(surface.part > 0, cover, 0.0)
    total = torch.stack(
        [
            torch.zeros(count * size * size).scatter_add_(0, pixel, one)
            for one in (*(light * cover), cover, subject_cover)
        ]
    ).view(5, count, size, size)
    image = image * (1 - total[3])[:, None] + total[:3].transpose(0, 1)
    mask = total[4] >= 0.5

    owned = (edge <= 0) & (surface.part > 0)
    pixel, depth, part = pixel[owned], surface.depth[owned], surface.part[owned]
    nearest = torch.full((count * size * size,), float("-inf")).scatter_reduce_(0, pixel, depth, "amax")
    first = depth == nearest[pixel]
    parts = torch.zeros(count * size * size, dtype=torch.uint8)
    parts.scatter_reduce_(0, pixel[first], part[first], "amax")
    parts = torch.where(mask, parts.view(count, size, size), 0)
    return image, parts, torch.where(mask, nearest.view(count, size, size), float("nan"))
