"""Birds: standing, perching, swimming or in flight."""

from dataclasses import dataclass

import torch

from menagerie.anatomy import QUARTER, Body, Number, Vector, heading, mix, scaled, unit, vector
from menagerie.draws import Draws, cos_sin
from menagerie.kinds import Traits

FINGERS = 4  # visible primaries at the tip of a spread wing
FLANKS = (-1.0, 1.0)
PLAIN = {"pattern": 0.0, "belly": 0.0}


@dataclass(frozen=True, eq=False)
class Pose:
    """Where the trunk is, which way it points, and what the bird is doing."""

    middle: Vector
    forward: Vector
    up: Vector
    side: Vector
    flying: torch.Tensor
    afloat: torch.Tensor
    perched: torch.Tensor
    raised: torch.Tensor  # how far spread wings are raised, radians
    branch: Vector  # direction of the branch, if there is one

    def way(self, x: Number, y: Number, z: Number) -> Vector:
        """Direction with components along the trunk, above it and out of its left flank."""
        return scaled(self.forward, x) + scaled(self.up, y) + scaled(self.side, z)

    def at(self, x: Number, y: Number, z: Number) -> Vector:
        """Point with components as in `way`, from the middle of the trunk."""
        return self.middle + self.way(x, y, z)


def bird(t: Traits, draws: Draws) -> Body:
    """A bird that stands, perches, swims or flies, with the probabilities of its kind."""
    body = Body(len(t), gloss=t.gloss, soft=0.07)
    pose = _pose(t, draws)
    _trunk(body, t, pose)
    _tail(body, t, draws, pose)
    for flank in FLANKS:
        _wing(body, t, pose, flank)
    crown, look = _neck(body, t, draws, pose)
    _head(body, t, crown, *look)
    _legs(body, t, draws, pose)
    _branch(body, t, draws, pose)
    return body


def _chosen(where: torch.Tensor, a: Vector, b: Vector) -> Vector:
    """Vector a where true, else b."""
    return torch.where(where[:, None], a, b)


def _pose(t: Traits, draws: Draws) -> Pose:
    flat = torch.zeros(len(t))
    flying = draws.number() < t.flight
    afloat = ~flying & (draws.number() < t.swimming)
    perched = ~flying & ~afloat & (draws.number() < t.perching)
    lean = t.posture + draws.bell() * 0.06
    lean = torch.where(flying, draws.number(-0.1, 0.3), torch.where(afloat, draws.number(0.02, 0.1), lean))
    forward, above = heading(flat, 0.0, lean), heading(flat, 0.0, lean + QUARTER)
    # A flying bird banks or raises its wings, which would else be seen edge-on from the side.
    banks = draws.chance(0.6)
    bank = torch.where(banks, draws.number(0.45, 1.1), draws.number(0.0, 0.3))
    bank = bank * torch.where(draws.chance(0.5), 1.0, -1.0)
    raised = torch.where(banks, draws.number(-0.05, 0.4), draws.number(0.5, 1.05))
    cosine, sine = cos_sin(torch.where(flying, bank, flat))
    side = vector(flat, flat, torch.ones_like(flat))
    up, side = scaled(above, cosine) + scaled(side, sine), scaled(side, cosine) - scaled(above, sine)
    # On a branch the tail hangs below the feet; on the ground an upright bird must stand higher.
    upright = torch.where(perched, flat, ((forward[:, 1] - 0.6) * 2.5).clamp(0, 1))
    height = t.leg_length + t.trunk * forward[:, 1] * (0.5 + 0.4 * upright) + t.depth * above[:, 1] * 0.75
    height = torch.where(afloat, t.depth * 0.8, height)
    branch = heading(flat, draws.number(0.4, 1.25), draws.number(-0.2, 0.2))
    return Pose(vector(flat, height, 0.0), forward, up, side, flying, afloat, perched, raised, branch)


def _trunk(body: Body, t: Traits, pose: Pose) -> None:
    long, deep, wide = t.trunk, t.depth, t.depth * t.breadth
    body.ball(pose.at(0.0, 0.0, 0.0), (long, deep, wide), pose.forward, pose.up, part="trunk", colour=t.coat)
    rump = pose.at(-long * 1.02, deep * 0.15, 0.0)
    body.bone(pose.at(-long * 0.3, 0.0, 0.0), rump, deep * 0.74, deep * 0.22, part="trunk", colour=t.coat)
    breast = pose.at(long * (1.02 - t.breast_reach), -deep * 0.14, 0.0)
    body.ball(breast, (long * t.breast_reach, deep * 0.96, wide * 0.97), pose.forward, pose.up, part="trunk",
              colour=t.breast, pattern=t.breast_marks, soft=0.05)  # fmt: skip


def _tail(body: Body, t: Traits, draws: Draws, pose: Pose) -> None:
    root = pose.at(-t.trunk * 0.92, t.depth * 0.18, 0.0)
    lift = t.tail_angle + draws.number(-0.12, 0.12)
    lift = torch.where(pose.flying, lift * 0.3, lift)
    cosine, sine = cos_sin(lift)
    fan = torch.where(pose.flying, t.tail_fan.clamp(min=0.25), t.tail_fan)
    for spread in (-1.0, 0.0, 1.0):
        across, straight = (fan * spread, 1 - fan * fan * 0.3 * abs(spread))
        back = unit(pose.way(-cosine * straight, sine * straight, across))
        length = t.tail_length * (1.0 - 0.08 * abs(spread))
        up = pose.way(sine, cosine, spread * 0.25)
        body.ball(root + scaled(back, length * 0.5), (length * 0.62, t.tail_depth, t.tail_width), back, up,
                  part="tail", colour=t.tail_colour, tip=t.tail_tip, belly=0.3, soft=0.03)  # fmt: skip
    _sickles(body, t, draws, pose, root)


def _sickles(body: Body, t: Traits, draws: Draws, pose: Pose, root: Vector) -> None:
    """The arching plumes of a cock's tail."""
    for rank, (rise, reach, drop) in enumerate(((1.25, 0.75, -0.10), (1.05, 1.15, 0.15), (0.62, 1.25, 0.20))):
        vary = draws.number(0.92, 1.08)
        aside = t.depth * (0.16 * rank - 0.16)
        knee = root + pose.way(t.sickle * -0.30 * reach, t.sickle * rise * vary, aside)
        end = root + pose.way(t.sickle * -1.05 * reach * vary, t.sickle * drop, aside * 2)
        arch = [mix(mix(root, knee, share), mix(knee, end, share), share) for share in (0.0, 0.42, 0.74, 1.0)]
        thick = torch.where(t.sickle > 0.05, t.sickle, -10.0)
        body.chain(arch, [thick * 0.13, thick * 0.12, thick * 0.085, thick * 0.02], part="tail", colour=t.tail_colour,
                   tip=t.tail_tip, belly=0.0, soft=0.06)  # fmt: skip


def _wing(body: Body, t: Traits, pose: Pose, flank: float) -> None:
    """One wing: in flight an arm and a hand with fingers, else folded along the trunk."""
    long, deep, wide = t.trunk, t.depth, t.depth * t.breadth
    (ca, sa), (ch, sh) = cos_sin(pose.raised), cos_sin(pose.raised * 0.7 + 0.08)
    arm, hand = unit(pose.way(0.12, sa, ca * flank)), unit(pose.way(-0.28, sh, ch * flank))
    shoulder = pose.at(long * 0.42, deep * 0.45, wide * 0.55 * flank)
    wrist = shoulder + scaled(arm, t.wing_length * 0.45)
    chord = t.wing_chord
    back = pose.way(-1.0, 0.0, 0.0)
    inner = mix(shoulder, wrist, 0.34) + scaled(back, chord * 0.42)
    outer = wrist + scaled(hand, t.wing_length * 0.18) + scaled(back, chord * 0.32)
    above = pose.way(0.0, 1.0, 0.0)
    flying = pose.flying

    body.ball(
        _chosen(flying, inner, pose.at(-long * 0.14, deep * 0.16, wide * 0.80 * flank)),
        (torch.where(flying, t.wing_length * 0.42, long * 0.80), torch.where(flying, 0.035, deep * 0.62),
         torch.where(flying, chord * 0.58, wide * 0.30)),
        _chosen(flying, arm, pose.way(-1.0, 0.14, -0.10 * flank)), above,
        part="wing", colour=t.wing_colour, tip=mix(t.wing_colour, t.wing_tip, 0.35), belly=0.25, soft=0.025,
    )  # fmt: skip
    body.ball(
        _chosen(flying, outer, pose.at(-long * 0.74, deep * 0.20, wide * 0.52 * flank)),
        (torch.where(flying, t.wing_length * 0.34, long * 0.52 * t.primaries), torch.where(flying, 0.03, deep * 0.26),
         torch.where(flying, chord * 0.48, wide * 0.22)),
        _chosen(flying, hand, pose.way(-1.0, 0.05, -0.2 * flank)), above,
        part="wing", colour=mix(t.wing_colour, t.wing_tip, 0.4), tip=t.wing_tip, belly=0.25, soft=0.025,
    )  # fmt: skip
    for i in range(FINGERS):
        way = unit(scaled(hand, 1.0 - 0.10 * i) + scaled(back, 0.06 + 0.10 * i + t.fingered * (0.10 * i - 0.06)))
        root = wrist + scaled(hand, t.wing_length * 0.10) + scaled(back, chord * 0.15 * i)
        thick = torch.where(flying, chord * (0.17 - 0.05 * t.fingered), -1.0)
        length = t.wing_length * (0.48 - 0.07 * i + t.fingered * 0.03 * i)
        body.bone(root, root + scaled(way, length), thick, thick * 0.35, part="wing",
                  colour=mix(t.wing_colour, t.wing_tip, 0.5), tip=t.wing_tip, belly=0.2, soft=0.02)  # fmt: skip
    # The bar runs across the folded wing, along the trailing edge of the spread one.
    low = _chosen(flying, inner + scaled(back, chord * 0.35) - scaled(arm, t.wing_length * 0.12),
                  pose.at(-long * 0.44, -deep * 0.08, wide * 1.03 * flank))  # fmt: skip
    high = _chosen(flying, inner + scaled(back, chord * 0.35) + scaled(arm, t.wing_length * 0.14),
                   pose.at(-long * 0.28, deep * 0.46, wide * 0.97 * flank))  # fmt: skip
    width = torch.where(t.wing_bar > 0.005, t.wing_bar, -1.0)
    body.bone(low, high, width, width * 0.8, part="wing", colour=t.bar, **PLAIN, soft=0.01)


def _neck(body: Body, t: Traits, draws: Draws, pose: Pose) -> tuple[Vector, tuple[torch.Tensor, torch.Tensor]]:
    """The neck, S-shaped for some kinds; returns its end, and azimuth and elevation of the face."""
    flat = torch.zeros(len(t))
    rise = torch.where(pose.flying, draws.number(0.0, 0.3), t.neck_angle + draws.number(-0.15, 0.15))
    turn = t.gaze + draws.number(-0.5, 0.5)
    turn = torch.where(pose.flying, turn * 0.4, turn)
    along = heading(flat, turn * 0.25, rise)
    ahead = heading(flat, turn * 0.25, rise - QUARTER)
    length = t.neck_length + t.head * 0.35
    root = pose.at(t.trunk * 0.66, t.depth * 0.22, 0.0)
    crown = root + scaled(along, length)
    swing = t.neck_curve * t.neck_length * torch.where(pose.flying, 0.4, 1.0)
    near = mix(root, crown, 0.35) + scaled(ahead, swing * 1.9)
    far = mix(root, crown, 0.70) - scaled(ahead, swing * 1.3)

    def along_neck(share: float) -> Vector:
        one, two, three = mix(root, near, share), mix(near, far, share), mix(far, crown, share)
        return mix(mix(one, two, share), mix(two, three, share), share)

    points = [root, along_neck(0.27), along_neck(0.5), along_neck(0.75), crown]
    thick = t.neck_thickness
    girths = [thick * (1 + (t.neck_base - 1) * share) for share in (1.0, 0.45, 0.15, 0.0, -0.05)]
    body.chain(points, girths, part="neck", colour=t.neck_colour, tip=t.nape, soft=0.06)
    # A ring around the neck that protrudes slightly.
    ring = thick * 1.25 * t.collar
    body.ball(mix(points[0], points[2], 0.55), (ring * 0.28, ring, ring), unit(points[2] - points[0]), ahead,
              part="neck", colour=t.collar_colour, soft=0.01, **PLAIN)  # fmt: skip
    return crown, (turn, draws.number(-0.2, 0.1) - t.bill_dip)


def _head(body: Body, t: Traits, crown: Vector, azimuth: torch.Tensor, elevation: torch.Tensor) -> None:
    face, up = heading(t.head, azimuth, elevation), heading(t.head, azimuth, elevation + QUARTER)
    side = heading(t.head, azimuth + QUARTER, 0.0)
    skull = crown + scaled(face, t.head * 0.15)
    body.ball(skull, (t.head * 1.08, t.head, t.head * 0.95), face, up, part="head", colour=t.head_colour, belly=0.0)
    front = skull + scaled(face, t.head * 0.30) - scaled(up, t.head * 0.16)
    body.ball(front, (t.head * 0.84, t.head * 0.82, t.head * 0.84), face, up, part="head", colour=t.face, belly=0.0,
              pattern=0.3, soft=0.03)  # fmt: skip
    _bill(body, t, skull, face, up)
    for flank in FLANKS:
        _eye(body, t, skull, face, up, scaled(side, flank))
    _ornaments(body, t, skull, face, up, side)


def _eye(body: Body, t: Traits, skull: Vector, face: Vector, up: Vector, side: Vector) -> None:
    cosine, sine = cos_sin(t.eye_azimuth)
    way = unit(scaled(face, cosine) + scaled(side, sine) + scaled(up, 0.18))
    disc = t.head * t.face_disc
    body.ball(skull + scaled(way, t.head * 0.86), (disc * 0.25, disc, disc * 0.92), way, up, part="head",
              colour=t.disc_colour, **PLAIN, soft=0.02)  # fmt: skip
    proud = 0.90 + 0.18 * t.face_disc
    body.ball(skull + scaled(way, t.head * proud), (t.eye_size * 0.6, t.eye_size, t.eye_size), way, up, part="eye",
              colour=t.iris, **PLAIN, soft=0.0, gloss=0.5)  # fmt: skip
    pupil = t.eye_size * 0.62
    body.ball(skull + scaled(way, t.head * proud + t.eye_size * 0.38), (pupil * 0.5, pupil, pupil), way, up,
              part="eye", colour=t.eye, **PLAIN, soft=0.0, gloss=0.8)  # fmt: skip


def _bill(body: Body, t: Traits, skull: Vector, face: Vector, up: Vector) -> None:
    base = skull + scaled(face, t.head * 0.72) - scaled(up, t.head * 0.12)
    length = t.bill_length + t.head * 0.28
    bend = base + scaled(face, length * 0.60) + scaled(up, length * (0.06 * t.bill_hook))
    tip = base + scaled(face, length * (1 - 0.22 * t.bill_hook)) - scaled(up, length * (0.10 + 0.38 * t.bill_hook))
    thick = t.bill_depth
    midway, girth = mix(t.bill, t.bill_tip, 0.4), thick * (0.58 + 0.3 * t.bill_hook)
    look = {"part": "snout", "soft": 0.02, "gloss": 0.3} | PLAIN
    body.bone(base, bend, thick, girth, colour=t.bill, tip=midway, **look)
    body.bone(bend, tip, girth, thick * 0.14, colour=midway, tip=t.bill_tip, **look)
    # The spoon of a duck.
    spoon = base + scaled(face, length * 0.66) - scaled(up, thick * 0.35)
    flat = t.bill_flat * thick
    body.ball(spoon, (length * 0.42 * t.bill_flat, flat * 0.55, flat * 1.5), face, up, colour=t.bill, **look)


def _ornaments(body: Body, t: Traits, skull: Vector, face: Vector, up: Vector, side: Vector) -> None:
    """Comb, wattles and crest."""
    look = {"part": "horn", "colour": t.comb_colour, "soft": 0.02} | PLAIN
    for x, size in ((0.55, 0.75), (0.12, 1.0), (-0.32, 0.8)):
        high = t.comb * size
        root = skull + scaled(face, t.head * x) + scaled(up, t.head * 0.88 + high * 0.25)
        body.ball(root, (high * 0.52, high * 0.75, high * 0.22), face, up, **look)
    below = skull + scaled(face, t.head * 0.70) - scaled(up, t.head * 0.55 + t.comb * 0.55)
    body.ball(below, (t.comb * 0.32, t.comb * 0.62, t.comb * 0.25), face, up, **look)
    cosine, sine = cos_sin(t.crest_angle)
    thick = torch.where(t.crest > 0.01, t.crest_width, -1.0)
    for flank in FLANKS:
        # A plume has its blades one behind the other in the middle; tufts are on both sides.
        ahead = scaled(face, 0.14 * (1 + flank) - cosine) + scaled(up, sine + 0.14 * (1 + flank))
        way = unit(ahead + scaled(side, t.crest_spread * flank))
        root = skull + scaled(way, t.head * 0.6)
        body.bone(root, root + scaled(way, t.crest + t.head * 0.2), thick, thick * 0.25, part="mane",
                  colour=t.crest_colour, soft=0.03, **PLAIN)  # fmt: skip


def _stand(t: Traits, pose: Pose) -> Vector:
    """Point between the feet, on the ground or the branch."""
    hips = pose.at(-t.trunk * 0.18, -t.depth * 0.30, 0.0)
    return vector(hips[:, 0] + t.trunk * 0.10, 0.0, hips[:, 2])


def _legs(body: Body, t: Traits, draws: Draws, pose: Pose) -> None:
    flat = torch.zeros(len(t))
    hidden = pose.flying | pose.afloat
    toe, apart = t.leg_thickness * 0.75, t.depth * t.breadth * 0.42
    stride = draws.number(-1.0, 1.0) * t.stride * t.leg_length
    thin, thigh, pad = (torch.where(hidden, -1.0, one) for one in (t.leg_thickness, t.thigh, toe))
    for flank in FLANKS:
        hip = pose.at(-t.trunk * 0.18, -t.depth * 0.30, apart * flank)
        step = _chosen(pose.perched, scaled(pose.branch, apart * flank), vector(stride * flank, 0.0, apart * flank))
        foot = _stand(t, pose) + step + vector(flat, toe, flat)
        heel = mix(hip, foot, 0.48) - vector(t.leg_length * 0.16, flat, 0.0)
        body.bone(hip, heel, thigh, thin * 1.15, part="leg", colour=t.thigh_colour,
                  tip=mix(t.thigh_colour, t.leg, t.bare), pattern=0.3, soft=0.04)  # fmt: skip
        body.bone(heel, foot, thin, thin * 0.85, part="leg", colour=t.leg, soft=0.02, **PLAIN)
        for azimuth in (0.4, -0.4):
            claw = foot + scaled(heading(flat, azimuth, -0.04), t.toe)
            body.bone(foot, claw, pad, pad * (0.5 + 0.7 * t.web), part="foot", colour=t.leg, soft=0.02, **PLAIN)


def _branch(body: Body, t: Traits, draws: Draws, pose: Pose) -> None:
    """The branch under a perched bird."""
    thick = torch.where(pose.perched, draws.number(0.045, 0.075), -1.0)
    middle = _stand(t, pose) + vector(t.toe * 0.4, -thick, 0.0)
    wood = torch.tensor([[0.16, 0.10, 0.06]]).expand(len(t), 3)
    body.bone(middle - scaled(pose.branch, 0.75), middle + scaled(pose.branch, 0.75), thick, thick * 0.7, part=None,
              colour=wood, soft=0.0, **PLAIN)  # fmt: skip
