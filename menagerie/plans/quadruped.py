"""Four-legged mammals, from mouse to elephant: one skeleton with the proportions as traits."""

from dataclasses import dataclass

import torch

from menagerie.anatomy import QUARTER, Body, Number, Vector, heading, mix, norm, scaled, unit, vector
from menagerie.draws import Draws, square_root
from menagerie.kinds import Traits
from menagerie.plans.head import head

DOWN = -QUARTER  # elevation, radians
FOLDED = 1.45  # how far the cannon of a resting animal leans forward: nearly level
FLEECE = (  # lumps of wool: from hip to shoulder, and above the line between them in shares of the half height
    (0.0, 0.42), (0.34, 0.5), (0.66, 0.5), (1.0, 0.46), (-0.05, -0.2), (0.3, -0.4), (0.68, -0.4), (1.05, -0.2),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pose:
    """Where the trunk is and what the animal is doing."""

    shoulder: Vector  # middle of the ribcage at the shoulder blades
    hip: Vector
    forward: Vector  # along the spine, to the shoulder
    up: Vector  # perpendicular to `forward`
    sits: torch.Tensor  # bool (N,)
    lies: torch.Tensor
    grazes: torch.Tensor
    phase: torch.Tensor  # of the walk, -1 to 1
    walk: torch.Tensor  # 0 standing, 1 in full stride

    def at(self, along: Number, above: Number, across: Number = 0.0) -> Vector:
        """Point of the trunk: position from hip (0) to shoulder (1), and offsets above and across."""
        flat = torch.zeros_like(self.phase)
        return mix(self.hip, self.shoulder, along) + scaled(self.up, above) + vector(flat, flat, flat + across)


def quadruped(t: Traits, draws: Draws) -> Body:
    """A mammal on its four legs: standing, walking, grazing, sitting or lying."""
    body = Body(len(t), gloss=t.gloss, soft=0.12)
    pose = _pose(t, draws)
    _trunk(body, t, pose)
    _legs(body, t, pose, draws)
    _neck_and_head(body, t, pose, draws)
    _tail(body, t, pose, draws)
    return body


def _pose(t: Traits, draws: Draws) -> Pose:
    mood = draws.number()
    sits = mood < t.sit
    lies = ~sits & (mood < t.sit + t.lie)
    grazes = ~sits & ~lies & (mood < t.sit + t.lie + t.graze)
    still = sits | lies
    shoulder_y = t.leg_length + t.chest * 0.6
    hip_y = shoulder_y + (t.chest - t.loin) * 0.75 + t.croup
    shoulder_y = torch.where(sits, shoulder_y + 0.2 * t.sit_upright * t.leg_length, shoulder_y)
    shoulder_y = torch.where(lies, t.chest * 0.85 + t.sag, shoulder_y)
    hip_y = torch.where(lies, t.loin * 0.85, torch.where(sits, t.loin * 0.80, hip_y))
    length = t.trunk_length * (1 - torch.where(sits, 0.3 * t.sit_upright, 0.0))  # a rounded back is a shorter one
    climb = ((shoulder_y - hip_y) / length).clamp(-0.8, 0.82)
    level = square_root(1 - climb * climb)
    flat = torch.zeros(len(t))
    forward, up = vector(level, climb, flat), vector(-climb, level, flat)
    hip = vector(-0.5 * length * level, hip_y, flat)
    walks = draws.chance(0.6) & ~still
    walk = torch.where(walks, draws.number(0.5, 1.0), torch.where(still, 0.0, draws.number(0.0, 0.3)))
    shoulder = hip + scaled(forward, length)
    return Pose(shoulder, hip, forward, up, sits, lies, grazes, draws.number(-1, 1), walk)


def _trunk(body: Body, t: Traits, pose: Pose) -> None:
    """Ribcage, barrel and rump for the mass; a spine and an underline for a smooth contour."""
    length, chest, loin = t.trunk_length, t.chest, t.loin
    half, middle = length * 0.5, (chest + loin) * 0.5
    # Large animals need deeper blending, or their trunks look like a string of balls.
    look = {"part": "trunk", "colour": t.coat, "pattern": t.trunk_marks, "soft": 0.08 + chest * 0.5}
    axes = {"forward": pose.forward, "up": pose.up}

    def mass(along: float, above: Number, size: tuple[Number, Number, Number], colour: Vector) -> None:
        span = (length * along - half - size[0], length * along - half + size[0])
        body.ball(pose.at(along, above), size, **axes, **look | {"colour": colour}, along=span)

    mass(0.86, 0.0, (torch.maximum(chest * 1.15, length * 0.30), chest, chest * t.trunk_width), t.coat)
    mass(0.06, 0.0, (_rump(t), loin, loin * t.trunk_width), mix(t.coat, t.rump_colour, t.rump))
    barrel = (length * 0.56, middle * 0.94 + t.sag * 0.5, (middle * 0.96 + t.sag * 0.25) * t.trunk_width)
    mass(0.5, t.arch * 0.7 - t.sag * 0.5, barrel, t.coat)
    # The spine is one radius below the back, so the contour is as straight as the chain.
    back = look | {"colour": mix(t.coat, t.saddle_colour, t.saddle)}
    spine = [pose.at(0.0, loin * 0.38), pose.at(0.45, middle * 0.42 + t.arch), pose.at(0.95, chest * 0.44)]
    body.chain(spine, (loin * 0.60, middle * 0.55, chest * 0.55), **back, along=(-half,))
    groin, paunch = loin * (t.tuck * 0.6 - 0.55), middle * -0.52 - t.sag + t.tuck * 0.3 * loin
    keel = [pose.at(0.05, groin), pose.at(0.5, paunch), pose.at(0.95, chest * -0.52)]
    body.chain(keel, (loin * 0.38, middle * 0.42, chest * 0.45), **look, along=(-half,))

    humped = torch.where(t.hump > 0, chest * 0.5 + t.hump, 0.0)
    size = (chest * 0.85 + t.hump * 1.5, humped, chest * t.trunk_width * 0.55)
    body.ball(pose.at(0.9, chest * 0.5), size, **axes, **back)
    two = t.back_humps > 1.5
    for along, hump in ((0.72, t.back_hump), (0.24, t.back_hump * two)):
        place = torch.where(two, along, 0.5)
        size = (hump * 0.75, hump, hump * 0.55)
        body.ball(pose.at(place, middle * 0.85 + hump * 0.25), size, **axes, **back)
    _markings(body, t, pose)
    _fleece(body, t, pose, look | axes)


def _rump(t: Traits) -> torch.Tensor:
    """Half length of the rump."""
    return torch.maximum(t.loin * 1.05, t.trunk_length * 0.24)


def _markings(body: Body, t: Traits, pose: Pose) -> None:
    """Regions of the trunk with a colour of their own: a saddle, a belt, stripes along the flanks, an udder."""
    length, chest, loin = t.trunk_length, t.chest, t.loin
    plain = {"part": "trunk", "belly": 0.0}
    middle = (chest + loin) * 0.5
    size = (length * 0.60, middle * 0.78, middle * t.trunk_width * 1.04)
    size = tuple(torch.where(t.saddle_depth > 0, one, 0.0) for one in size)
    centre = pose.at(0.46, middle * (0.55 - 0.5 * t.saddle_depth) + t.arch * 0.7)
    body.ball(centre, size, pose.forward, pose.up, colour=t.saddle_colour, pattern=t.trunk_marks, soft=0.05, **plain)
    # Only the middle of the belt's ellipsoid protrudes from the trunk.
    belt = torch.minimum(t.band * length * 2.6, length * t.band_place + _rump(t) * 0.9)
    girth = loin + (chest - loin) * t.band_place
    size = (belt, girth * 1.07 + t.sag * 0.4, girth * t.trunk_width * 1.07)
    size = tuple(torch.where(t.band > 0, one, 0.0) for one in size)
    centre = pose.at(t.band_place, t.sag * -0.3)
    body.ball(centre, size, pose.forward, pose.up, colour=t.band_colour, soft=0.04, **plain)
    size = (t.udder, t.udder * 0.8, t.udder * 0.8)
    body.ball(pose.at(0.2, -loin * 0.9), size, colour=t.udder_colour, pattern=0.0, soft=0.05, **plain)
    stripe = torch.where(t.flank > 0, t.flank, -1.0)
    for side in (-1.0, 1.0):
        rear = pose.at(0.2, loin * (t.tuck * 0.3 - 0.35), side * (loin * t.trunk_width * 0.95 - t.flank * 0.6))
        fore = pose.at(0.72, chest * -0.38, side * (chest * t.trunk_width * 0.98 - t.flank * 0.6))
        body.bone(rear, fore, stripe, colour=t.flank_colour, pattern=0.0, soft=0.03, **plain)


def _fleece(body: Body, t: Traits, pose: Pose, look: dict[str, object]) -> None:
    """Lumps of wool over the trunk: four along the back, four along the belly."""
    there = torch.where(t.fleece > 0, 1.0, 0.0)
    for along, above in FLEECE:
        girth = t.chest * along + t.loin * (1 - along)
        size = (girth * 0.6 + t.fleece, girth * 0.52 + t.fleece, girth * t.trunk_width * 0.85 + t.fleece)
        body.ball(pose.at(along, girth * above), tuple(one * there for one in size), **look)


@dataclass(frozen=True, eq=False)
class Limb:
    """The joints of one leg, from the trunk down; those of a hind leg are hip, stifle and hock."""

    root: Vector
    elbow: Vector
    wrist: Vector
    fetlock: Vector
    ground: torch.Tensor  # height of the fetlock of a standing foot


def _limb(t: Traits, pose: Pose, front: bool, side: float, whim: torch.Tensor) -> Limb:
    """Place the foot on the ground, or swinging over it, and the joints above it."""
    leg, girth = t.leg_length, t.chest if front else t.loin
    folded = pose.lies if front else pose.lies | pose.sits
    flat = torch.zeros_like(leg)
    across = girth * t.trunk_width * (0.58 if front else 0.52) * side
    root = pose.at(0.93, girth * -0.1, across) if front else pose.at(-0.02, girth * -0.05, across)
    # Diagonal legs move together; a leg that swings forward is lifted at mid-swing.
    swings = (side > 0) == front
    phase = pose.phase if swings else -pose.phase
    reach = t.stride * leg * (phase * pose.walk + whim * 0.06)
    lift = (1 - phase * phase) * pose.walk * leg * t.stride * 0.73 if swings else flat
    reach, lift = torch.where(folded, 0.0, reach), torch.where(folded, 0.0, lift)
    cannon = leg * (t.wrist if front else t.hock)
    ground = torch.maximum(t.foot * t.foot_height, t.pastern)
    behind = flat if front else girth * t.hind_bend * -2.75
    lean = torch.where(folded, FOLDED, reach / leg * 0.7 - lift / leg * (4.5 if front else 3.0))
    stands = root[:, 0] + behind + reach
    x = torch.where(folded, root[:, 0] + (leg * 0.45 if front else cannon * 0.9), stands)
    fetlock = vector(x, ground + lift, root[:, 2] * 0.92)
    wrist = fetlock - scaled(heading(flat, 0.0, DOWN + lean), cannon - ground)
    # Bones keep their length when the animal sits down.
    usual = pose.shoulder[:, 1] if front else pose.hip[:, 1]
    upright = torch.where(folded | pose.sits, leg + t.chest * 0.6, usual) - cannon
    bend, sign = (t.fore_bend, -1.0) if front else (t.hind_bend, 1.0)
    return Limb(root, _joint(root, wrist, upright, bend, sign, t.leg_thickness), wrist, fetlock, ground)


def _legs(body: Body, t: Traits, pose: Pose, draws: Draws) -> None:
    for front in (True, False):
        for side in (-1.0, 1.0):
            limb = _limb(t, pose, front, side, draws.bell())
            _thigh(body, t, pose, limb, front)
            _shin_and_foot(body, t, limb, front)


def _thigh(body: Body, t: Traits, pose: Pose, limb: Limb, front: bool) -> None:
    """The muscles that join a leg to the trunk: shoulder and upper arm, or thigh and buttock."""
    girth, thick = t.chest if front else t.loin, t.leg_thickness
    colour = mix(t.coat, t.leg, t.leg_shade)
    # Legs of a different colour, such as a panda's, have a sharper edge.
    look = {"part": "leg", "colour": colour, "pattern": t.trunk_marks, "soft": 0.12 - 0.09 * t.leg_shade}
    muscle = girth * t.trunk_width * (0.50 if front else 0.56) * t.thigh
    across = limb.root[:, 2]
    top = pose.at(0.93, girth * 0.15, across * 0.85) if front else limb.root
    body.bone(top, limb.elbow, muscle, thick * (1.25 if front else 1.5), tip=mix(colour, t.leg, 0.4), belly=0.5, **look)
    if not front:
        seat = pose.at(-0.02, girth * -0.05, across * 0.9) - scaled(pose.forward, girth * 0.4)
        calf = mix(limb.elbow, limb.wrist, 0.45)
        body.bone(seat, calf, muscle * 0.85, thick * 0.95, tip=mix(colour, t.leg, 0.6), belly=0.3, **look)


def _shin_and_foot(body: Body, t: Traits, limb: Limb, front: bool) -> None:
    thick, shank, foot = t.leg_thickness, t.leg_thickness * t.shank, limb.fetlock
    colour = mix(mix(t.coat, t.leg, t.leg_shade), t.leg, 0.4)
    look = {"part": "leg", "pattern": t.leg_marks}
    body.bone(limb.elbow, limb.wrist, thick * (1.2 if front else 1.3), shank * 1.1, colour=colour, tip=t.leg, belly=0.2,
              **look)  # fmt: skip
    body.bone(limb.wrist, foot, shank * 1.05, shank * 0.92, colour=t.leg, tip=t.sock, belly=0.0, **look)
    low = t.foot * t.foot_height
    sole = torch.maximum(foot[:, 1] - limb.ground + low, low)
    toe = vector(foot[:, 0] + t.foot_length, sole, foot[:, 2])
    heel = vector(foot[:, 0] + t.foot_length * 0.15, (foot[:, 1] - limb.ground + low + foot[:, 1]) * 0.5, foot[:, 2])
    horny = mix(t.sock, t.hoof_colour, t.hoof)
    look = {"part": "foot", "pattern": 0.0, "belly": 0.0, "gloss": t.gloss + t.hoof * 0.1}
    body.bone(foot, toe, shank * 0.95, low, colour=mix(t.sock, horny, 0.3), tip=horny, **look)
    size = (t.foot_length * 0.5 + torch.maximum(t.foot, low) * 0.6, low, torch.maximum(t.foot, low) * 0.95)
    body.ball(mix(heel, toe, 0.7), size, colour=horny, soft=0.04, **look)


def _joint(
    top: Vector, bottom: Vector, standing: torch.Tensor, bend: torch.Tensor, sign: float, floor: torch.Tensor
) -> Vector:
    """Knee between two bones of equal length, bent by `bend` when the leg carries the body.

    Args:
        top: upper end.
        bottom: lower end.
        standing: distance of the ends in a standing animal.
        bend: offset of the knee from the straight line when standing, as a share of `standing`.
        sign: 1 bends the knee forward, -1 backward.
        floor: lowest height.
    """
    line = bottom - top
    far = norm(line)
    slack = standing * standing * (0.25 + bend * bend) - far * far * 0.25
    off = square_root(slack.clamp(min=0))
    line = unit(line)
    out = vector(-line[:, 1], line[:, 0], torch.zeros_like(far))
    knee = mix(top, bottom, 0.48) + scaled(out, off * sign)
    return vector(knee[:, 0], torch.maximum(knee[:, 1], floor), knee[:, 2])


def _neck_and_head(body: Body, t: Traits, pose: Pose, draws: Draws) -> None:
    """A neck that grows out of withers and breast, with its mane, and the head."""
    flat = torch.zeros(len(t))
    chest, thick = t.chest, t.neck_thickness
    nape = pose.at(1.0, chest * 0.30) + scaled(pose.forward, chest * 0.30)
    length = t.neck_length + thick
    rise = t.neck_angle + draws.number(-0.2, 0.2)
    turn = draws.number(-1.0, 1.0) * t.head_turn
    upright = heading(flat, turn * 0.4, rise)
    # Grazing heads go down until the muzzle is near the ground.
    drop = ((t.head + t.snout_length * 0.8 - nape[:, 1]) / length).clamp(-0.92, 0.5)
    down = vector(square_root(1 - drop * drop), drop, flat)
    line = torch.where(pose.grazes[:, None], down, upright)
    crown = nape + scaled(line, length)
    side = unit(vector(-line[:, 1], line[:, 0], flat))  # towards the crest
    middle = mix(nape, crown, 0.45) + scaled(side, t.neck_arch * length)
    look = {"part": "neck", "colour": t.coat, "pattern": t.neck_marks, "soft": 0.08 + chest * 0.5}
    half = t.trunk_length * 0.5
    body.chain([nape, middle, crown], (thick * 1.3, thick * 1.08, thick * 0.9), **look, along=(half,))
    withers = pose.at(0.92, chest * 0.50)
    body.bone(withers, mix(nape, middle, 0.9), chest * 0.42, thick * 0.95, **look, along=(half - chest * 0.3,))
    breast = pose.at(1.0, chest * -0.28) + scaled(pose.forward, chest * 0.35)
    throat = look | {"colour": mix(t.coat, t.bib_colour, t.bib)}
    body.bone(breast, middle - scaled(side, thick * 0.12), chest * 0.50, thick * 0.95, **throat, along=(half,))
    _mane(body, t, (withers, nape, middle, crown), side, draws)
    _ruff(body, t, nape, crown, side)

    # The direction of a resting head does not depend on the neck.
    elevation = torch.where(pose.grazes, -0.95, t.head_angle + (rise - t.neck_angle) * 0.6 + draws.number(-0.12, 0.12))
    turn = torch.where(pose.grazes, turn * 0.3, turn)
    head(body, t, draws, crown, turn, elevation)
    _beard(body, t, crown, turn, elevation)


def _beard(body: Body, t: Traits, crown: Vector, turn: torch.Tensor, elevation: torch.Tensor) -> None:
    """A goat's beard, or the flap under a moose's chin."""
    flat = torch.zeros(len(t))
    face, brow = heading(flat, turn, elevation), heading(flat, turn, elevation + QUARTER)
    chin = crown + scaled(face, t.head * 0.6 + t.snout_length * 0.6) - scaled(brow, t.head * 0.55)
    hair = torch.where(t.beard > 0, t.beard * 0.28, -1.0)
    body.bone(chin, chin - vector(t.beard * 0.2, t.beard, flat), hair, hair * 0.35, part="head", colour=t.beard_colour,
              pattern=0.0, belly=0.0, soft=0.03)  # fmt: skip


def _mane(body: Body, t: Traits, spine: tuple[Vector, ...], crest: Vector, draws: Draws) -> None:
    """Hair along the crest of the neck, upright or fallen to one side, and a forelock."""
    withers, nape, middle, crown = spine
    flat = torch.zeros(len(t))
    thick, tall = t.neck_thickness, t.mane.clamp(min=0)
    side = torch.where(draws.chance(0.5), 1.0, -1.0)
    fall = t.mane_fall
    hair = {"part": "mane", "colour": t.mane_colour, "belly": 0.0, "pattern": t.mane_marks, "soft": 0.06}
    # A ridge along the crest, and the hair that hangs from it.
    lift = tall * (1 - 0.8 * fall)
    ridge = [
        mix(withers, nape, 0.3) + scaled(crest, thick * 0.75 + lift * 0.4),
        middle + scaled(crest, thick * 0.85 + lift * 0.6),
        crown + scaled(crest, thick * 0.72 + lift * 0.6),
    ]
    body.chain(ridge, [torch.where(tall > 0, tall * share + 0.012, -1.0) for share in (0.35, 0.65, 0.6)], **hair)
    hangs, aside = (fall > 0.3) & (tall > 0), vector(flat, flat, side * thick * 0.72)
    lower = [one + aside - scaled(crest, thick * by) for one, by in zip(ridge, (0.15, 0.45, 0.35), strict=True)]
    body.chain(lower, [torch.where(hangs, tall * share, -1.0) for share in (0.5, 0.95, 0.75)], **hair)
    tuft = torch.where(tall > 0, tall * 0.6 + 0.01, -1.0)
    root = crown + scaled(crest, thick * 0.87)
    body.bone(root, root + scaled(crest, t.head * 0.18) + vector(t.head * 0.5, flat, flat), tuft, tuft * 0.6, **hair)


def _ruff(body: Body, t: Traits, nape: Vector, crown: Vector, crest: Vector) -> None:
    """A lion's mane: a disc of hair behind the face, and a bib of it down to the breast."""
    thick, ruff = t.neck_thickness, t.ruff
    line, length = unit(crown - nape), norm(crown - nape)
    look = {"part": "mane", "colour": t.mane_colour, "belly": 0.0, "pattern": t.mane_marks, "soft": 0.3}
    disc = (thick * 0.75 + ruff * 0.45, thick + ruff, thick * 0.9 + ruff * 0.9)
    bib = (length * 0.55 + ruff * 0.6, thick * 1.15 + ruff * 1.02, thick + ruff * 0.85)
    for centre, low, size in ((crown, 0.12, disc), (mix(nape, crown, 0.48), 0.4, bib)):
        size = tuple(torch.where(ruff > 0, one, 0.0) for one in size)
        body.ball(centre - scaled(crest, ruff * low), size, line, crest, **look)


def _tail(body: Body, t: Traits, pose: Pose, draws: Draws) -> None:
    """A chain that starts at `tail_angle` and turns by `tail_curl` on its way; bushy in the middle or tufted."""
    flat = torch.zeros(len(t))
    root = pose.at(0.0, t.loin * 0.55) - scaled(pose.forward, _rump(t) * 0.78)
    angle = t.tail_angle + draws.number(-0.25, 0.25)
    angle = torch.where(pose.sits | pose.lies, torch.minimum(angle, flat - 0.15), angle)
    sway = draws.number(-0.5, 0.5)
    piece = t.tail_length / 4
    points, radii = [root], [t.tail_thickness]
    for i in range(4):
        line = heading(flat, 3.1416 + sway * (0.4 + 0.2 * i), angle + t.tail_curl * i / 3)
        point = points[-1] + scaled(line, piece)
        points.append(vector(point[:, 0], torch.maximum(point[:, 1], t.tail_thickness + 0.02), point[:, 2]))
        bushy = t.tail_fluff * (0.65, 1.0, 0.95, 0.35)[i]
        radii.append(t.tail_thickness * (0.92, 0.84, 0.72, 0.55)[i] + bushy)
    there = t.tail_length > 0
    colour = mix(t.coat, t.tail_tip, t.tail_shade)
    middle = mix(colour, t.tail_tip, 0.25)
    radii = [torch.where(there, one, -1.0) for one in radii]
    look = {"part": "tail", "belly": 0.4, "pattern": t.tail_marks}
    body.chain(points[:4], radii[:4], colour=colour, tip=middle, **look)
    body.bone(points[3], points[4], radii[3], radii[4], colour=middle, tip=t.tail_tip, along=(piece * 3,), **look)
    tuft = torch.where(there & (t.tail_tuft > 0), t.tail_tuft, 0.0)
    body.ball(points[4], (tuft * 1.7, tuft, tuft), points[4] - points[3], pose.forward, part="tail", colour=t.tail_tip,
              belly=0.0, pattern=0.0)  # fmt: skip
