"""Steam locomotives; lengths in metres, the rails at y = 0."""

import torch

from menagerie.anatomy import Body, Vector, heading, scaled, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.vehicle import Machine, block, fixed, given, paint

PAINTS = (("#232427", 4.0), ("#27502f", 2.0), ("#7a1f22", 1.5), ("#22386a", 1.0))


def locomotive(t: Traits, draws: Draws) -> Body:
    """A steam locomotive with its tender, some with steam over the chimney."""
    body = Machine(len(t), gloss=t.gloss)
    zero = torch.zeros(len(t))
    colour = paint(t, draws, t.coat, PAINTS)
    black, brass, r, y = fixed(zero, "#1d1e20"), fixed(zero, "#b08a3c"), t.boiler, t.boiler_height
    block(body, (zero - 1.6, zero + 4.1), (zero + 1.0, zero + 1.3), 1.15, part="hull", colour=black)
    body.bone(vector(zero - 0.6, y, 0.0), vector(zero + 2.6, y, 0.0), r, part="trunk", colour=colour)
    body.bone(vector(zero + 2.8, y, 0.0), vector(zero + 3.4, y, 0.0), r * 1.04, part="trunk", colour=black)
    body.ball(vector(3.4 + r * 0.98, y, 0.0), (zero + 0.12, r * 0.55, r * 0.55), part="trunk",
              colour=fixed(zero, "#34363a"))  # fmt: skip
    for x in (0.1, 1.1, 2.1):
        block(body, (zero + x - 0.04, zero + x + 0.04), (y - r * 0.7, y + r * 0.7), r * 0.73, part="trunk",
              colour=brass)  # fmt: skip
    chimney = vector(zero + 3.1, y + r * 0.8, 0.0)
    lip = chimney + vector(zero, t.chimney, 0.0)
    body.bone(chimney, lip, 0.22, 0.26, part="stem", colour=black)
    body.bone(lip, lip + vector(zero, 0.06, 0.0), 0.32, part="stem", colour=black)
    for x, size in ((1.7, 0.36), (0.5, 0.30)):
        body.bone(vector(zero + x, y + r * 0.6, 0.0), vector(zero + x, y + r + 0.12, 0.0), size, part="trunk",
                  colour=brass, gloss=0.6)  # fmt: skip
    # Cab and tender.
    block(body, (zero - 2.1, zero - 0.5), (zero + 1.2, y + r * 0.75), 1.25, part="hull", colour=colour)
    block(body, (zero - 1.95, zero - 0.75), (y - r * 0.1, y + r * 0.75), 1.26, part="window", colour=t.glass)
    for x in (-2.08, -1.33, -0.56):
        block(body, (zero + x - 0.09, zero + x + 0.09), (zero + 1.3, y + r * 1.05), 1.27, part="hull", colour=colour)
    block(body, (zero - 2.4, zero - 0.35), (y + r * 0.95, y + r * 1.12), 1.38, part="hull", colour=black)
    block(body, (zero - 4.9, zero - 2.35), (zero + 1.1, y + r * 0.15), 1.2, part="hull", colour=colour)
    body.ball(vector(zero - 3.6, y + r * 0.1, 0.0), (zero + 1.15, 0.4, 1.0), part="hull", colour=fixed(zero, "#17171a"),
              gloss=0.1)  # fmt: skip
    block(body, (zero - 4.8, zero - 1.5), (zero + 0.75, zero + 1.12), 0.95, part="hull", colour=black)
    _gear(body, t, draws)
    # Buffer beam, lamp and guard in front.
    block(body, (zero + 4.05, zero + 4.2), (zero + 0.85, zero + 1.3), 1.25, part="hull", colour=fixed(zero, "#a8231f"))
    body.skew(vector(zero + 4.3, 0.5, 0.0), vector(zero + 0.2, -0.3, 0.0), vector(zero + 0.15, 0.1, 0.0),
              vector(zero, 0.0, zero + 1.0), part="hull", colour=black)  # fmt: skip
    body.ball(vector(zero + 3.95, y + r + 0.1, 0.0), (zero + 0.16, 0.2, 0.2), part="window",
              colour=fixed(zero, "#f2ead0"), gloss=0.8)  # fmt: skip
    steam = draws.chance(0.6)
    place, lean = lip + vector(zero, 0.25, 0.0), draws.number(0.2, 0.6)
    for i in range(4):
        puff = given(steam, 0.34 + 0.15 * i)
        body.ball(place, (puff * 1.3, 0.30 + 0.13 * i + zero, 0.32 + 0.14 * i + zero), part=None,
                  colour=fixed(zero, "#d9dadb"), gloss=0.0, soft=0.3)  # fmt: skip
        place = place + vector(-lean * 0.8 - 0.35 * i * lean, zero + 0.30, draws.number(-0.1, 0.1))
    return body


def _gear(body: Body, t: Traits, draws: Draws) -> None:
    """Driving wheels joined by a rod, small wheels before and behind."""
    zero = torch.zeros(len(t))
    turn = heading(zero, 0.0, draws.number(0.0, 6.28))
    rim, steel, big = fixed(zero, "#1a1a1c"), fixed(zero, "#b4b6b8"), t.driver
    drivers = [-0.9 + 1.25 * i for i in range(3)]
    small = [3.0, 3.75, -2.8, -3.6, -4.4]
    for side in (-1.0, 1.0):
        for x, radius in [(x, big) for x in drivers] + [(x, zero + 0.40) for x in small]:
            hub = vector(zero + x, radius, side * 0.92)
            body.ball(hub, (radius, radius, zero + 0.09), part="wheel", colour=rim)
            body.ball(hub + vector(zero, 0.0, side * 0.06), (radius * 0.78, radius * 0.78, zero + 0.06), part="wheel",
                      colour=t.wheel_colour)  # fmt: skip
        pin = scaled(turn, big * 0.45) + vector(zero, big, side * 1.1)
        body.bone(pin + vector(zero + drivers[0], 0.0, 0.0), pin + vector(zero + drivers[-1], 0.0, 0.0), 0.08,
                  part="leg", colour=steel, gloss=0.6)  # fmt: skip
        block_at: Vector = vector(zero + 3.3, 1.0, side * 1.05)
        body.bone(pin + vector(zero + drivers[1], 0.0, 0.0), block_at, 0.06, part="leg", colour=steel, gloss=0.6)
        body.bone(block_at - vector(zero + 0.45, 0.0, 0.0), block_at + vector(zero + 0.35, 0.0, 0.0), 0.32, part="leg",
                  colour=rim)  # fmt: skip
