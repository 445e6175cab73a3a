"""Bicycles and motorcycles; lengths in metres, the ground at y = 0."""

import torch

from menagerie.anatomy import QUARTER, Body, Vector, heading, mix, scaled, vector
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.vehicle import Machine, fixed, given, paint, tube

PAINTS = (
    ("#a8231f", 2.5),
    ("#24407e", 2.0),
    ("#26282c", 1.5),
    ("#2f7a52", 1.2),
    ("#d39a22", 1.0),
    ("#4a93b8", 1.0),
    ("#d8d8d4", 1.0),
    ("#c85a1c", 0.8),
)
SEGMENTS = 14  # of a tyre
TURN = 6.2832


def cycle(t: Traits, draws: Draws) -> Body:
    """A bicycle or a motorcycle, standing upright."""
    body = Machine(len(t), gloss=t.gloss)
    zero = torch.zeros(len(t))
    colour, steel, black = paint(t, draws, t.coat, PAINTS), fixed(zero, "#a9adb1"), fixed(zero, "#202124")
    steer = draws.number(-0.45, 0.45)
    rear, front = vector(-t.wheelbase * 0.5, t.wheel, 0.0), vector(t.wheelbase * 0.5, t.wheel, 0.0)
    _rim(body, t, rear, zero)
    _rim(body, t, front, steer)
    motor = t.equals("drive", "motor")
    # Head of the frame, where fork and handlebar turn.
    neck = vector(t.wheelbase * 0.5 - t.rake, t.wheel + t.head_height, 0.0)
    aside = heading(zero, steer + QUARTER, 0.0)
    top = mix(front, neck, 1.12)
    for side in (-1.0, 1.0):
        off = scaled(aside, t.tyre * 1.5 * side)
        body.bone(front + off, neck + off * 0.8, t.fork, part="arm", colour=torch.where(motor[:, None], steel, colour))
        grip = top + scaled(aside, side * t.handlebar) - vector(t.wheelbase * 0.08 * motor, 0.0, 0.0)
        body.bone(top, grip, 0.018, part="arm", colour=steel)
        body.bone(mix(top, grip, 0.72), grip, 0.026, part="arm", colour=black)
    body.bone(neck, top, t.fork * 1.2, part="arm", colour=steel)
    _pedalled(body, t, draws, ~motor, rear, neck, colour)
    _motored(body, t, motor, rear, front, neck, colour, steer)
    return body


def _rim(body: Body, t: Traits, hub: Vector, steer: torch.Tensor) -> None:
    """Tyre of straight pieces, rim and spokes."""
    zero = torch.zeros(len(t))
    ahead, up = heading(zero, steer, 0.0), vector(zero, zero + 1.0, 0.0)

    def point(share: float, radius: torch.Tensor) -> Vector:
        along = heading(zero, 0.0, share * TURN)
        return hub + scaled(ahead, along[:, 0] * radius) + scaled(up, along[:, 1] * radius)

    tyre, steel = fixed(zero, "#1c1d1f"), fixed(zero, "#a9adb1")
    ring = t.wheel - t.tyre
    for i in range(SEGMENTS):
        body.bone(point(i / SEGMENTS, ring), point((i + 1) / SEGMENTS, ring), t.tyre, part="wheel", colour=tyre,
                  gloss=0.03)  # fmt: skip
    for i in range(3):
        body.bone(point(i / 6 + 0.04, ring), point(i / 6 + 0.54, ring), t.spoke, part="wheel", colour=steel)
    body.bone(hub - scaled(heading(zero, steer + QUARTER, 0.0), 0.05 + zero),
              hub + scaled(heading(zero, steer + QUARTER, 0.0), 0.05 + zero), t.hub_size, part="wheel",
              colour=steel)  # fmt: skip


def _pedalled(
    body: Body, t: Traits, draws: Draws, there: torch.Tensor, rear: Vector, neck: Vector, colour: Vector
) -> None:
    zero = torch.zeros(len(t))
    steel, black = fixed(zero, "#a9adb1"), fixed(zero, "#202124")
    crank = vector(zero - 0.06, t.wheel * 0.88, 0.0)
    seat = vector(zero - 0.20, t.wheel + t.head_height * 0.92, 0.0)
    low = mix(neck, vector(t.wheelbase * 0.5, t.wheel, 0.0), 0.22)
    tubes = ((crank, seat, 0.024), (seat, mix(neck, low, 0.3), 0.022), (crank, low, 0.027), (crank, rear, 0.018),
             (seat, rear, 0.016))  # fmt: skip
    for a, b, radius in tubes:
        body.bone(a, b, tube(there, radius), part="trunk", colour=colour)
    saddle = seat + vector(zero - 0.03, 0.13, 0.0)
    body.bone(seat, saddle, tube(there, 0.016), part="trunk", colour=steel)
    body.ball(saddle + vector(zero, 0.02, 0.0), (given(there, 0.15), 0.035, 0.07), part="crown", colour=black)
    body.ball(crank + vector(zero, 0.0, 0.03), (given(there, 0.10), 0.10, 0.012), part="wheel", colour=steel)
    turn = heading(zero, 0.0, draws.number(0.0, TURN))
    for side in (-1.0, 1.0):
        pedal = crank + scaled(turn, 0.17 * side + zero) + vector(zero, 0.0, side * 0.08)
        body.bone(crank + vector(zero, 0.0, side * 0.06), pedal, tube(there, 0.015), part="leg", colour=steel)
        body.slab(pedal + vector(zero, 0.0, side * 0.05), (given(there, 0.05), 0.015, 0.05), part="foot", colour=black)
    basket = there & draws.chance(0.2)
    body.slab(neck + vector(zero + 0.2, 0.05, 0.0), (given(basket, 0.12), 0.085, 0.14), part="crown",
              colour=fixed(zero, "#8a6a44"), gloss=0.0)  # fmt: skip


def _motored(
    body: Body,
    t: Traits,
    there: torch.Tensor,
    rear: Vector,
    front: Vector,
    neck: Vector,
    colour: Vector,
    steer: torch.Tensor,
) -> None:
    zero = torch.zeros(len(t))
    steel, black, engine = fixed(zero, "#b4b8bc"), fixed(zero, "#1f2023"), fixed(zero, "#5c6064")
    body.bone(neck - vector(zero + 0.10, 0.10, 0.0), vector(zero + 0.02, t.wheel * 1.3, 0.0), tube(there, 0.04),
              part="trunk", colour=black)  # fmt: skip
    body.bone(rear, vector(zero + 0.05, t.wheel * 1.0, 0.0), tube(there, 0.04), part="trunk", colour=black)
    body.slab(vector(zero + 0.05, t.wheel * 1.05, 0.0), (given(there, 0.24), 0.17, 0.14), part="trunk", colour=engine)
    body.bone(vector(zero + 0.12, t.wheel * 1.2, 0.0), vector(zero + 0.26, t.wheel * 1.75, 0.0), tube(there, 0.13),
              part="trunk", colour=fixed(zero, "#83888c"))  # fmt: skip
    body.ball(neck + vector(zero - 0.28, -0.10, 0.0), (given(there, 0.30), 0.15, 0.15), heading(zero, 0.0, 0.15),
              part="trunk", colour=colour)  # fmt: skip
    body.ball(vector(zero - 0.33, t.wheel + t.head_height * 0.66, 0.0), (given(there, 0.34), 0.09, 0.14), part="crown",
              colour=black, gloss=0.1)  # fmt: skip
    body.bone(vector(zero - 0.3, t.wheel + t.head_height * 0.5, 0.0),
              vector(zero - 0.78, t.wheel + t.head_height * 0.72, 0.0), tube(there, 0.10), 0.06, part="trunk",
              colour=colour)  # fmt: skip
    body.slab(vector(zero - 0.83, t.wheel + t.head_height * 0.70, 0.0), (given(there, 0.03), 0.05, 0.07), part="window",
              colour=fixed(zero, "#a8161a"))  # fmt: skip
    ahead = heading(zero, steer, 0.0)
    lamp = neck + scaled(ahead, zero + 0.16)
    body.ball(lamp, (given(there, 0.12), 0.12, 0.11), part="window", colour=steel)
    body.ball(lamp + scaled(ahead, zero + 0.07), (given(there, 0.06), 0.10, 0.10), ahead, part="window",
              colour=fixed(zero, "#f3efd9"), gloss=0.9)  # fmt: skip
    for hub, turn in ((front, steer), (rear, zero)):
        points = [hub + scaled(heading(zero, turn, 0.0), heading(zero, 0.0, a)[:, 0] * t.wheel) + vector(zero,
                               heading(zero, 0.0, a)[:, 1] * t.wheel, 0.0) for a in (0.7, 1.4, 2.1)]  # fmt: skip
        body.chain(points, [tube(there, t.tyre * 1.2)] * 3, part="trunk", colour=colour)
    for side in (-1.0, 1.0):
        pipe = vector(zero - 0.1, t.wheel * 0.75, side * 0.16)
        body.bone(pipe, pipe - vector(zero + 0.62, -0.06, 0.0), tube(there, 0.045), 0.065, part="trunk", colour=steel,
                  gloss=0.7)  # fmt: skip
    body.bone(vector(zero + 0.3, t.wheel * 1.3, 0.12), vector(zero - 0.1, t.wheel * 0.72, 0.16), tube(there, 0.04),
              part="trunk", colour=steel)  # fmt: skip
