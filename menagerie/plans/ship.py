"""Ships, cut at the waterline."""

import torch

from menagerie.anatomy import Body, Vector, cross, heading, mix, scaled, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.vehicle import Machine, block, fixed, given, paint, palette, plate, tube

HULLS = (("#23304a", 2.0), ("#1f2124", 1.5), ("#8a2a24", 1.5), ("#2f6a58", 1.0), ("#3a6ea4", 1.5), ("#e4e3dd", 0.8))
BOXES = (
    ("#a83a2a", 3.0),
    ("#2f5f96", 3.0),
    ("#3f7a4e", 2.0),
    ("#c9802c", 2.0),
    ("#b8bcbe", 2.0),
    ("#7a4630", 1.5),
    ("#e0dcd0", 1.0),
    ("#2a7a86", 1.0),
)
SAILS = (("#f1eee2", 5.0), ("#e2d6b8", 2.0), ("#a8442e", 0.8), ("#34558a", 0.6), ("#d9d9d6", 2.0))
BAYS, LAYERS = 7, 3


def _hull(body: Body, t: Traits, colour: Vector, boot: Vector, deck: Vector) -> None:
    """Hull from stern to stem with a waterline of another colour; the flanks flare towards the bow."""
    zero = torch.zeros(len(t))
    shoulder = 1.0 - t.bow
    for low, high, tone, wide, strips in (
        (zero, t.freeboard * 0.22, boot, 0.97, 4),
        (t.freeboard * 0.2, t.freeboard, colour, 1.0, 5),
    ):
        tall, middle = (high - low) * 0.5, (high + low) * 0.5
        lean = t.bow_rake * tall
        beam = t.beam * wide
        reach = 1.0 + t.bow_rake * (middle - t.freeboard)
        body.slab(vector((shoulder - 1.0) * 0.5, middle, 0.0), ((shoulder + 1.0) * 0.5, tall, beam), part="hull",
                  colour=tone)  # fmt: skip
        tip = vector(reach, middle, -beam * 0.14)
        plate(body, vector(shoulder - lean, middle, -beam), vector(zero, 0.0, 2 * beam), tip, 0.14,
              vector(lean, tall, 0.0), strips, part="hull", colour=tone)  # fmt: skip
    # A rising forecastle and bulwark.
    rise = t.freeboard * t.sheer * 0.5
    lean = t.bow_rake * rise
    start = 1.0 - t.bow * 0.9
    plate(body, vector(start, t.freeboard + rise, -t.beam * 0.96), vector(zero, 0.0,
          given(t.sheer > 0.01, 2 * t.beam * 0.96)), vector(1.0 + lean, t.freeboard + rise, -t.beam * 0.14), 0.14,
          vector(lean, rise, 0.0), 5, part="hull", colour=colour)  # fmt: skip
    block(body, (zero - 0.97, shoulder), (t.freeboard - 0.02, t.freeboard + 0.006), t.beam * 0.94, part="hull",
          colour=deck)  # fmt: skip


def ship(t: Traits, draws: Draws) -> Body:
    """A motor ship of length 2: hull, deckhouse, funnels, cargo, guns."""
    body = Machine(len(t), gloss=t.gloss)
    _hull(body, t, paint(t, draws, t.coat, HULLS), t.boot, t.deck)
    _house(body, t)
    _funnels(body, t)
    _containers(body, t, draws)
    _guns(body, t)
    _masts(body, t)
    return body


def _house(body: Body, t: Traits) -> None:
    """Tiers of deckhouse, each shorter than the one below, each with a row of windows."""
    zero = torch.zeros(len(t))
    for tier in range(5):
        there = t.tiers > tier + 0.5
        back = t.house_at - t.house_length * (0.5 - t.step_back * tier)
        front = t.house_at + t.house_length * (0.5 - t.step_front * tier)
        low = t.freeboard + t.tier_height * tier
        beam = t.beam * (0.90 - 0.05 * tier) * t.house_width
        block(body, (back, front), (low, low + t.tier_height), beam, there, part="crown", colour=t.house)
        block(body, (back + 0.02, front - 0.01), (low + t.tier_height * 0.38, low + t.tier_height * 0.72), beam * 1.012,
              there, part="window", colour=t.glass, pattern=1.0, gloss=0.3)  # fmt: skip
        block(body, (back - 0.005, front + 0.012), (low + t.tier_height * 0.92, low + t.tier_height * 1.04),
              beam * 1.05, there, part="crown", colour=t.house)  # fmt: skip
    # The bridge looks forward from the uppermost tier.
    count = (t.tiers + 0.5).floor().clamp(min=1) - 1
    front = t.house_at + t.house_length * (0.5 - t.step_front * count)
    low = t.freeboard + t.tier_height * count
    body.slab(vector(front, low + t.tier_height * 0.6, 0.0), (given(t.tiers > 0.5, 0.012), t.tier_height * 0.22,
              t.beam * 0.62 * t.house_width), part="window", colour=t.glass, gloss=0.4)  # fmt: skip
    boats = t.equals("boats", "yes")
    for side in (-1.0, 1.0):
        for i in range(4):
            x = t.house_at + t.house_length * (-0.3 + 0.18 * i)
            body.ball(vector(x, t.freeboard + t.tier_height * 1.25, side * t.beam * 0.95),
                      (given(boats, 0.055), 0.024, 0.022), part="crown", colour=fixed(zero, "#d8702a"))  # fmt: skip


def _funnels(body: Body, t: Traits) -> None:
    for i in range(4):
        there = t.funnels > i + 0.5
        x = t.funnel_at - 0.24 * i * t.funnel_gap
        foot, top = vector(x, t.funnel_foot, 0.0), vector(x - t.funnel_rake, t.funnel_foot + t.funnel_height, 0.0)
        lean = (top - foot) * 0.5
        wide = vector(given(there, t.funnel), 0.0, 0.0)
        r = t.funnel
        # A round funnel: three upright bars, the outer ones slimmer.
        for share, colour, part in ((0.0, t.funnel_colour, 0.76), (0.76, t.funnel_top, 0.24)):
            middle = foot + lean * (2 * share + part)
            body.skew(middle, lean * part, wide, vector(torch.zeros_like(r), 0.0, r * 0.42), part="stem", colour=colour)
            body.skew(middle, lean * part, wide * 0.72, vector(torch.zeros_like(r), 0.0, r * 0.78), part="stem",
                      colour=colour)  # fmt: skip


def _containers(body: Body, t: Traits, draws: Draws) -> None:
    there = t.equals("cargo", "containers")
    front, back = 1.0 - t.bow * 0.8, t.house_at + t.house_length * 0.5 + 0.02
    step = (front - back) / BAYS
    for bay in range(BAYS):
        x = back + step * bay
        layers = draws.pick(0.1, 0.3, 0.6) + 1
        for layer in range(LAYERS):
            low = t.freeboard + t.tier_height * 1.05 * layer
            size = (given(there & (layers > layer), step * 0.47), t.tier_height * 0.5, t.beam * 0.92)
            centre = vector(x + step * 0.5, low + t.tier_height * 0.52, 0.0)
            body.slab(centre, size, part="crown", colour=palette(draws, BOXES))


def _guns(body: Body, t: Traits) -> None:
    zero = torch.zeros(len(t))
    for i, (x, level) in enumerate(((0.60, 0.0), (0.40, 1.0), (-0.66, 0.0))):
        there = t.turrets > i + 0.5
        at = vector(zero + x, t.freeboard + t.tier_height * (0.45 + 0.8 * level), 0.0)
        sign = 1.0 if x > 0 else -1.0
        body.slab(at, (given(there, 0.09), t.tier_height * 0.42, t.beam * 0.55), part="crown", colour=t.house)
        block(body, (at[:, 0] - 0.06, at[:, 0] + 0.06), (t.freeboard, at[:, 1]), t.beam * 0.4, there, part="crown",
              colour=t.house)  # fmt: skip
        for side in (-0.25, 0.25):
            a = at + vector(zero + sign * 0.08, 0.0, side * t.beam)
            body.bone(a, a + vector(zero + sign * 0.20, 0.04, 0.0), tube(there, 0.013), part="mast",
                      colour=fixed(zero, "#4a5056"))  # fmt: skip


def _masts(body: Body, t: Traits) -> None:
    zero = torch.zeros(len(t))
    grey = t.mast_colour
    foot = vector(t.mast_at, t.freeboard, 0.0)
    top = foot + vector(zero, t.mast, 0.0)
    there = t.mast > 0.01
    body.bone(foot, top, tube(there, 0.018), 0.008, part="mast", colour=grey)
    lattice = there & (t.turrets > 0.5)
    for side in (-1.0, 1.0):
        body.bone(foot + vector(zero - 0.07, 0.0, side * t.beam * 0.3), mix(foot, top, 0.75), tube(lattice, 0.012),
                  part="mast", colour=grey)  # fmt: skip
    for share in (0.62, 0.82):
        at = mix(foot, top, share)
        reach = vector(zero, 0.0, t.beam * 0.55)
        body.bone(at - reach, at + reach, tube(there, 0.010), part="mast", colour=grey)
    body.ball(mix(foot, top, 0.72), (given(lattice, 0.05), 0.06, 0.05), part="mast", colour=grey)
    # The boom of a working boat, and its flag-like net gallows at the stern.
    gallows = t.equals("cargo", "nets")
    body.bone(mix(foot, top, 0.25), vector(t.mast_at + 0.6, t.freeboard + t.mast * 0.85, 0.0), tube(gallows, 0.014),
              part="mast", colour=grey)  # fmt: skip
    for side in (-1.0, 1.0):
        body.bone(vector(zero - 0.85, t.freeboard, side * t.beam * 0.7),
                  vector(zero - 0.85, t.freeboard + 0.4, side * t.beam * 0.7), tube(gallows, 0.02), part="mast",
                  colour=grey)  # fmt: skip
    body.bone(vector(zero - 0.85, t.freeboard + 0.4, -t.beam * 0.7),
              vector(zero - 0.85, t.freeboard + 0.4, t.beam * 0.7), tube(gallows, 0.02), part="mast",
              colour=grey)  # fmt: skip


def sailer(t: Traits, draws: Draws) -> Body:
    """A sailing boat or ship: hull, masts, sails full of wind."""
    body = Machine(len(t), gloss=t.gloss)
    zero = torch.zeros(len(t))
    sail = torch.where(t.equals("paint", "varied")[:, None], palette(draws, SAILS), t.sail)
    jib = torch.where(draws.chance(0.3)[:, None], palette(draws, SAILS), sail)
    _hull(body, t, paint(t, draws, t.coat, (("#eceae4", 4.0), ("#22324e", 1.0), ("#7a2a22", 1.0), ("#6a4a2c", 1.0))),
          t.boot, t.deck)  # fmt: skip
    square = t.equals("rig", "square")
    # Fore-and-aft sails swing out to one side.
    out = draws.number(0.10, 0.35) * torch.where(draws.chance(0.5), 1.0, -1.0)
    one = ~square
    head, level = t.freeboard + t.mast, t.freeboard + t.mast * 0.10
    mast = t.mast_at
    boom = t.boom
    thin = vector(zero, 0.0, zero + 0.008)
    root = vector(mast - boom, level, out * boom)
    plate(body, root, vector(given(one, boom - 0.02), 0.0, -out * boom),
          vector(mast - boom / 7 - 0.01, head * 0.97, out * boom * 0.2), 1 / 7, thin, 7, part="fin",
          colour=sail)  # fmt: skip
    body.bone(vector(mast, level - 0.02, 0.0), vector(mast - boom, level - 0.02, out * boom), tube(one, 0.016),
              part="mast", colour=t.spar)  # fmt: skip
    reach = 0.95 - mast
    root = vector(mast + 0.06, level, -out * 0.4)
    plate(body, root, vector(given(one, reach - 0.06), 0.0, out * 0.4),
          vector(mast + 0.02, t.freeboard + t.mast * t.jib, 0.0), 1 / 7, thin, 7, part="fin", colour=jib)  # fmt: skip
    body.bone(vector(mast, t.freeboard, 0.0), vector(mast, head, 0.0), tube(one, 0.018), 0.01, part="mast",
              colour=t.spar)  # fmt: skip
    block(body, (mast - boom * 0.7, mast + 0.25), (t.freeboard, t.freeboard + 0.07), t.beam * 0.55, one, part="crown",
          colour=mix(t.deck, fixed(zero, "#f0eee6"), 0.7))  # fmt: skip
    _square_rig(body, t, draws, square, sail)
    return body


def _square_rig(body: Body, t: Traits, draws: Draws, there: torch.Tensor, sail: Vector) -> None:
    """Three masts with three square sails each, braced at an angle so that they show from the side."""
    zero = torch.zeros(len(t))
    brace = heading(zero, draws.number(0.05, 0.45) * torch.where(draws.chance(0.5), 1.0, -1.0), 0.0)
    across = cross(brace, vector(zero, zero + 1.0, 0.0))
    for x, share in ((0.48, 0.9), (-0.05, 1.0), (-0.58, 0.82)):
        tall = t.mast * share
        foot = vector(zero + x, t.freeboard, 0.0)
        body.bone(foot, foot + vector(zero, tall, 0.0), tube(there, 0.02), 0.01, part="mast", colour=t.spar)
        for low, high, wide in ((0.14, 0.43, 0.29), (0.46, 0.70, 0.24), (0.73, 0.93, 0.18)):
            middle = foot + vector(zero + 0.03, tall * (low + high) * 0.5, 0.0)
            yard = brace * wide
            body.skew(middle, scaled(yard, given(there, 0.94 * share)), vector(zero, tall * (high - low) * 0.5, 0.0),
                      scaled(across, zero + 0.012), part="fin", colour=sail)  # fmt: skip
            top = foot + vector(zero, tall * high, 0.0)
            body.bone(top - yard * share, top + yard * share, tube(there, 0.012), part="mast", colour=t.spar)
    body.bone(vector(zero + 0.9, t.freeboard * 1.3, 0.0), vector(zero + 1.35, t.freeboard * 1.3 + 0.22, 0.0),
              tube(there, 0.018), 0.01, part="mast", colour=t.spar)  # fmt: skip
    plate(body, vector(zero + 0.62, t.freeboard + 0.22, 0.0), vector(given(there, zero + 0.68), 0.14, 0.0),
          vector(zero + 0.52, t.freeboard + t.mast * 0.66, 0.0), 0.25, vector(zero, 0.0, 0.008), 4, part="fin",
          colour=sail)  # fmt: skip
