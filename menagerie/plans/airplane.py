"""Airplanes and helicopters."""

from dataclasses import dataclass

import torch

from menagerie.anatomy import QUARTER, Body, Vector, heading, mix, vector
from menagerie.draws import Draws, cos_sin
from menagerie.kinds import Traits
from menagerie.plans.vehicle import Machine, fixed, given, paint, palette, plate, posed, tube, wheel

LIVERIES = (
    ("#f0f0ee", 1.0),
    ("#1f3f86", 3.0),
    ("#b3242a", 3.0),
    ("#2d6fb4", 2.0),
    ("#e0a024", 1.5),
    ("#2d7d4f", 1.0),
    ("#23252c", 1.0),
    ("#7a2f62", 0.5),
)


MILITARY = (("#9aa2a9", 3.0), ("#7c858d", 3.0), ("#5d656c", 1.2), ("#a8997a", 0.9), ("#66704f", 0.9))


@dataclass(frozen=True)
class Skin:
    """Colours of an individual, each (N, 3), and how strongly camouflage shows on the first two."""

    coat: Vector
    wing: Vector
    livery: Vector
    camouflage: torch.Tensor


def _skin(t: Traits, draws: Draws) -> Skin:
    livery = paint(t, draws, t.trim, LIVERIES)
    military = (palette(draws, MILITARY) * t.tone).clamp(0, 1)
    camouflage = torch.where(draws.chance(0.4), 0.8, 0.0)
    war, gaudy = t.equals("coat_paint", "military")[:, None], t.equals("coat_paint", "trim")[:, None]
    coat = torch.where(war, military, torch.where(gaudy, livery, t.coat))
    wing = torch.where(war, military * 0.93, torch.where(gaudy, livery, t.wing))
    return Skin(coat, wing, livery, torch.where(war[:, 0], camouflage, 0.0))


def airplane(t: Traits, draws: Draws) -> Body:
    """An airplane of length 2, in flight or on its wheels."""
    body = Machine(len(t), gloss=t.gloss)
    r, zero = t.fuselage, torch.zeros(len(t))
    skin = _skin(t, draws)
    standing = draws.chance(0.3)
    _fuselage(body, t, skin)
    for side in (-1.0, 1.0):
        _wing(body, t, skin, side, t.wing_height * r)
        _wing(body, t, skin, side, t.wing_height * r + t.second_wing, t.second_wing > 0)
        _engines(body, t, draws, side, skin.livery)
        _tailplane(body, t, side, skin)
        _stores(body, t, side)
        for share in (0.45, 0.8):
            foot = _wing_point(t, side, share, t.wing_height * r)
            top = foot + vector(zero, t.second_wing, 0.0)
            body.bone(foot, top, tube(t.second_wing > 0, 0.014), part="wing", colour=fixed(r, "#5a4630"))
        strut = tube(t.equals("gear", "fixed") & (t.wing_height > 0.3), 0.014)
        body.bone(vector(t.wing_at - t.chord * 0.3, -r * 0.7, side * r * 0.7),
                  _wing_point(t, side, 0.5, t.wing_height * r), strut, part="wing", colour=skin.wing)  # fmt: skip
    _propeller(body, draws, t.equals("engine", "nose propeller"), vector(zero + 1.0, 0.0, 0.0), t.propeller)
    _gear(body, t, standing | t.equals("gear", "fixed"))
    bank = (draws.number(0.1, 0.8) * torch.where(t.wing_height > 0.5, 0.6, 1.0) * torch.where(draws.chance(0.6),
            1.0, -1.0))  # fmt: skip
    climb = draws.number(-0.12, 0.4)
    return posed(body, torch.where(standing, 0.0, bank), torch.where(standing, t.sit, climb))


def _fuselage(body: Body, t: Traits, skin: Skin) -> None:
    r, zero = t.fuselage, torch.zeros(len(t))
    tail = vector(zero - 1.0, r * t.tail_rise, 0.0)
    waist, shoulder = vector(t.waist, 0.0, 0.0), vector(1 - t.nose, 0.0, 0.0)
    point = r * t.nose_point
    nose = vector(1 - point, -r * 0.2, 0.0)
    body.bone(tail, waist, r * t.tail_girth, r, part="hull", soft=0.02, colour=skin.coat, pattern=skin.camouflage,
              belly=0.6)  # fmt: skip
    body.bone(waist, shoulder, r, part="hull", soft=0.02, colour=skin.coat, pattern=skin.camouflage, belly=0.6)
    cowl = torch.where(t.equals("nose_paint", "trim")[:, None], skin.livery, skin.coat)
    body.bone(shoulder, nose, r, point, part="hull", soft=0.02, colour=mix(skin.coat, cowl, 0.6), tip=cowl, belly=0.3)
    row = t.window_row
    middle = vector((t.waist + 1 - t.nose) * 0.5, r * 0.28, 0.0)
    body.slab(middle, ((1 - t.nose - t.waist) * 0.5 * row, r * 0.13, r * 0.985), part="window", colour=t.glass,
              pattern=1.0)  # fmt: skip
    stripe = vector((t.waist + 1 - t.nose) * 0.5, -r * 0.12, 0.0)
    body.slab(stripe, ((1 - t.nose - t.waist) * 0.56 * t.stripe, r * 0.10, r * 1.012), part="hull", colour=skin.livery)
    size = (t.canopy_length, t.canopy_height, t.canopy_width * r)
    body.ball(vector(t.canopy_at, t.canopy_lift * r, 0.0), size, heading(r, 0.0, -0.12), part="window", colour=t.glass,
              gloss=0.7)  # fmt: skip
    jet = t.equals("engine", "inside")
    body.bone(vector(zero - 1.0, 0.0, 0.0), vector(zero - 1.06, 0.0, 0.0), tube(jet, r * 0.85), r * 0.7, part="hull",
              colour=fixed(r, "#2a2a2c"))  # fmt: skip
    intake = torch.where(t.intake > 0, r * t.intake, 0.0)
    body.slab(vector(zero - 0.1, -r * 0.25, 0.0), (zero + 0.45, r * 0.6, intake), part="hull", colour=skin.coat,
              pattern=skin.camouflage)  # fmt: skip
    body.slab(vector(zero + 0.36, -r * 0.25, 0.0), (zero + 0.006, r * 0.5, intake * 0.97), part="hull",
              colour=fixed(r, "#1d1e20"))  # fmt: skip


def _wing_point(t: Traits, side: float, share: float, height: torch.Tensor) -> Vector:
    """A point in the middle of the wing, `share` of the way out."""
    span = t.span * share
    chord = t.chord * (1 - share + share * t.taper)
    return vector(t.wing_at - t.sweep * span - chord * 0.5, height + t.dihedral * span, side * span)


def _wing(
    body: Body, t: Traits, skin: Skin, side: float, height: torch.Tensor, there: torch.Tensor | None = None
) -> None:
    zero = torch.zeros(len(t))
    chord = t.chord if there is None else given(there, t.chord)
    root = vector(t.wing_at, height, zero)
    tip = vector(t.wing_at - t.sweep * t.span, height + t.dihedral * t.span, side * t.span)
    plate(body, root, vector(-chord, 0.0, 0.0), tip, t.taper, vector(zero, t.wing_thickness, 0.0), 3, part="wing",
          colour=skin.wing, pattern=skin.camouflage)  # fmt: skip


def _tailplane(body: Body, t: Traits, side: float, skin: Skin) -> None:
    r, zero = t.fuselage, torch.zeros(len(t))
    depth = vector(zero, 0.012, 0.0)
    chord, height = t.fin_chord * 0.8, r * t.tail_rise + t.tail_height * t.fin
    at = t.fin_chord * 1.0 - 0.98 - t.tail_height * t.fin * t.fin_sweep
    root = vector(at - t.fin_chord * 0.1, height, 0.0)
    tip = vector(at - t.fin_chord * 0.1 - t.tail_span * t.tail_sweep, height, side * t.tail_span)
    plate(body, root, vector(-chord, 0.0, 0.0), tip, 0.5, depth, 2, part="fin", colour=skin.wing,
          pattern=skin.camouflage)  # fmt: skip
    # A single fin is in the middle; twin fins lean outwards.
    twin = t.equals("fins", "twin")
    there = twin if side < 0 else twin | ~twin
    out = torch.where(twin, side * r * 0.9, 0.0)
    lean = torch.where(twin, side * t.fin * 0.35, 0.0)
    chord = given(there, t.fin_chord)
    root = vector(t.fin_chord - 0.98, r * 0.3, out)
    tip = vector(t.fin_chord - 0.98 - t.fin * t.fin_sweep, r * 0.5 + t.fin, out + lean)
    colour = torch.where(t.equals("fin_paint", "trim")[:, None], skin.livery, skin.coat)
    plate(body, root, vector(-chord, 0.0, 0.0), tip, t.fin_taper, vector(zero, 0.0, 0.014), 3, part="fin",
          colour=colour, pattern=skin.camouflage)  # fmt: skip


def _engines(body: Body, t: Traits, draws: Draws, side: float, livery: Vector) -> None:
    r = t.fuselage
    colour = torch.where(t.equals("engine_paint", "trim")[:, None], livery, t.engine_colour)
    for pair in (0, 1):
        props, hung, aft = (t.equals("engine", one) for one in ("wing propellers", "wing jets", "tail jets"))
        there = (props | hung | aft) & (t.engine_pairs > pair + 0.5)
        at = _wing_point(t, side, 0.36 if pair == 0 else 0.66, t.wing_height * r)
        hanging = at + vector(t.chord * 0.32, torch.where(props, 0.0, -t.engine_radius * 1.15), 0.0)
        middle = torch.where(aft[:, None], vector(t.waist - 0.05, r * 0.45, side * (r + t.engine_radius * 0.9)),
                             hanging)  # fmt: skip
        front, rear = middle + vector(t.engine_radius * 1.1, 0.0, 0.0), middle - vector(t.engine_radius * 1.5, 0.0, 0.0)
        body.bone(rear, front, tube(there, t.engine_radius * 0.75), t.engine_radius, part="hull", colour=colour)
        mouth = front + vector(t.engine_radius * 0.93, 0.0, 0.0)
        size = given(there & ~props, t.engine_radius * 0.12)
        body.ball(mouth, (size, t.engine_radius * 0.72, t.engine_radius * 0.72), part="hull",
                  colour=fixed(r, "#222326"))  # fmt: skip
        if pair == 0:
            _propeller(body, draws, there & props, front + vector(t.engine_radius, 0.0, 0.0), t.propeller)


def _propeller(body: Body, draws: Draws, there: torch.Tensor, hub: Vector, radius: torch.Tensor) -> None:
    turn = draws.number(0.0, 3.14)
    for quarter in (0.0, QUARTER):
        c, s = cos_sin(turn + quarter)
        blade = vector(torch.zeros_like(c), c, s)
        body.slab(hub + vector(torch.zeros_like(c) + 0.02, 0.0, 0.0), (given(there, radius), radius * 0.09, 0.008),
                  blade, heading(c, 0.0, 0.0), part="fin", colour=fixed(c, "#2b2a2a"))  # fmt: skip
    body.bone(hub, hub + vector(radius * 0.2, 0.0, 0.0), tube(there, radius * 0.16), radius * 0.06, part="hull",
              colour=fixed(turn, "#b8b8b8"))  # fmt: skip


def _stores(body: Body, t: Traits, side: float) -> None:
    """Missiles under the wings of a fighter."""
    for share in (0.5, 1.0):
        at = _wing_point(t, side, share, t.wing_height * t.fuselage)
        at = at + vector(torch.zeros(len(t)), 0.0 if share == 1.0 else -0.04, 0.0)
        ahead = vector(torch.zeros(len(t)) + 0.17, 0.0, 0.0)
        body.bone(at - ahead, at + ahead, tube(t.missiles > 0, 0.02), 0.014, part="hull", colour=t.missile)


def _gear(body: Body, t: Traits, there: torch.Tensor) -> None:
    r, zero = t.fuselage, torch.zeros(len(t))
    level = -r - t.gear_length
    dragger = t.sit > 0.05
    main = t.wing_at - t.chord * torch.where(dragger, 0.1, 0.75)
    feet = [(vector(main, level, side * (r + 0.06)), t.gear_wheel, side) for side in (-1.0, 1.0)]
    nose = vector(torch.where(dragger, -0.9, 1 - t.nose * 0.9), torch.where(dragger, -r * 0.6, level), zero)
    feet.append((nose, torch.where(dragger, t.gear_wheel * 0.5, t.gear_wheel * 0.8), 1.0))
    for foot, size, side in feet:
        top = foot * torch.tensor([1.0, 0.0, 0.4]) - vector(zero, torch.where(size < t.gear_wheel * 0.6, -0.05,
                                  r * 0.5), 0.0)  # fmt: skip
        body.bone(top, foot, tube(there, 0.016), part="leg", colour=fixed(r, "#9a9c9e"))
        wheel(body, there, foot, size, 0.028, side, fixed(r, "#a8aaac"))


ROTORCRAFT = (
    ("#b5262b", 2.0),
    ("#24407e", 2.0),
    ("#e3a423", 2.0),
    ("#e9e9e6", 1.5),
    ("#4c5a3c", 2.0),
    ("#23262b", 1.0),
)


def helicopter(t: Traits, draws: Draws) -> Body:
    """A helicopter: cabin, boom, two rotors, skids."""
    body = Machine(len(t), gloss=t.gloss)
    zero = torch.zeros(len(t))
    colour, grey = paint(t, draws, t.coat, ROTORCRAFT), fixed(zero, "#3a3b3d")
    light = palette(draws, (("#eceae4", 1.0), ("#c9c9c9", 1.0), ("#30343a", 1.0)))
    g = t.cabin
    body.ball(vector(zero + 0.42, 0.0, 0.0), (g * 1.75, g, g * 0.8), part="hull", soft=0.04, colour=colour)
    body.ball(vector(0.42 + g * 0.72, g * 0.12, 0.0), (g * 1.12, g * 0.78, g * 0.74), part="window", colour=t.glass,
              gloss=0.8)  # fmt: skip
    body.slab(vector(zero + 0.42, g * 0.15, 0.0), (g * 0.5, g * 0.38, g * 0.79), part="window", colour=t.glass,
              gloss=0.6)  # fmt: skip
    body.bone(vector(0.42 + g * 1.3, g * 0.75, 0.0), vector(0.42 + g * 1.7, -g * 0.4, 0.0), 0.015, part="hull",
              colour=colour)  # fmt: skip
    body.bone(vector(0.35 - g * 0.5, g * 0.35, 0.0), vector(zero - 1.0, g * 0.5, 0.0), g * 0.45, g * 0.13, part="tail",
              soft=0.04, colour=colour, tip=light)  # fmt: skip
    body.bone(vector(0.42 - g, g * 0.9, 0.0), vector(0.42 + g * 0.5, g * 0.95, 0.0), g * 0.38, g * 0.26, part="hull",
              soft=0.04, colour=colour)  # fmt: skip
    body.slab(vector(zero - 0.05, g * 0.15, 0.0), (zero + 0.4, g * 0.10, g * 0.5), part="hull", colour=light)
    plate(body, vector(zero - 0.82, g * 0.4, 0.0), vector(zero - 0.2, 0.0, 0.0), vector(zero - 0.98, g * 1.4, 0.0), 0.6,
          vector(zero, 0.0, 0.016), 2, part="fin", colour=colour)  # fmt: skip
    body.slab(vector(zero - 0.75, g * 0.45, 0.0), (zero + 0.07, 0.012, g * 0.8), part="fin", colour=light)
    mast = vector(zero + 0.3, g * 1.62, 0.0)
    body.bone(vector(zero + 0.3, g, 0.0), mast, 0.035, part="mast", colour=grey)
    turn = draws.number(0.0, 1.57)
    for quarter in (0.0, QUARTER):
        c, s = cos_sin(turn + quarter)
        body.slab(mast, (t.rotor, 0.010, 0.035), vector(c, zero, s), part="fin", colour=grey)
        body.slab(vector(zero - 0.97, g * 1.1, 0.05), (zero + 0.26, 0.022, 0.01), vector(c, s, 0.0), vector(-s, c, 0.0),
                  part="fin", colour=grey)  # fmt: skip
    for side in (-1.0, 1.0):
        z, y = side * g * 0.85, -g * 1.42
        body.bone(vector(zero, y, z), vector(zero + 0.85, y, z), 0.02, part="foot", colour=grey)
        body.bone(vector(zero + 0.85, y, z), vector(zero + 0.95, y + 0.07, z), 0.02, part="foot", colour=grey)
        for x in (0.2, 0.65):
            body.bone(vector(zero + x, -g * 0.7, z * 0.5), vector(zero + x, y, z), 0.016, part="leg", colour=grey)
    return posed(body, draws.number(-0.25, 0.35), draws.number(-0.25, 0.1))


BALLOONS = (("#b3242a", 2.0), ("#24499a", 2.0), ("#e0a41e", 2.0), ("#2f7d4c", 1.0), ("#7a3a86", 0.8), ("#d2661e", 1.2))


def balloon(t: Traits, draws: Draws) -> Body:
    """A hot-air balloon: envelope with coloured hoops, ropes, basket."""
    body = Machine(len(t), gloss=t.gloss)
    zero = torch.zeros(len(t))
    colour, second = paint(t, draws, t.coat, BALLOONS), palette(draws, BALLOONS)
    up, r = vector(zero, zero + 1.0, 0.0), t.envelope
    skirt = vector(zero, -r * 1.25, 0.0)
    body.ball(vector(zero, 0.0, 0.0), (r, r, r), up, vector(zero + 1.0, 0.0, 0.0), part="crown", soft=0.08,
              colour=colour, tip=mix(colour, second, 0.3), pattern=1.0, along=(0.0, 2 * r))  # fmt: skip
    body.bone(skirt, vector(zero, -r * 0.38, 0.0), r * 0.20, r * 0.86, part="crown", soft=0.08, colour=second,
              tip=colour)  # fmt: skip
    half = r * 0.17
    basket = vector(zero, -r * 1.85, 0.0)
    body.slab(basket, (half, half * 0.85, half), part="hull", colour=fixed(r, "#7a5630"), gloss=0.0)
    body.slab(basket + vector(zero, half * 0.85, 0.0), (half * 1.12, half * 0.14, half * 1.12), part="hull",
              colour=fixed(r, "#4c3420"), gloss=0.0)  # fmt: skip
    for x in (-1.0, 1.0):
        for z in (-1.0, 1.0):
            body.bone(basket + vector(half * x, half, half * z), skirt + vector(half * x * 1.1, 0.0, half * z * 1.1),
                      0.012, part="mast", colour=fixed(r, "#3a342c"))  # fmt: skip
    return posed(body, draws.number(-0.1, 0.1), draws.number(-0.12, 0.12))
