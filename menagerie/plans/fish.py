"""Fishes and sharks, which have vertical tail fins, and rays."""

import torch

from menagerie.anatomy import Body, heading, mix, scaled, unit, vector
from menagerie.draws import Draws, cos_sin, square_root
from menagerie.kinds import Traits
from menagerie.plans.marks import EYEBALL, PAINTED
from menagerie.plans.swimmer import Spine, blade

MIDDLE, END = 1, 4  # joints: the middle of the body, the root of the tail fin
GILL_SLITS = (0.34, 0.27, 0.20)  # forward of the middle
# Bands around the body: joint, forward of it, width, half height over that of the body.
BANDS = ((1, 0.44, 1.0, 0.90), (1, -0.10, 1.15, 1.0), (2, -0.14, 0.9, 0.72))


def _spine(t: Traits, draws: Draws) -> Spine:
    """A stiff front half and a tail that swings to one side."""
    rise, bend = draws.number(-0.25, 0.30), draws.number(-0.55, 0.55)
    start = vector(0.9, 0.0, 0.0 * rise)
    lengths = [0.9, *(t.body_length * share for share in (0.42, 0.30, 0.22))]
    azimuths, elevations = [bend * -0.2, bend * -0.1, bend * 0.5, bend], [rise, rise, rise * 0.8, rise * 0.7]
    return Spine(start, azimuths, elevations, lengths, draws.number(-0.2, 0.2))


def _trunk(body: Body, t: Traits, spine: Spine) -> None:
    """The trunk of three ellipsoids, the tail stock, and a pale underside as a second skin."""
    up, length = spine.up[MIDDLE], t.body_length
    look = {"part": "trunk", "colour": t.coat, "pattern": t.trunk_marks}
    waist, rump = spine.at(1, -0.36 * length, 0.0, 0.0), spine.at(2, -0.14 * length, 0.0, 0.0)
    body.ball(spine.points[MIDDLE], (0.82, t.depth, t.width), *spine.axes(MIDDLE), **look)
    body.ball(waist, (0.50 * length, t.depth * 0.72, t.width * 0.76), spine.forward[2], up, **look)
    body.ball(rump, (0.42 * length, t.depth * 0.46, t.width * 0.50), spine.forward[3], up, **look)
    body.bone(spine.points[2], spine.points[END], t.peduncle * 1.25, t.peduncle, tip=t.fin_colour, **look)
    look = {"part": "trunk", "colour": t.belly, "pattern": 0.0, "belly": 0.0, "soft": 0.01}
    for place, half, share, width, i in (
        (0.06, 0.84, 1.0, 0.97, 1), (-0.36 * length, 0.50 * length, 0.72, 0.74, 2), (0.50, 0.44, 0.84, 0.97, 1),
    ):  # fmt: skip
        lower = spine.at(MIDDLE, place, -0.10 * t.depth * share, 0.0)
        high = torch.where(t.underside > 0.5, t.depth * share * 0.955, 0.0)
        body.ball(lower, (half, high, t.width * width), spine.forward[i], up, **look)


def _face(body: Body, t: Traits, spine: Spine) -> None:
    """Head, snout and eyes."""
    high = t.depth * t.head_depth
    look = {"part": "head", "colour": t.face, "pattern": t.face_marks}
    body.ball(spine.at(1, 0.50, 0.0, 0.0), (0.46, high, t.width * 0.92), *spine.axes(1), soft=0.03, **look)
    nose = spine.at(1, 0.94 + t.snout * 0.6, t.snout_drop * t.depth, 0.0)
    cheek = torch.minimum(high * 0.62, t.width * 0.9)
    body.bone(spine.at(1, 0.58, 0.0, 0.0), nose, cheek, t.snout_thickness, soft=0.08, **(look | {"part": "snout"}))
    size = t.eye_size
    for side in (-1.0, 1.0):
        eye = spine.at(1, 0.70, high * 0.26, side * t.width * 0.76)
        pupil = spine.at(1, 0.70, high * 0.26, side * (t.width * 0.76 + size * 0.25))
        body.ball(eye, (size, size, size * 0.55), *spine.axes(1), colour=t.eye_ring, **EYEBALL)
        body.ball(pupil, (size * 0.62, size * 0.62, size * 0.5), *spine.axes(1), colour=t.eye, **EYEBALL)


def _mouth(body: Body, t: Traits, spine: Spine) -> None:
    """Line of the mouth (below the snout in species with open gill slits) and gill slits."""
    thick, dark = t.snout_thickness, t.face * 0.25
    ahead = 0.95 + t.snout * 0.45 - t.gills * 0.2
    above = (t.snout_drop - 0.02) * t.depth - thick * 0.75 - t.gills * 0.02
    slit = torch.where(t.gills > 0.5, 0.012, -1.0)
    for side in (-1.0, 1.0):
        lip = spine.at(1, ahead, above, thick * 0.5 * side)
        low = -t.depth * 0.20 * t.head_depth - thick * 0.5
        corner = spine.at(1, 0.76 + t.snout * 0.2, low, t.width * 0.45 * side)
        body.bone(lip, corner, 0.02, 0.014, part="head", colour=dark, **PAINTED)
        edge = side * t.width * 0.94
        for x in GILL_SLITS:
            top, end = spine.at(1, x, t.depth * 0.25, edge), spine.at(1, x - 0.02, -t.depth * 0.3, edge)
            body.bone(top, end, slit, 0.012, part="head", colour=dark, **PAINTED)


def _marks(body: Body, t: Traits, spine: Spine) -> None:
    """Edged bands around the body and a stripe along it."""
    half = t.stripe * t.depth
    size = (0.80, half, torch.where(half > 0.003, t.width * 1.035, 0.0))
    look = {"part": "trunk", "pattern": 0.5, "belly": 0.0, "soft": 0.03}
    body.ball(spine.at(1, 0.0, t.depth * 0.02, 0.0), size, *spine.axes(1), colour=t.stripe_colour, **look)
    for i, place, wide, share in BANDS:
        for edge, proud, colour in ((1.5, 1.035, t.band_edge), (1.0, 1.06, t.band_colour)):
            size = (t.bands * wide * edge, t.depth * share * proud, t.width * share * proud * 1.03)
            around = spine.forward[2 * i - 1]
            body.ball(spine.at(i, place, 0.0, 0.0), size, around, spine.up[1], part="trunk", colour=colour, **PAINTED)


def _fins(body: Body, t: Traits, draws: Draws, spine: Spine) -> None:
    """Dorsal, anal, pectoral and pelvic fins."""
    up, back = spine.up[MIDDLE], -spine.forward[MIDDLE]
    look = {"part": "fin", "colour": t.fin_colour, "tip": t.fin_tip, "pattern": t.fin_marks, "belly": 0.0, "soft": 0.02}
    for sign, height, length, place, peak in (
        (1.0, t.dorsal, t.dorsal_length, t.dorsal_place, t.dorsal_peak),
        (-1.0, t.anal, t.anal_length, t.anal_place, t.anal_peak),
    ):
        level = square_root((1 - place * place).clamp(min=0.2)) * t.depth
        base = spine.at(MIDDLE, place, sign * level * 0.8, 0.0)
        lean = unit(back + scaled(up, place * t.depth * (1.4 * sign)))
        size = (length * 0.5, height + level * 0.2, torch.where(length > 0.02, 0.018, 0.0))
        body.ball(base, size, lean, up, **look)
        tip = base + scaled(up, (peak + level * 0.2) * sign) + scaled(back, peak * t.fin_sweep)
        blade(body, base, tip, back, t.fin_chord, peak > 0.03, **look)
    cosine, sine = cos_sin(draws.number(-0.9, -0.2))
    for side in (-1.0, 1.0):
        across = spine.side[MIDDLE] * side
        root = spine.at(MIDDLE, t.pectoral_place, -t.depth * 0.38, side * t.width * 0.72)
        tip = root + scaled(unit(scaled(across, cosine * 0.8) + scaled(up, sine) + back * 0.9), t.pectoral)
        chord = t.pectoral * t.pectoral_chord
        blade(body, root, tip, unit(back * 0.4 - up), chord, t.pectoral > 0.01, t.pectoral_flare, **look)
        out = unit(back - up * 0.9 + across * 0.3)
        root = spine.at(MIDDLE, t.pectoral_place - 0.28, -t.depth * 0.78, side * t.width * 0.3)
        size = (t.pelvic * 0.6, t.pelvic * 0.26, torch.where(t.pelvic > 0.02, 0.016, 0.0))
        body.ball(root + scaled(out, t.pelvic * 0.5), size, out, up, **look)


def _tail(body: Body, t: Traits, spine: Spine) -> None:
    """Tail fin: a fan of five rays, forked by shorter ones in the middle."""
    up, back = spine.up[END], -spine.forward[END]
    root = spine.at(END, 0.05, 0.0, 0.0)
    look = {
        "part": "tail",
        "colour": t.fin_tip,
        "tip": t.fin_colour,
        "pattern": t.fin_marks,
        "belly": 0.0,
        "soft": 0.02,
    }
    for place in (-1.0, -0.5, 0.0, 0.5, 1.0):
        cosine, sine = cos_sin(t.tail_spread * place)
        out = scaled(back, cosine) + scaled(up, sine)
        reach = t.tail * (1 - t.tail_fork * (1 - abs(place))) * (t.tail_upper if place > 0 else 1.0)
        body.ball(root + scaled(out, reach * 0.5), (reach * 0.56, t.tail * t.tail_ray, 0.018), -out, up, **look)


def fish(t: Traits, draws: Draws) -> Body:
    """A fish or shark with its tail in a random phase of a stroke."""
    body = Body(len(t), gloss=t.gloss, soft=0.08)
    spine = _spine(t, draws)
    _trunk(body, t, spine)
    _face(body, t, spine)
    _mouth(body, t, spine)
    _marks(body, t, spine)
    _fins(body, t, draws, spine)
    _tail(body, t, spine)
    return body


def ray(t: Traits, draws: Draws) -> Body:
    """A ray that banks in a turn, its wings in a random phase of a stroke."""
    body = Body(len(t), gloss=t.gloss, soft=0.12)
    rise, turn, stroke = draws.number(-0.25, 0.35), draws.number(-0.3, 0.3), draws.number(-0.30, 0.45)
    bank = draws.number(0.35, 0.85) * torch.where(draws.chance(0.5), 1.0, -1.0)
    spine = Spine(vector(t.disc, 0.0, 0.0), [turn * 0.3, turn], [rise, rise], [t.disc, t.disc], bank)
    ahead, up = spine.axes(1)
    body.ball(spine.points[1], (t.disc, t.thickness, t.disc * 0.62), ahead, up, part="trunk", colour=t.coat)
    look = {"part": "wing", "colour": t.coat, "tip": t.wing_tip}
    for side in (-1.0, 1.0):
        beat = t.wing_length * (stroke + draws.number(-0.1, 0.1))
        root, end = (
            spine.at(1, t.disc * 0.12, 0.0, t.disc * 0.15 * side),
            spine.at(1, -t.wing_sweep, beat, t.wing_length * side),
        )
        blade(body, root, end, -ahead, t.disc * 1.75, t.wing_length > 0, 0.05, soft=0.10, **look)
        size = (t.wing_length * 0.50, t.disc * 0.56, t.thickness * 0.95)
        body.ball(mix(root, end, 0.36), size, end - root, -ahead, soft=0.14, **look)
        x, y, z = t.disc * 0.62, t.thickness * 0.85, t.disc * 0.24
        eye = spine.at(1, x, y + t.eye_size * 0.5, (z + t.eye_size * 0.9) * side)
        body.ball(spine.at(1, x, y, z * side), (t.eye_size * 1.5,) * 3, part="head", colour=t.coat, soft=0.03)
        body.ball(eye, (t.eye_size * 0.8,) * 3, colour=t.eye, **EYEBALL)
    points, sway = [spine.at(1, t.disc * -0.8, 0.0, 0.0)], draws.number(-0.5, 0.5)
    for bend in (0.3, 0.8, 1.3):
        points.append(points[-1] - scaled(heading(rise, turn + sway * bend, rise * 0.6), t.tail / 3))
    look = {"part": "tail", "pattern": 0.3, "soft": 0.03}
    body.chain(points, [0.06, 0.035, 0.025, 0.010], colour=t.coat, tip=t.wing_tip, **look)
    return body
