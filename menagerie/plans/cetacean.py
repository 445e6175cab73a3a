"""Whales, dolphins and manatees, whose flukes lie flat."""

from itertools import pairwise

import torch

from menagerie.anatomy import Body, cross, mix, scaled, unit, vector
from menagerie.draws import Draws, cos_sin, square_root
from menagerie.kinds import Traits
from menagerie.plans.marks import EYEBALL, PAINTED
from menagerie.plans.swimmer import Spine, blade

# Joints from snout to notch of the flukes: share of the length, radius over girth.
JOINTS = ((0.0, 0.42), (0.06, 0.66), (0.16, 0.86), (0.30, 1.0), (0.46, 0.99), (0.62, 0.78), (0.78, 0.48), (0.92, 0.24),
          (1.0, 0.17))  # fmt: skip
CHEST, BACK, TAIL_STOCK, NOTCH = 3, 4, 5, 8  # indices of joints
# Bumps on the head: joint, how far ahead of it (of the length), height and width (of its radius).
KNOBS = (
    (0, 0.03, 0.52, 0.58),
    (0, -0.03, -0.10, 0.95),
    (1, -0.015, 0.37, 0.79),
    (1, -0.04, 0.95, 0.42),
    (1, -0.07, 0.52, 0.84),
)


def _pose(t: Traits, draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    """Elevation of the head and additional downward bend of the tail, radians."""
    pose = draws.pick(0.5, 0.25, 0.25)  # swimming, breaching, diving
    rise, flex = draws.number(-0.12, 0.15), draws.number(-0.25, 0.45)
    rise = torch.where(pose == 1, draws.number(0.35, 0.75), rise)
    flex = torch.where(pose == 1, draws.number(-0.9, -0.2), flex)
    rise = torch.where(pose == 2, draws.number(-0.35, -0.1), rise)
    flex = torch.where(pose == 2, draws.number(-0.65, -0.25), flex)
    return rise * t.liveliness, flex * t.liveliness


def _spine(t: Traits, draws: Draws) -> tuple[Spine, list[torch.Tensor]]:
    """The spine, and the radius of the body at each of its joints."""
    rise, flex = _pose(t, draws)
    turn = draws.number(-0.3, 0.3)
    radii = []
    for i, (_, share) in enumerate(JOINTS):
        front, rear = max(0.0, 1 - i / CHEST), max(0.0, (i - BACK) / (NOTCH - BACK))
        radii.append(t.girth * share * (1 + (t.bluntness - 1) * front) * (1 + (t.peduncle - 1) * rear))
    azimuths, elevations, lengths = [], [], []
    for (near, _), (far, _) in pairwise(JOINTS):
        middle = (near + far) / 2
        azimuths.append(turn * (middle - 0.5))
        elevations.append(rise + flex * (1.5 * max(0.0, middle - 0.25)))
        lengths.append(t.trunk_length * (far - near))
    spine = Spine(vector(t.trunk_length * 0.5, 0.0, 0.0), azimuths, elevations, lengths, draws.number(-0.45, 0.45))
    # A flat back: the thin front is aligned with the back, not with the axis.
    for i in range(CHEST):
        spine.points[i] = spine.at(i, 0.0, (t.girth - radii[i]) * t.back_line, 0.0)
    return spine, radii


def _trunk(body: Body, t: Traits, spine: Spine, radii: list[torch.Tensor]) -> None:
    """The trunk, and a pale underside: a second skin that is lower and therefore visible below its edge."""
    two_tone = t.flank_line > -0.95
    look = {"part": "trunk", "soft": 0.02, "pattern": t.trunk_marks, "belly": 1 - two_tone.float()}
    body.chain(spine.points, radii, colour=t.coat, tip=t.tail_colour, **look)
    drop = 0.15  # in radii; two circles this far apart meet at the edge if the lower is `share` times as large
    share = square_root((1 + drop * drop + 2 * drop * t.flank_line).clamp(min=0.01))
    last = 7
    skin = [torch.where(two_tone, radius * share, -1.0) for radius in radii[:last]]
    skin[-1] = skin[-1] * 0.9
    lower = [spine.at(i, 0.0, -drop * radii[i], 0.0) for i in range(last)]
    body.chain(lower, skin, part="trunk", colour=t.flank_colour, soft=0.003, pattern=0.0)


def _mouth(body: Body, t: Traits, spine: Spine, radii: list[torch.Tensor]) -> None:
    """Line of the mouth, and the throat of a rorqual: its first axis is lateral, so that bands become pleats."""
    centre = mix(spine.points[1], spine.points[3], 0.45) - scaled(spine.up[2], radii[2] * 0.42)
    half = torch.where(t.throat_depth > 0.05, radii[CHEST] * 0.72 * t.throat_depth, 0.0)
    size = (half, t.trunk_length * 0.20, radii[CHEST] * 0.93)
    look = {"part": "trunk", "colour": t.throat_colour, "belly": 0.4, "soft": 0.02}
    body.ball(centre, size, -spine.up[1], spine.forward[1], **look)
    line = torch.where(t.mouth_size > 0.05, t.mouth_size * 0.022, -1.0)
    for side in (-1.0, 1.0):
        front = spine.at(0, radii[0] * 0.75, -radii[0] * 0.35, side * radii[0] * 0.62)
        middle = spine.at(1, 0.0, -radii[1] * 0.30, side * radii[1] * 0.97)
        corner = spine.at(2, radii[2] * 0.2, -radii[2] * 0.42, side * radii[2] * 0.95)
        body.chain([front, middle, corner], [line] * 3, part="head", colour=mix(t.coat, t.mark, 0.75), **PAINTED)


def _face(body: Body, t: Traits, spine: Spine, radii: list[torch.Tensor]) -> None:
    """Beak, eyes and knobs."""
    front, beaked = radii[0], t.beak > 0.02
    for jaw, colour, soft in ((0.0, t.coat, 0.06), (1.0, t.flank_colour, 0.015)):
        base = spine.at(0, -front * 0.3, -front * 0.35 - t.beak_thickness * 0.5 * jaw, 0.0)
        reach = front * 0.7 + t.beak * (1 - 0.06 * jaw)
        tip = spine.at(0, reach, -front * 0.5 - t.beak_thickness * 0.55 * jaw, 0.0)
        thick = torch.where(beaked, t.beak_thickness * (1.7 - 0.2 * jaw), -1.0)
        look = {"part": "snout", "colour": colour, "pattern": 0.0, "soft": soft}
        body.bone(base, tip, thick, t.beak_thickness * (0.8 - 0.1 * jaw), **look)
    for side in (-1.0, 1.0):
        eye = spine.at(1, -radii[1] * 0.3, -radii[1] * 0.12, side * radii[1] * 1.02)
        body.ball(eye, (t.eye_size, t.eye_size, t.eye_size * 0.7), *spine.axes(1), colour=t.eye, **EYEBALL)
        for i, ahead, above, across in KNOBS:
            place = spine.at(i, t.trunk_length * ahead, radii[i] * above, side * radii[i] * across)
            body.ball(place, (t.knobs,) * 3, part="head", colour=mix(t.coat, t.flank_colour, 0.12), soft=0.02)


def _patches(body: Body, t: Traits, spine: Spine, radii: list[torch.Tensor]) -> None:
    """Patches behind the eyes and behind the dorsal fin of a killer whale."""
    for side in (-1.0, 1.0):
        place = spine.at(2, radii[2] * 0.10, radii[2] * 0.30, side * radii[2] * 0.90)
        size = (t.eye_patch, t.eye_patch * 0.46, radii[2] * 0.14)
        lean = unit(spine.forward[1] - spine.up[1] * 0.22)
        body.ball(place, size, lean, spine.up[2], part="head", colour=t.flank_colour, **PAINTED)
        place = spine.at(TAIL_STOCK, t.girth * 0.15, radii[5] * 0.62, side * radii[5] * 0.62)
        size = (t.saddle, t.saddle * 0.42, radii[5] * 0.30)
        body.ball(place, size, *spine.axes(TAIL_STOCK), part="trunk", colour=t.saddle_colour, **PAINTED)


def _flippers(body: Body, t: Traits, draws: Draws, spine: Spine, radii: list[torch.Tensor]) -> None:
    """Pectoral flippers, each of two blades at an angle."""
    lift, sweep = draws.number(-0.8, 0.15), draws.number(0.35, 0.9)
    ahead, up = spine.axes(CHEST)
    radius, width, thick = radii[CHEST], t.flipper_width, t.flipper_width * 0.22
    look = {"part": "fin", "tip": t.flipper_colour, "pattern": 0.0, "belly": 0.3, "soft": 0.04}
    for side in (-1.0, 1.0):
        root = spine.at(CHEST, radius * 0.55, -radius * 0.45, side * radius * 0.75)
        (cl, sl), (cs, ss) = cos_sin(lift + draws.number(-0.15, 0.15)), cos_sin(sweep)
        out = scaled(spine.side[CHEST] * side, cl * cs) + scaled(up, sl * cs) - scaled(ahead, ss)
        later = unit(out - ahead * 0.35 - up * 0.15)
        knee = root + scaled(out, t.flipper * 0.5)
        first, second = root + scaled(out, t.flipper * 0.25), knee + scaled(later, t.flipper * 0.15)
        colour = mix(t.flipper_colour, t.coat, 0.3)
        body.ball(first, (t.flipper * 0.37, width * 0.86, thick), out, -ahead, colour=colour, **look)
        body.ball(second, (t.flipper * 0.40, width * 0.80, thick), later, -ahead, colour=t.flipper_colour, **look)


def _dorsal(body: Body, t: Traits, spine: Spine) -> None:
    """The fin on the back."""
    up, back = spine.up[TAIL_STOCK], -spine.forward[TAIL_STOCK]
    root = spine.at(BACK, (JOINTS[BACK][0] - t.dorsal_place) * t.trunk_length, t.girth * t.dorsal_sink, 0.0)
    tip = root + scaled(up, t.dorsal * 1.15) + scaled(back, t.dorsal * t.dorsal_sweep)
    look = {"part": "fin", "pattern": 0.0, "belly": 0.0, "soft": 0.04}
    blade(body, root, tip, back, t.dorsal_chord, t.dorsal > 0.01, colour=t.coat, **look)


def _flukes(body: Body, t: Traits, draws: Draws, spine: Spine) -> None:
    """Flukes in a random phase of their beat, or the round tail of a manatee."""
    cosine, sine = cos_sin(draws.number(-0.7, 0.7))
    ahead = scaled(spine.forward[NOTCH], cosine) + scaled(spine.up[NOTCH], sine)
    above = cross(spine.side[NOTCH], ahead)
    notch, span, chord = spine.points[NOTCH], t.fluke_span, t.fluke_chord
    look = {"part": "tail", "colour": t.tail_colour, "pattern": 0.0, "belly": 0.8}
    for side in (-1.0, 1.0):
        across = spine.side[NOTCH] * side
        tip = notch + scaled(across, span) + scaled(above, draws.number(-0.2, 0.2) * span)
        root = notch + scaled(ahead, chord * 0.25)
        blade(body, root, tip - scaled(ahead, chord * 0.75), -ahead, chord, span > 0.05, soft=0.04, **look)
    centre = notch - scaled(ahead, t.paddle * 0.6)
    body.ball(centre, (t.paddle * 1.2, t.paddle * 0.12, t.paddle), ahead, above, soft=0.05, **look)


def cetacean(t: Traits, draws: Draws) -> Body:
    """A whale, dolphin or manatee: swimming, breaching or diving."""
    body = Body(len(t), gloss=t.gloss, soft=0.1)
    spine, radii = _spine(t, draws)
    _trunk(body, t, spine, radii)
    _mouth(body, t, spine, radii)
    _face(body, t, spine, radii)
    _patches(body, t, spine, radii)
    _flippers(body, t, draws, spine, radii)
    _dorsal(body, t, spine)
    _flukes(body, t, draws, spine)
    return body
