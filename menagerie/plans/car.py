"""Cars."""

import torch

from menagerie.anatomy import Body, Vector, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.vehicle import Machine, arch, bar, block, fixed, given, paint, plate, tube, wheel

PAINTS = (
    ("#e9e9e6", 2.0),
    ("#b4b8bc", 2.0),
    ("#6c7177", 1.5),
    ("#232427", 1.5),
    ("#23396b", 2.0),
    ("#a3231f", 2.5),
    ("#c2b28c", 0.8),
    ("#2f5a40", 1.0),
    ("#4d83b0", 1.2),
    ("#d6a62a", 0.8),
    ("#c4601f", 0.6),
)


def car(t: Traits, draws: Draws) -> Body:
    """A car on its wheels; lengths in metres, the ground at y = 0."""
    body = Machine(len(t), gloss=t.gloss)
    colour = paint(t, draws, t.coat, PAINTS)
    _lower(body, t, colour)
    _cabin(body, t, colour)
    _lights(body, t)
    _extras(body, t, colour)
    _wheels(body, t, colour)
    return body


def _cowl(t: Traits) -> torch.Tensor:
    return t.length * 0.5 - t.bonnet


def _back(t: Traits) -> torch.Tensor:
    return -t.length * 0.5 + t.boot_length


def _lower(body: Body, t: Traits, colour: Vector) -> None:
    """Everything below the windows: a tub with rounded ends, the shoulders, the slopes of bonnet and boot."""
    end, low, w = t.length * 0.5, t.clearance, t.width
    trim = torch.where(t.equals("bumpers", "black")[:, None], fixed(w, "#2b2c2e"), colour)
    for sign, top, base in ((1.0, t.nose_height, _cowl(t)), (-1.0, t.tail_height, _back(t))):
        round_ = (top - low) * 0.5
        flat = end - round_ * t.roundness
        middle = low + round_
        across = vector(torch.zeros_like(w), 0.0, w - round_)
        cap = vector(sign * (end - round_), middle, 0.0)
        body.bone(cap - across, cap + across, round_ * 0.98, part="hull", colour=colour)
        zero = torch.zeros_like(w)
        x = (zero, flat) if sign > 0 else (-flat, zero)
        block(body, x, (low, top), w, part="hull", colour=colour)
        # From the end up to the foot of the glass.
        outer, inner = vector(sign * (flat - 0.04), top, 0.0), vector(base, t.belt, 0.0)
        height = vector(zero, (top - low) * 0.45, 0.0)
        body.skew((outer + inner) * 0.5 - height, (inner - outer) * 0.5, height, vector(zero, 0.0, w * 0.97),
                  part="hull", colour=colour)  # fmt: skip
        bumper = vector(sign * (end - 0.05), low + 0.14, 0.0)
        body.slab(bumper, (zero + 0.09, zero + 0.085, w * 0.93), part="hull", colour=trim)
    block(body, (_back(t), _cowl(t)), (low, t.belt), w * 0.97, part="hull", colour=colour)
    reach = t.length * 0.5 - t.overhang - t.wheel
    block(body, (-reach, reach), (low - 0.05, low + 0.10), w * 1.005, part="hull", colour=fixed(w, "#232426"))


def _cabin(body: Body, t: Traits, colour: Vector) -> None:
    zero = torch.zeros(len(t))
    half, front, back = t.width * 0.86, _cowl(t), _back(t)
    top_front, top_back = front - t.rake, back + t.rear_rake
    glass_top = t.height - 0.05
    roofed = t.equals("roof", "closed")
    root, tip = vector(back, t.belt, 0.0), vector(top_back, glass_top, 0.0)
    taper = (top_front - top_back) / (front - back)
    chord = vector(given(roofed, front - back), 0.0, 0.0)
    plate(body, root, chord, tip, taper, vector(zero, 0.0, half), 5, part="window", colour=t.glass, gloss=0.5)
    middle = (top_front + top_back) * 0.5
    length = given(roofed, (top_front - top_back) * 0.5)
    body.slab(vector(middle, glass_top, 0.0), (length, 0.05, half), part="hull", colour=colour)
    body.ball(vector(middle, glass_top + 0.02, 0.0), (length * 1.12, t.dome, half * 0.98), part="hull", colour=colour)
    pillar = t.belt + 0.02
    for side in (-1.0, 1.0):
        z = half * side
        for low, high, width in (
            (front, top_front, 0.045),
            (back, top_back, t.rear_pillar),
            (middle * 0.9 - 0.1, middle * 0.9 - 0.1, 0.045),
        ):
            body.bone(vector(low, pillar, z), vector(high, glass_top, z), tube(roofed, width), part="hull",
                      colour=colour)  # fmt: skip
        mirror = vector(front - 0.25, t.belt + 0.09, side * (t.width + 0.10))
        body.ball(mirror, (zero + 0.07, 0.08, 0.11), part="hull", colour=colour)
    # Gaps of the doors.
    for x in (front - 0.12, middle * 0.9 - 0.1):
        block(body, (x - 0.014, x + 0.014), (t.clearance + 0.08, t.belt - 0.02), t.width * 1.004, part="hull",
              colour=colour * 0.25)  # fmt: skip
    # An open car shows its screen, its seats and the inside.
    open_ = ~roofed
    body.skew(vector(front - 0.15, t.belt + 0.16, 0.0), vector(zero - 0.18, 0.19, 0.0),
              vector(given(open_, 0.015), 0.01, 0.0), vector(zero, 0.0, half), part="window", colour=t.glass,
              gloss=0.6)  # fmt: skip
    block(body, (back + 0.15, front - 0.25), (t.belt - 0.2, t.belt + 0.01), half, open_, part="hull",
          colour=fixed(zero, "#2a2420"))  # fmt: skip
    for side in (-0.45, 0.45):
        body.ball(vector(back + 0.55, t.belt + 0.15, side * half), (given(open_, 0.12), 0.28, 0.24), part="hull",
                  colour=fixed(zero, "#5a3a28"))  # fmt: skip


def _lights(body: Body, t: Traits) -> None:
    end, zero = t.length * 0.5, torch.zeros(len(t))
    white, red = fixed(zero, "#f4f1e2"), fixed(zero, "#9c1418")
    front, rear = t.nose_height - 0.15, t.tail_height - 0.15
    for side in (-1.0, 1.0):
        z = side * (t.width - 0.22)
        body.ball(vector(end - 0.07, front, z), (zero + 0.12, 0.09, 0.18), part="window", colour=white, gloss=0.9)
        body.slab(vector(-end + 0.09, rear, z), (zero + 0.11, 0.10, 0.14), part="window", colour=red, gloss=0.5)
    body.slab(vector(end - 0.04, front - 0.08, 0.0), (zero + 0.05, t.grille, t.width * 0.45), part="hull",
              colour=fixed(zero, "#1c1d1f"))  # fmt: skip
    for x, y in ((end, t.clearance + 0.2), (-end, rear - 0.18)):
        body.slab(vector(x, y, 0.0), (zero + 0.045, 0.06, 0.26), part="hull", colour=fixed(zero, "#e6e4d8"))


def _extras(body: Body, t: Traits, colour: Vector) -> None:
    end, zero = t.length * 0.5, torch.zeros(len(t))
    black = fixed(zero, "#242527")
    spare = t.equals("extra", "spare wheel")
    body.ball(vector(-end - 0.12, t.belt - 0.1, 0.0), (given(spare, 0.13), t.wheel * 0.95, t.wheel * 0.95),
              part="wheel", colour=black)  # fmt: skip
    wing = t.equals("extra", "spoiler")
    body.slab(vector(-end + 0.15, t.tail_height + 0.22, 0.0), (given(wing, 0.17), 0.025, t.width * 0.9), part="fin",
              colour=colour)  # fmt: skip
    for side in (-1.0, 1.0):
        body.bone(vector(-end + 0.2, t.tail_height - 0.02, side * t.width * 0.6),
                  vector(-end + 0.17, t.tail_height + 0.2, side * t.width * 0.6), tube(wing, 0.03), part="fin",
                  colour=black)  # fmt: skip
        rail = t.equals("extra", "rails")
        a, b = _back(t) + t.rear_rake + 0.1, _cowl(t) - t.rake - 0.1
        z = side * t.width * 0.68
        body.bone(vector(a, t.height + 0.1, z), vector(b, t.height + 0.1, z), tube(rail, 0.03), part="hull",
                  colour=black)  # fmt: skip
    sign = t.equals("extra", "roof sign", "police")
    roof = (_back(t) + t.rear_rake + _cowl(t) - t.rake) * 0.5
    body.slab(vector(roof, t.height + 0.14, 0.0), (given(sign, 0.10), 0.09, 0.30 + 0.2 * t.equals("extra", "police")),
              part="hull", colour=torch.where(t.equals("extra", "police")[:, None], t.trim,
              fixed(zero, "#f1ead0")))  # fmt: skip
    stripe = t.equals("extra", "stripes", "police")
    for y, mark in ((t.belt - 0.10, t.trim), (t.belt - 0.28, t.trim)):
        block(body, (-end + 0.35, end - 0.45), (y - 0.04, y + 0.04), t.width * 1.008, stripe, part="hull", colour=mark)


def _wheels(body: Body, t: Traits, colour: Vector) -> None:
    yes = t.wheel > 0
    for sign in (-1.0, 1.0):
        x = sign * (t.length * 0.5 - t.overhang)
        for side in (-1.0, 1.0):
            # A wing over the wheel, where the bonnet is lower than that.
            middle, tall = bar(t.clearance - 0.02, t.wheel * 2.3)
            body.ball(vector(x, middle, side * (t.width - 0.20)), (t.wheel * 1.75, tall, 0.21 + 0 * x), part="hull",
                      colour=colour)  # fmt: skip
            arch(body, vector(x, t.wheel * 1.03, side * (t.width - 0.03)), t.wheel * 1.17)
            wheel(body, yes, vector(x, t.wheel, side * (t.width - 0.03)), t.wheel, 0.11, side, t.hub)
