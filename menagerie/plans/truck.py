"""Lorries, buses and tractors; lengths in metres, the ground at y = 0."""

import torch

from menagerie.anatomy import QUARTER, Body, Vector, heading, mix, scaled, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.vehicle import Machine, arch, block, fixed, given, paint, palette, plate, tube, wheel

CABS = (
    ("#e6e6e2", 2.0),
    ("#a8231f", 2.5),
    ("#25467f", 2.5),
    ("#d59a1e", 1.5),
    ("#2f6a46", 1.2),
    ("#c85a1c", 1.0),
    ("#3d84b8", 1.0),
    ("#2a2c30", 0.7),
)
BOXES = (
    ("#e8e8e4", 4.0),
    ("#c9ccce", 1.5),
    ("#3a67a0", 1.0),
    ("#a83a2c", 1.0),
    ("#d8b04a", 0.8),
    ("#4a7a56", 0.8),
    ("#7a4a32", 0.5),
)
CARGO = (("#8a6f4c", 2.0), ("#8f8a80", 2.0), ("#4a4038", 1.0), ("#c0a878", 1.0))
AXLES = 3  # at the rear, besides the front axle


def truck(t: Traits, draws: Draws) -> Body:
    """A lorry: cab in front, load behind."""
    body = Machine(len(t), gloss=t.gloss)
    colour = paint(t, draws, t.coat, CABS)
    load = torch.where(t.equals("load_paint", "varied")[:, None], palette(draws, BOXES) * t.tone, t.load_colour)
    load = torch.where(t.equals("load_paint", "cab")[:, None], colour, load).clamp(0, 1)
    _cab(body, t, colour)
    front = t.length * 0.5 - t.bonnet - t.cab - t.gap
    back = -t.length * 0.5
    block(body, (back + 0.2, t.length * 0.5 - 0.3), (t.bed - 0.42, t.bed - 0.12), 0.55, part="hull",
          colour=fixed(t.cab, "#26272a"))  # fmt: skip
    # Fuel tank and side guard between the axles.
    guard = (back + t.rear_overhang + t.wheel * (2.15 * (t.axles - 1) + 1.3), front - 0.2)
    block(body, guard, (t.bed - 0.62, t.bed - 0.18), t.width * 0.94, part="hull", colour=fixed(t.cab, "#55585c"))
    _box(body, t, front, back, load)
    _tipper(body, t, draws, front, back, load)
    _tank(body, t, front, back, load)
    _logs(body, t, draws, front, back)
    _rescue(body, t, front, back)
    _axles(body, t)
    return body


def _cab(body: Body, t: Traits, colour: Vector) -> None:
    w, zero = t.width, torch.zeros(len(t))
    nose = t.length * 0.5
    face = nose - t.bonnet
    back = face - t.cab
    low, waist, top = t.bed - 0.45, t.bed + 0.75, t.cab_height
    black, glass = fixed(w, "#232427"), t.glass
    block(body, (back, face), (low, waist), w, part="hull", colour=colour)
    # The upper half leans back to the roof.
    plate(body, vector(back, waist, 0.0), vector(t.cab, 0.0, 0.0), vector(back, top, 0.0), 1 - t.cab_rake / t.cab,
          vector(zero, 0.0, w), 2, part="hull", colour=colour)  # fmt: skip
    rise = top - waist
    lean = vector(-t.cab_rake, rise, 0.0)
    pane = vector(face, waist, 0.0) + scaled(lean, 0.44)
    body.skew(pane, scaled(lean, 0.38), vector(zero + 0.03, 0.0, 0.0), vector(zero, 0.0, w * 0.88), part="window",
              colour=glass, gloss=0.6)  # fmt: skip
    window = (face - t.cab_rake * 0.6 - t.cab * t.crew - 0.55, face - t.cab_rake * 0.6 - 0.12)
    block(body, window, (waist + rise * 0.06, waist + rise * 0.76), w * 1.012, part="window", colour=glass, gloss=0.5)
    # A long bonnet, with its grille, or a flat face.
    long = t.bonnet > 0.1
    block(body, (face, nose), (low, t.bed + 0.65), w * 0.68, long, part="hull", colour=colour)
    for side in (-1.0, 1.0):
        body.ball(vector(face + t.bonnet * 0.45, t.wheel * 1.35, side * w * 0.82),
                  (given(long, t.wheel * 1.35), t.wheel, w * 0.22), part="hull", colour=colour)  # fmt: skip
        body.slab(vector(nose + 0.01, low + 0.32, side * w * 0.72 - side * given(long, w * 0.02)),
                  (zero + 0.03, 0.11, 0.17), part="window", colour=fixed(w, "#f4f0dc"), gloss=0.8)  # fmt: skip
        body.bone(vector(face - 0.05, waist + rise * 0.15, side * (w + 0.16)),
                  vector(face - 0.05, waist + rise * 0.6, side * (w + 0.16)), 0.09, part="hull",
                  colour=black)  # fmt: skip
        pipe = t.equals("exhaust", "upright")
        body.bone(vector(back + 0.05, t.bed, side * (w + 0.02)), vector(back + 0.05, top + 0.55, side * (w + 0.02)),
                  tube(pipe, 0.09), part="hull", colour=fixed(w, "#c4c6c8"), gloss=0.6)  # fmt: skip
    block(body, (nose - 0.01, nose + 0.03), (low + 0.55, t.bed + 0.60), w * torch.where(long, 0.55, 0.72), part="hull",
          colour=torch.where(long[:, None], fixed(w, "#b4b6b8"), black))  # fmt: skip
    block(body, (nose - 0.25, nose + 0.10), (low - 0.12, low + 0.18), w * 1.0, part="hull", colour=t.bumper)
    block(body, (back, face - 0.1), (top - 0.02, top + 0.02 + t.deflector), w * 0.85, t.deflector > 0, part="hull",
          colour=colour)  # fmt: skip


def _box(body: Body, t: Traits, front: torch.Tensor, back: torch.Tensor, load: Vector) -> None:
    there = t.equals("load", "box")
    w = t.width * 1.03
    block(body, (back, front), (t.bed, t.load_height), w, there, part="crown", colour=load)
    edge = mix(load, fixed(w, "#b0b2b4"), 0.75)
    for low, high in ((t.bed - 0.06, t.bed + 0.10), (t.load_height - 0.10, t.load_height + 0.02)):
        block(body, (back - 0.02, front + 0.02), (low, high), w * 1.012, there, part="crown", colour=edge)
    for x in (back, front):
        block(body, (x - 0.05, x + 0.05), (t.bed, t.load_height), w * 1.012, there, part="crown", colour=edge)
    length = front - back
    block(body, (back + length * 0.25, front - length * 0.25), (t.bed + (t.load_height - t.bed) * 0.42,
          t.bed + (t.load_height - t.bed) * 0.66), w * 1.008, there & t.equals("sign", "stripe"), part="crown",
          colour=t.sign_colour)  # fmt: skip


def _tipper(body: Body, t: Traits, draws: Draws, front: torch.Tensor, back: torch.Tensor, load: Vector) -> None:
    """An open body that may be raised, hinged at its rear end; the walls lean outwards."""
    there = t.equals("load", "tipper")
    zero = torch.zeros(len(t))
    raised = torch.where(draws.chance(0.4), draws.number(0.25, 0.65), 0.0)
    along, up = heading(zero, 0.0, raised), heading(zero, 0.0, raised + QUARTER)
    hinge = vector(back + 0.25, t.bed, 0.0)
    half, tall = (front - back - 0.25) * 0.5, (t.load_height - t.bed) * 0.5
    centre = hinge + scaled(along, half) + scaled(up, tall)
    dark = mix(load, fixed(zero, "#101010"), 0.35)
    lying, standing = scaled(along, given(there, half)), scaled(up, tall)
    body.skew(hinge + scaled(along, half) + scaled(up, 0.08), lying, scaled(up, 0.08 + zero),
              vector(zero, 0.0, t.width), part="crown", colour=dark)  # fmt: skip
    for side in (-1.0, 1.0):
        wall = vector(zero, 0.0, side * (t.width + 0.04))
        flare = vector(zero, 0.0, side * 0.08)
        body.skew(centre + wall, lying, standing + flare, vector(zero, 0.0, 0.06), part="crown", colour=load)
        for share in (-0.6, -0.1, 0.4):
            rib = centre + wall * 1.03 + scaled(along, half * share)
            body.skew(rib, scaled(along, given(there, 0.07)), standing + flare, vector(zero, 0.0, 0.06), part="crown",
                      colour=dark)  # fmt: skip
    for share in (-1.0, 1.0):
        end = centre + scaled(along, half * share)
        body.skew(end, scaled(along, given(there, 0.06)), standing, vector(zero, 0.0, t.width), part="crown",
                  colour=load)  # fmt: skip
    piston = vector(front - 0.8, t.bed - 0.2, 0.0)
    body.bone(piston, hinge + scaled(along, half * 1.7), tube(there & (raised > 0), 0.10), part="mast",
              colour=fixed(zero, "#a8abae"))  # fmt: skip
    block(body, (back + 0.1, back + 0.45), (t.bed - 0.35, t.bed + 0.05), 0.6, there, part="hull",
          colour=fixed(zero, "#26272a"))  # fmt: skip
    visor = centre + scaled(along, half + 0.35) + scaled(up, tall)
    body.skew(visor, scaled(along, given(there, 0.45)), scaled(up, 0.06 + zero), vector(zero, 0.0, t.width),
              part="crown", colour=load)  # fmt: skip
    heap = centre + scaled(up, tall * 0.7)
    full = there & draws.chance(0.75)
    body.ball(heap, (given(full, half * 0.9), tall * 0.95, t.width * 0.92), along, up, part="crown",
              colour=palette(draws, CARGO), pattern=1.0, gloss=0.0)  # fmt: skip


def _tank(body: Body, t: Traits, front: torch.Tensor, back: torch.Tensor, load: Vector) -> None:
    """A tank lying on the bed, or the tilted drum of a concrete mixer."""
    zero = torch.zeros(len(t))
    lying, drum = t.equals("load", "tank"), t.equals("load", "mixer")
    r = (t.load_height - t.bed) * 0.5
    steel = fixed(zero, "#8e9194")
    a, b = vector(back + r * 0.7, t.bed + r, 0.0), vector(front - r * 0.7, t.bed + r, 0.0)
    body.bone(a, b, tube(lying, r), part="crown", colour=load, gloss=0.5)
    for share in (0.0, 0.5, 1.0):
        hoop = mix(a, b, share)
        body.bone(hoop - vector(zero + 0.05, 0.0, 0.0), hoop + vector(zero + 0.05, 0.0, 0.0), tube(lying, 0.16),
                  part="crown", colour=steel)  # fmt: skip
        body.ball(hoop + vector(zero, r * 0.98, 0.0), (given(lying, 0.32), 0.16, 0.32), part="crown", colour=steel)
    stripe = (a[:, 0], b[:, 0])
    striped = lying & t.equals("sign", "stripe")
    block(body, stripe, (t.bed + r * 0.82, t.bed + r * 1.18), r * 1.004, striped, part="crown", colour=t.sign_colour)
    block(body, (back + 0.3, front - 0.2), (t.bed - 0.05, t.bed + r * 0.35), t.width * 0.7, lying | drum, part="hull",
          colour=fixed(zero, "#34363a"))  # fmt: skip
    bottom, top = vector(front - r * 0.9, t.bed + r * 0.75, 0.0), vector(back + 0.55, t.bed + r * 1.65, 0.0)
    belly = mix(bottom, top, 0.38)
    body.bone(bottom, belly, tube(drum, r * 0.72), r, part="crown", colour=load, pattern=1.0)
    body.bone(belly, top, tube(drum, r), r * 0.42, part="crown", colour=load, pattern=1.0)
    body.bone(top, top + vector(zero - 0.25, 0.15, 0.0), tube(drum, r * 0.5), r * 0.34, part="crown", colour=steel)
    body.bone(top + vector(zero - 0.2, -r * 0.5, 0.0), vector(back - 0.1, t.bed - 0.1, 0.3), tube(drum, 0.16),
              part="crown", colour=steel)  # fmt: skip
    block(body, (back + 0.3, back + 0.6), (t.bed, t.bed + r * 1.4), 0.6, drum, part="hull", colour=steel)


def _logs(body: Body, t: Traits, draws: Draws, front: torch.Tensor, back: torch.Tensor) -> None:
    """Logs between stakes."""
    there = t.equals("load", "logs")
    zero = torch.zeros(len(t))
    bark, cut = fixed(zero, "#6a4c32"), fixed(zero, "#c49c68")
    r = t.width * 0.32
    for level, row in enumerate((3, 3, 2)):
        for i in range(row):
            z, y = r * 2 * (i - (row - 1) / 2), t.bed + r * (1 + 1.75 * level)
            end, girth = draws.number(-0.15, 0.15), r * draws.number(0.85, 1.05)
            tone = bark * draws.number(0.7, 1.3)[:, None]
            body.bone(vector(back + end, y, z), vector(front - 0.2 + end, y, z), tube(there, girth), part="crown",
                      colour=tone)  # fmt: skip
            body.ball(vector(back + end - girth * 0.8, y, z), (given(there, girth * 0.3), girth * 0.75, girth * 0.75),
                      part="crown", colour=cut)  # fmt: skip
    for share in (0.15, 0.5, 0.85):
        x = back + (front - back) * share
        for side in (-1.0, 1.0):
            body.bone(vector(x, t.bed, side * t.width * 1.05), vector(x, t.bed + r * 5, side * t.width * 1.05),
                      tube(there, 0.07), part="mast", colour=fixed(zero, "#3a3c40"))  # fmt: skip


def _rescue(body: Body, t: Traits, front: torch.Tensor, back: torch.Tensor) -> None:
    """What makes a fire engine: shutters, white band, ladder, blue lights."""
    there = t.equals("load", "pumps")
    zero = torch.zeros(len(t))
    w, steel = t.width, fixed(zero, "#b9bdc1")
    block(body, (back, front + t.gap), (t.bed - 0.45, t.load_height), w, there, part="crown", colour=t.load_colour)
    length = front - back
    for i in range(3):
        a = back + length * (0.05 + 0.32 * i)
        block(body, (a, a + length * 0.26), (t.bed + 0.1, t.load_height - 0.35), w * 1.01, there, part="crown",
              colour=steel)  # fmt: skip
    nose = t.length * 0.5
    block(body, (back, nose - 0.02), (t.bed - 0.22, t.bed + 0.02), w * 1.014, there, part="hull", colour=t.sign_colour)
    high = t.load_height + 0.16
    for side in (-0.38, 0.38):
        body.bone(vector(back - 0.3, high, side), vector(nose - t.cab * 0.3, high + 0.15, side), tube(there, 0.07),
                  part="mast", colour=steel)  # fmt: skip
    for i in range(6):
        x = back + (nose - back) * (0.08 + 0.14 * i)
        y = high + 0.15 * (0.08 + 0.14 * i)
        body.bone(vector(x, y, zero - 0.38), vector(x, y, zero + 0.38), tube(there, 0.05), part="mast", colour=steel)
    block(body, (front - 0.4, front - 0.2), (t.load_height, high + 0.05), 0.45, there, part="mast", colour=steel)
    for side in (-0.6, 0.6):
        body.ball(vector(nose - 0.55, t.cab_height + 0.08, side), (given(there, 0.20), 0.20, 0.22), part="window",
                  colour=fixed(zero, "#2a62c8"), gloss=0.8)  # fmt: skip


def _axles(body: Body, t: Traits) -> None:
    first = t.length * 0.5 - t.overhang
    positions = [(first, t.wheel > 0)]
    for i in range(AXLES):
        positions.append((-t.length * 0.5 + t.rear_overhang + t.wheel * 2.15 * i, t.axles > i + 0.5))
    # The rear axle of an articulated lorry's tractor.
    positions.append((t.length * 0.5 - t.bonnet - t.cab - t.wheel * 1.1, t.equals("trailer", "yes")))
    for x, there in positions:
        for side in (-1.0, 1.0):
            wheel(body, there, vector(x, t.wheel, side * (t.width - 0.10)), t.wheel, 0.22, side, t.hub)
    for side in (-1.0, 1.0):
        arch(body, vector(first, t.wheel * 1.02, side * (t.width - 0.06)), t.wheel * 1.2)


BUSES = (
    ("#e4e2d8", 1.5),
    ("#a8231f", 2.0),
    ("#2a5ea0", 1.5),
    ("#e0a01c", 1.0),
    ("#3a8a5a", 1.0),
    ("#d0661e", 0.8),
)


def bus(t: Traits, draws: Draws) -> Body:
    """A bus with one or two decks."""
    body = Machine(len(t), gloss=t.gloss)
    zero, w = torch.zeros(len(t)), t.width
    colour = paint(t, draws, t.coat, BUSES)
    roof = palette(draws, (("#f0efe8", 1.0), ("#d8d8d4", 1.0)))
    roof = torch.where((t.equals("roof", "white"))[:, None], roof, colour)
    half = t.length * 0.5
    face = half - t.bonnet
    long = t.bonnet > 0.1
    block(body, (-half, face), (zero + 0.38, t.height - 0.2), w, part="hull", colour=colour)
    block(body, (-half + 0.1, face - 0.1), (t.height - 0.25, t.height), w * 0.9, part="hull", colour=roof)
    block(body, (face, half), (zero + 0.45, zero + 1.55), w * 0.8, long, part="hull", colour=colour)
    for side in (-1.0, 1.0):
        z = side * (w - 0.2)
        body.bone(vector(-half + 0.2, t.height - 0.2, z), vector(face - 0.2, t.height - 0.2, z), 0.2, part="hull",
                  colour=roof)  # fmt: skip
        body.slab(vector(half, 0.85, side * w * 0.65), (zero + 0.04, 0.12, 0.18), part="window",
                  colour=fixed(zero, "#f4f0dc"), gloss=0.8)  # fmt: skip
        body.slab(vector(-half, 1.1, side * w * 0.85), (zero + 0.04, 0.2, 0.1), part="window",
                  colour=fixed(zero, "#9c1418"))  # fmt: skip
        body.bone(vector(face + 0.15, 1.7, side * (w + 0.12)), vector(face + 0.15, 2.15, side * (w + 0.12)), 0.08,
                  part="hull", colour=fixed(zero, "#1e1f22"))  # fmt: skip
    deck = torch.where(t.decks > 1.5, t.height * 0.5, t.height)
    for level, there in ((zero, t.decks > 0), (t.height * 0.5 - 0.12, t.decks > 1.5)):
        low, high = level + deck * t.window_low, level + deck * 0.86
        block(body, (-half + 0.35, face - 0.45), (low, high), w * 1.01, there, part="window", colour=t.glass, gloss=0.4,
              pattern=1.0)  # fmt: skip
        block(body, (face - 0.1, face + 0.03), (low - 0.15, high), w * 0.90, there, part="window", colour=t.glass,
              gloss=0.6)  # fmt: skip
        block(body, (-half - 0.03, -half + 0.1), (low, high), w * 0.75, there, part="window", colour=t.glass, gloss=0.6)
    block(body, (-half + 0.02, half - 0.02), (zero + 0.95, zero + 0.95 + t.stripe), w * 1.008, t.stripe > 0,
          part="hull", colour=t.trim)  # fmt: skip
    block(body, (-half - 0.06, half + 0.10), (zero + 0.36, zero + 0.55), w * 0.97, part="hull",
          colour=fixed(zero, "#2b2c2e"))  # fmt: skip
    for x in (half - t.overhang, -half + t.rear_overhang):
        for side in (-1.0, 1.0):
            arch(body, vector(x, zero + 0.52, side * (w - 0.05)), zero + 0.63)
            wheel(body, w > 0, vector(x, zero + 0.5, side * (w - 0.08)), zero + 0.5, 0.18, side, fixed(zero, "#9a9c9e"))
    return body


TRACTORS = (("#3f7a34", 2.0), ("#b0261f", 2.0), ("#2c5fa0", 1.0), ("#d8881c", 0.8))


def tractor(t: Traits, draws: Draws) -> Body:
    """A farm tractor: large wheels behind, small ones in front."""
    body = Machine(len(t), gloss=t.gloss)
    zero = torch.zeros(len(t))
    colour = paint(t, draws, t.coat, TRACTORS)
    black, big, small = fixed(zero, "#232426"), t.rear_wheel, t.front_wheel
    block(body, (zero - 0.6, zero + 1.9), (zero + 0.65, zero + 0.95), 0.28, part="hull", colour=black)
    block(body, (zero + 0.35, zero + 2.0), (zero + 0.9, zero + 1.5), 0.36, part="hull", colour=colour)
    body.bone(vector(zero + 0.4, 1.45, 0.0), vector(zero + 1.85, 1.35, 0.0), 0.33, 0.28, part="hull", colour=colour)
    block(body, (zero + 1.98, zero + 2.03), (zero + 0.95, zero + 1.42), 0.28, part="hull", colour=black)
    block(body, (zero + 0.7, zero + 1.7), (zero + 1.0, zero + 1.25), 0.37, part="hull", colour=black)
    # Cab: glass between posts under a broad roof.
    block(body, (zero - 0.95, zero + 0.35), (zero + 1.1, zero + 1.55), 0.5, part="hull", colour=colour)
    block(body, (zero - 0.95, zero + 0.30), (zero + 1.5, zero + 2.5), 0.56, part="window", colour=t.glass, gloss=0.6)
    block(body, (zero - 1.10, zero + 0.50), (zero + 2.48, zero + 2.66), 0.70, part="hull", colour=colour)
    for side in (-1.0, 1.0):
        for x in (-0.95, -0.35, 0.30):
            body.bone(vector(zero + x, 1.5, side * 0.56), vector(zero + x, 2.5, side * 0.56), 0.045, part="hull",
                      colour=black)  # fmt: skip
        fender = vector(zero - 0.75, big * 1.35, side * 0.78)
        body.ball(fender, (big * 0.95, big * 0.78, zero + 0.26), part="hull", colour=colour)
        rear, front = vector(zero - 0.75, big, side * 0.92), vector(zero + 1.45, small, side * 0.78)
        wheel(body, big > 0, rear, big, 0.27, side, t.hub)
        wheel(body, big > 0, front, small, 0.19, side, t.hub)
        body.ball(vector(zero + 2.0, 1.3, side * 0.24), (zero + 0.06, 0.09, 0.09), part="window",
                  colour=fixed(zero, "#f4f0dc"), gloss=0.8)  # fmt: skip
    body.bone(vector(zero + 0.75, 1.5, 0.30), vector(zero + 0.75, 2.5, 0.30), 0.06, part="mast", colour=black)
    return body
