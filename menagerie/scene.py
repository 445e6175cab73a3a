"""The surroundings of the subject: habitat, light, occluders and camera.

`arrange` draws a scene once per image as one row of numbers; pixels are a pure function of that row. A scene does not
depend on the class of the subject. The habitat changes only colours and the backdrop, neither the position of the
subject nor its occlusion.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from menagerie import scene_paint as paint
from menagerie.anatomy import Body, mix, unit, vector
from menagerie.draws import Draws, cos_sin, square_root
from menagerie.kinds import linear
from menagerie.scene_paint import COLOURS, CROWDED, NUMBERS, ON_WALLS, TALL, THINGS, Place
from menagerie.scene_tables import SHAPES

Palette = dict[str, float | str]
LIGHTS = ("sunlight", "fill", "clouds", "fog")  # columns of a palette with numbers
SLOTS = 6  # for objects in the background
BLADES, LEAFLETS, STONES = 11, 8, 3
IN_FRONT = 20.0  # depth of occluders, nearer than any subject
HIDDEN = 0.36  # share of images with an occluder


@cache
def habitats() -> dict[str, list[Palette]]:
    """Palettes (one per lighting condition) of every habitat by name, from habitats.toml."""
    return tomllib.loads((Path(__file__).parent / "habitats.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, eq=False)
class Scene:
    """One row per image."""

    habitat: torch.Tensor  # int64 (N), index into habitats()
    yaw: torch.Tensor
    pitch: torch.Tensor
    roll: torch.Tensor
    target: torch.Tensor  # longer side of the subject's bounding box; the image is 2 wide
    centre: torch.Tensor  # (N, 2), of that box
    light: torch.Tensor  # (N, 3), unit vector towards the key light
    key: torch.Tensor  # (N, 3), colour of that light
    ambient: torch.Tensor  # (N, 3), of the light from above
    bounce: torch.Tensor  # (N, 3), of the light from below
    shadow: torch.Tensor  # (N,), darkness
    colours: torch.Tensor  # (N, len(COLOURS), 3), linear
    numbers: torch.Tensor  # (N, len(NUMBERS))
    things: torch.Tensor  # (N, SLOTS, len(THING))
    camera: torch.Tensor  # (N, 7): exposure, red, blue, vignette, contrast, noise, blur


@cache
def _palettes() -> tuple[torch.Tensor, torch.Tensor]:
    """Colours (habitats, lights, len(COLOURS), 3) and numbers (habitats, lights, len(LIGHTS))."""
    places = list(habitats().values())
    colours = [[[linear(str(one[name])) for name in COLOURS] for one in lights] for lights in places]
    numbers = [[[float(one[name]) for name in LIGHTS] for one in lights] for lights in places]
    return torch.tensor(colours), torch.tensor(numbers)


def arrange(habitat: torch.Tensor, draws: Draws) -> Scene:
    """Draw scenes in the given habitats, int64 (N)."""
    facing = draws.chance(0.5)
    yaw = draws.number(-1.15, 1.15)
    yaw = torch.where(facing, yaw, 3.1416 - yaw)
    pitch = 0.03 + 0.37 * draws.number() * draws.number(0.5, 1.0)
    roll = draws.number(-0.06, 0.06)
    target, centre = _framing(draws)
    light = draws.uniform(-1, 1, (3,)) * torch.tensor([0.9, 0.28, 0.35]) + torch.tensor([0.0, 0.78, 0.5])
    chosen, free = draws.uniform(shape=(4,)), draws.uniform(shape=(len(NUMBERS),))
    camera, slots = draws.uniform(shape=(7,)), draws.uniform(shape=(SLOTS, 6))
    tint = draws.bell(4).clamp(-2, 2)

    colours, lights = _palettes()
    first, second = ((chosen[:, i] * colours.shape[1]).long() for i in (0, 1))
    share = chosen[:, 2] * chosen[:, 2] * 0.6
    colours = colours[habitat, first] + (colours[habitat, second] - colours[habitat, first]) * share[:, None, None]
    lights = lights[habitat, first] + (lights[habitat, second] - lights[habitat, first]) * share[:, None]
    sunlight, fill, clouds, fog = lights.unbind(1)
    # A tint that all colours of an image share, and a smaller one per colour.
    colours = colours * (1 + tint[:, None, :3] * 0.025 + tint[:, None, 3:] * 0.05)
    numbers = free.clone()
    horizon = _horizon(free[:, 0], pitch, target, centre)
    indoors = habitat == list(habitats()).index("room")
    horizon = torch.where(indoors, torch.maximum(horizon - 0.3, centre[:, 1] - target * 0.25), horizon)
    for name, value in (
        ("horizon", horizon),
        ("feet", torch.minimum(centre[:, 1] - target * 0.36, horizon - 0.1)),
        ("aperture", (free[:, 2] * 1.6 - 0.65).clamp(0, 0.9)),
        ("clouds", (clouds + (free[:, 3] - 0.5) * 0.5).clamp(0, 1)),
        ("fog", fog * (0.6 + 0.8 * free[:, 4])),
        ("glow", free[:, NUMBERS.index("glow")] * sunlight),
    ):
        numbers[:, NUMBERS.index(name)] = value
    # Skylight is bluer and bounced light takes the colour of the ground; white balance removes a part of both.
    sky, near, sun = (colours[:, COLOURS.index(name)] for name in ("sky", "near", "sun"))
    above = 0.65 + 0.35 * sky / _grey(sky).clamp(min=0.05)
    bounce = (0.7 * near + 0.3 * _grey(near)) * (0.3 + 0.35 * fill)[:, None]
    return Scene(
        habitat, yaw, pitch, roll, target, centre, unit(light),
        key=(0.6 * sun + 0.4) * sunlight[:, None] * 0.95, ambient=above * fill[:, None], bounce=bounce,
        shadow=_shadow(habitat, sunlight) * (0.85 + 0.15 * chosen[:, 3]), colours=colours.clamp(0, 1), numbers=numbers,
        things=_things(habitat, slots, numbers), camera=camera,
    )  # fmt: skip


def _grey(colour: torch.Tensor) -> torch.Tensor:
    """Mean of the channels (N, 1)."""
    return (colour[:, :1] + colour[:, 1:2] + colour[:, 2:]) / 3


def _framing(draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    """Size and centre of the subject: mostly large, sometimes small or partly outside the frame."""
    kind, share, outside = draws.pick(0.24, 0.62, 0.14), draws.number(), draws.number()
    target = torch.where(kind == 0, 0.6 + 0.5 * share, torch.where(kind == 1, 1.1 + 0.8 * share, 1.75 + 0.3 * share))
    beyond = torch.where(kind == 2, 0.15 * target * outside, 0.0)
    slack = (0.97 - target * 0.5).clamp(min=0.02) + beyond
    spot = draws.uniform(-1, 1, (2,))
    # Subjects are mostly wider than high, so they can move vertically; on average they are below the centre.
    x, y = spot[:, 0] * slack, spot[:, 1] * (slack * 0.8 + 0.04) - 0.06
    return target, torch.stack([x, y], dim=1)


def _horizon(free: torch.Tensor, pitch: torch.Tensor, target: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Height of the horizon: above the feet, and higher the more the camera looks down."""
    middle = centre[:, 1] + target * (0.28 * free - 0.13) + 0.7 * pitch
    return torch.maximum(middle, centre[:, 1] - target * 0.22).clamp(-0.4, 0.72)


def _shadow(habitat: torch.Tensor, sunlight: torch.Tensor) -> torch.Tensor:
    """Darkness of shadows: less without sun, faint in water, none in the air."""
    most = torch.tensor([{"sky": 0.0, "water": 0.3, "sea floor": 0.4}.get(name, 0.66) for name in habitats()])[habitat]
    return most * (0.35 + 0.65 * sunlight)


def _things(habitat: torch.Tensor, slots: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Background objects from far to near, (N, SLOTS, len(THING))."""
    names = list(SHAPES)
    longest = max(len(one) for one in THINGS.values())
    choice = torch.tensor([[names.index(one[i % len(one)]) for i in range(longest)] for one in THINGS.values()])
    many = torch.tensor([len(one) for one in THINGS.values()])[habitat]
    crowd = torch.tensor([CROWDED.get(name, 0.5) for name in THINGS])[habitat]
    tall = torch.tensor([TALL[name] for name in names])
    indoors, street = (habitat == list(THINGS).index(name) for name in ("room", "street"))
    walls = torch.tensor([names.index(one) for one in ON_WALLS])
    horizon, feet = numbers[:, 0], numbers[:, 1]
    result = []
    for slot in range(SLOTS):
        there, what, x, depth, size, flip = slots[:, slot].unbind(1)
        hung = indoors & (slot < SLOTS // 2)
        shape = choice[habitat, (what * many).long()]
        shape = torch.where(hung, walls[(what * len(walls)).long()], shape)
        # Spread over the width; each slot is nearer than the one before, but behind the subject.
        shift = (slots[:, 0, 2] + (slot * 2 % SLOTS) / SLOTS + slot / 40) % 1
        x = shift * 2.3 - 1.15 + (x - 0.5) * 0.4
        near = (slot + depth) / SLOTS
        below = 0.025 + near * near * (horizon - feet) * 0.75
        scale = tall[shape] * (0.8 + 0.5 * size)
        foot = torch.where(hung, horizon + 0.28 + 0.3 * depth, horizon - torch.where(indoors, 0.1 * depth, below))
        # Whole trees are easier to recognise than trunks cut off by the frame.
        height = torch.minimum((scale * below).clamp(min=0.1), 0.95 + 0.25 * depth - foot)
        height = torch.where(indoors, scale, height)
        x = torch.where(street & (x.abs() < 0.5), torch.where(x < 0, x - 0.5, x + 0.5), x)
        shape = torch.where(there < crowd, shape, -1)
        flip = torch.where(flip < 0.5, -1.0, 1.0)
        result.append(torch.stack([shape.float(), x, foot, height, flip, 0.8 + 0.35 * size], dim=1))
    return torch.stack(result, dim=1)


def backdrop(scene: Scene, size: int) -> torch.Tensor:
    """The background without its subject, linear light (N, 3, H, W)."""
    return paint.backdrop(Place(scene.habitat, scene.colours, scene.numbers, scene.things), size)


def occluders(scene: Scene, draws: Draws) -> torch.Tensor:
    """Occluders in front of some subjects: primitives in view coordinates (N, M, FIELDS), part 0.

    They are grass, a fern, a trunk or a mound; only their colours depend on the habitat.
    """
    body = Body(len(scene.habitat), soft=0.0)
    some, kind = draws.chance(HIDDEN), draws.pick(0.48, 0.2, 0.2, 0.12)
    low, side = scene.centre[:, 1] - scene.target * 0.42, torch.where(draws.chance(0.5), 1.0, -1.0)
    plant, wood, near = (scene.colours[:, COLOURS.index(name)] for name in ("plant", "wood", "near"))
    stone = mix(near, wood, 0.35)
    stone = mix(stone, _grey(stone).expand(-1, 3), 0.5)
    _blades(body, draws, some & (kind == 0), low + scene.target * 0.3, plant)
    _frond(body, draws, some & (kind == 1), scene.centre[:, 0], low, side, scene.target, plant)
    _post(body, draws, some & (kind == 2), scene.centre[:, 0] + side * scene.target * 0.34, scene.target, wood * 0.8)
    _mound(body, draws, some & (kind == 3), scene.centre[:, 0], low, stone)
    return body.stack()


LOOK = {"part": None, "pattern": 0.0, "belly": 0.0}


def _at(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return vector(x, y, torch.full_like(x, IN_FRONT))


def _blades(body: Body, draws: Draws, there: torch.Tensor, top: torch.Tensor, colour: torch.Tensor) -> None:
    """Bent blades of grass over the whole width, up to about the height `top`."""
    for _ in range(BLADES):
        x, lean, height = draws.number(-1, 1), draws.number(-0.16, 0.16), draws.number(0.0, 0.4)
        radius = torch.where(there, draws.number(0.012, 0.024), -1.0)
        tone = colour * draws.number(0.75, 1.35)[:, None]
        tip = (top + 0.12 - height).clamp(min=-0.9)
        foot, knee = _at(x, torch.full_like(x, -1.15)), _at(x + lean * 0.35, (tip - 1.15) * 0.5)
        body.bone(foot, knee, radius, radius * 0.8, colour=tone * 0.7, tip=tone, **LOOK)
        body.bone(knee, _at(x + lean, tip), radius * 0.8, 0.003, colour=tone, tip=tone * 1.2, **LOOK)


def _frond(
    body: Body, draws: Draws, there: torch.Tensor, x: torch.Tensor, low: torch.Tensor, side: torch.Tensor,
    target: torch.Tensor, colour: torch.Tensor,
) -> None:  # fmt: skip
    """A fern that grows at one end of the subject and leans over it."""
    x0 = x + side * target * draws.number(0.3, 0.5)
    angle, length = draws.number(0.8, 1.35), target * draws.number(0.35, 0.5)
    cosine, sine = cos_sin(angle)
    y0 = (low - 0.15).clamp(min=-1.1)
    x1, y1 = x0 - side * cosine * length, y0 + sine * length
    radius = torch.where(there, 0.012, -1.0)
    body.bone(_at(x0, y0), _at(x1, y1), radius, 0.005, colour=colour * 0.8, **LOOK)
    for i in range(LEAFLETS):
        share = (i // 2 + 0.6) / (LEAFLETS // 2)
        px, py = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
        up = 1.0 if i % 2 else -1.0
        reach = length * 0.32 * (1.15 - share)
        dx, dy = -side * (cosine * 0.6 + up * sine * 0.8) * reach, (sine * 0.6 - up * cosine * 0.8) * reach
        tone = colour * draws.number(0.85, 1.3)[:, None]
        radius = torch.where(there, 0.024, -1.0)
        body.bone(_at(px, py), _at(px + dx, py + dy), radius, 0.006, colour=tone, tip=tone * 1.15, **LOOK)


def _post(
    body: Body, draws: Draws, there: torch.Tensor, x: torch.Tensor, target: torch.Tensor, colour: torch.Tensor
) -> None:
    """A trunk or post at one end of the subject."""
    lean = draws.number(-0.08, 0.08)
    radius = torch.where(there, target * draws.number(0.025, 0.06), -1.0)
    body.bone(_at(x - lean, torch.full_like(x, -1.3)), _at(x + lean, torch.full_like(x, 1.3)), radius, radius * 0.85,
              colour=colour, **LOOK)  # fmt: skip


def _mound(
    body: Body, draws: Draws, there: torch.Tensor, x: torch.Tensor, low: torch.Tensor, colour: torch.Tensor
) -> None:
    """A rock or a heap of earth in front of the feet."""
    top = (low + 0.26).clamp(max=-0.35)
    for _ in range(STONES):
        middle, wide, high = x + draws.number(-0.7, 0.7), draws.number(0.35, 0.75), top + 1.15 - draws.number(0.0, 0.2)
        wide, high = (torch.where(there, one, 0.0) for one in (wide, high))
        tone = colour * draws.number(0.8, 1.05)[:, None]
        body.ball(
            _at(middle, torch.full_like(x, -1.15)),
            (wide, high, torch.where(there, 0.15, 0.0)),
            colour=tone,
            tip=tone * 0.95,
            **LOOK,
        )


def develop(scene: Scene, image: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Camera model: exposure, white balance, vignetting, contrast, noise and blur; uint8 (N, 3, H, W)."""
    size = image.shape[-1]
    exposure, red, blue, vignette, contrast, noise, blur = scene.camera.view(-1, 7, 1, 1, 1).unbind(1)
    soft = (blur.flatten() > 0.95).nonzero().squeeze(1)
    if len(soft):  # out of focus, or motion blur
        image = image.clone()
        image[soft] = (image[soft] + paint.blurred(image[soft], max(1, size // 64))) * 0.5
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    away = axis.view(1, 1, 1, -1) * axis.view(1, 1, 1, -1) + axis.view(1, 1, -1, 1) * axis.view(1, 1, -1, 1)
    gain = torch.cat([1 + (red - 0.5) * 0.08, torch.ones_like(red), 1 + (blue - 0.5) * 0.08], dim=1)
    gain = gain * (0.84 + 0.32 * exposure)
    image = square_root((image * gain * (1 - (vignette * vignette * 0.22) * away)).clamp(0, 1))
    image = image + (image * (1 - image)) * (image * 2 - 1) * (contrast * 0.75 - 0.1)
    image = image + draws.noise(size) * (0.003 + 0.009 * noise * noise)
    return (image * 255 + 0.5).clamp(0, 255).to(torch.uint8)
