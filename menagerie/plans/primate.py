"""Monkeys, apes and lemurs: walking on all fours, sitting or hanging from a branch."""

from dataclasses import dataclass

import torch

from menagerie.anatomy import Body, Number, Vector, frame, heading, mix, norm, scaled, unit, vector
from menagerie.draws import Draws, square_root
from menagerie.kinds import Traits

TAIL = 9  # bones


@dataclass(frozen=True, eq=False)
class Pose:
    """Where the trunk is and what the animal is doing; on all fours if it neither sits nor hangs."""

    hip: Vector
    shoulder: Vector
    spine: Vector  # from hip to shoulder
    back: Vector  # out of the back, square to the spine
    sits: torch.Tensor  # bool (N,)
    hangs: torch.Tensor


def limb(root: Vector, goal: Vector, upper: Number, lower: Number, bend: Vector) -> tuple[Vector, Vector]:
    """Joint and end of a two-bone limb that reaches for a goal (inverse kinematics).

    Args:
        root: where it starts, (N, 3).
        goal: where it should end, (N, 3); if out of reach, the limb is nearly straight towards it.
        upper: length of the first bone.
        lower: length of the second bone.
        bend: side to which the joint bends, (N, 3).
    """
    way = goal - root
    distance = norm(way).clamp(min=1e-3)
    forward, side, _ = frame(way, bend)
    far = torch.minimum(distance, torch.as_tensor(upper + lower, dtype=torch.float32) * 0.99)
    along = (upper * upper - lower * lower + far * far) / (2 * far)
    off = square_root((upper * upper - along * along).clamp(min=0))
    return root + scaled(forward, along) + scaled(side, off), root + scaled(forward, far)


def primate(t: Traits, draws: Draws) -> Body:
    """An ape, monkey or lemur, on all fours, sitting or hanging, with the probabilities of its kind."""
    body = Body(len(t), gloss=t.gloss, soft=0.1)
    flat = torch.zeros(len(t))
    pose = _pose(t, draws)
    _trunk(body, t, pose)
    for side in (-1.0, 1.0):
        _arm(body, t, draws, pose, side)
        _leg(body, t, draws, pose, side)
    _tail(body, t, draws, pose)
    nape = pose.shoulder + scaled(pose.spine, t.chest * 0.35) + scaled(pose.back, t.chest * 0.1)
    lift = torch.where(pose.sits | pose.hangs, 1.3, t.neck_angle)
    crown = nape + scaled(heading(flat, 0.0, lift), t.neck_length + t.head * 0.55)
    body.bone(nape, crown, t.chest * 0.62, t.head * 0.8, part="neck", colour=t.coat, pattern=0.0)
    _head(body, t, crown, draws.number(-1.0, 1.0), draws.number(-0.3, 0.12))
    branch = torch.where(pose.hangs, t.arm_thickness * 0.8, -1.0)
    grip = pose.shoulder[:, 1] + t.arm_length * 0.97
    ends = [vector(t.trunk_length * x, grip + draws.number(-0.12, 0.12) * t.trunk_length, flat) for x in (-0.7, 1.2)]
    body.bone(*ends, branch, branch * 0.8, part=None, colour=t.branch, pattern=0.0, belly=0.0)
    return body


def _pose(t: Traits, draws: Draws) -> Pose:
    flat = torch.zeros(len(t))
    chance = draws.number()
    hangs = chance < t.hanging
    sits = (chance > 1 - t.sitting) & ~hangs
    # On all fours the spine slopes from shoulders at the height of the arms to hips at that of the legs.
    arm, leg = t.arm_length * draws.number(0.93, 1.0), t.leg_length * draws.number(0.88, 0.97)
    slope = ((arm - leg) / t.trunk_length).clamp(-0.3, 0.75)
    walking = vector(square_root(1 - slope * slope), slope, flat)
    spine = torch.where((sits | hangs)[:, None], heading(flat, 0.0, draws.number(1.0, 1.3)), walking)
    height = torch.where(hangs, t.leg_length * 0.9, torch.where(sits, t.loin * 0.85, leg))
    hip = vector(flat, height, flat)
    _, back, _ = frame(spine, vector(flat, 1.0, 0.0))
    return Pose(hip, hip + scaled(spine, t.trunk_length), spine, back, sits, hangs)


def _trunk(body: Body, t: Traits, pose: Pose) -> None:
    wide = t.trunk_width

    def at(along: float, above: Number = 0.0) -> Vector:
        return mix(pose.hip, pose.shoulder, along) + scaled(pose.back, above)

    axes = {"forward": pose.spine, "up": pose.back, "part": "trunk", "pattern": 0.0}
    body.ball(at(0.78), (t.chest * 1.1, t.chest, t.chest * wide * t.shoulders), colour=t.coat, **axes)
    body.ball(at(0.45, -t.paunch), (t.trunk_length * 0.52, t.loin * 1.05, t.loin * wide), colour=t.coat, **axes)
    body.ball(at(0.05), (t.loin * 1.05, t.loin, t.loin * wide), colour=mix(t.coat, t.back, 0.22), **axes)
    saddle = (t.trunk_length * 0.42, t.loin * 0.57, t.loin * wide * 0.88)
    body.ball(at(0.32, t.loin * 0.52), saddle, colour=t.back, belly=0.0, soft=0.05, **axes)
    bare = torch.where(pose.sits, 0.0, t.rump)
    rump = at(0.0, t.loin * 0.05) - scaled(pose.spine, t.loin * 0.85)
    body.ball(rump, (bare * 0.7, bare, bare * 1.1), colour=t.rump_colour, belly=0.0, soft=0.02, **axes)


def _arm(body: Body, t: Traits, draws: Draws, pose: Pose, side: float) -> None:
    flat, sits, hangs = torch.zeros(len(t)), pose.sits, pose.hangs
    across = side * t.chest * t.trunk_width * t.shoulders * 0.78
    top = pose.shoulder + vector(flat, flat, across) - scaled(pose.back, t.chest * 0.15)
    x, y, z = top.unbind(1)
    stride = draws.number(-0.25, 0.3) * t.arm_length
    thick = t.arm_thickness
    ground = vector(x + stride, thick * 0.8, z * 1.1)
    # A sitting animal rests its hand on the ground before it or on its knee.
    low = draws.chance(0.5)
    reach = torch.where(low, 0.35, 0.5) * t.arm_length
    lap = vector(x + reach, torch.where(low, thick * 0.8, t.leg_length * 0.48), z * 1.05)
    up = vector(x + draws.number(-0.45, 0.5) * t.arm_length, y + t.arm_length * 0.97, flat)
    loose = vector(x + draws.number(0.1, 0.5) * t.arm_length, y - draws.number(0.0, 0.7) * t.arm_length, z * 1.6)
    holds = draws.chance(0.5) if side > 0 else torch.ones_like(hangs)
    goal = torch.where(sits[:, None], lap, ground)
    goal = torch.where((hangs & holds)[:, None], up, goal)
    goal = torch.where((hangs & ~holds)[:, None], loose, goal)
    bend = vector(torch.where(hangs, -0.3, -1.0), torch.where(sits, -0.4, 0.0), side * 0.35)
    elbow, wrist = limb(top, goal, t.arm_length * 0.5, t.arm_length * 0.48, bend)
    body.bone(top, elbow, thick * t.brawn, thick, part="arm", colour=t.coat, tip=t.coat, pattern=0.0)
    body.bone(elbow, wrist, thick * 1.05, thick * 0.8, part="arm", colour=t.coat, tip=t.limb, pattern=0.0, belly=0.3)
    forward = torch.where(hangs[:, None], unit(wrist - elbow), vector(flat + 1.0, -0.1, flat))
    body.bone(wrist, wrist + scaled(forward, t.hand), thick * 0.8, thick * 0.62,
              part="foot", colour=t.skin, pattern=0.0, belly=0.0, soft=0.04)  # fmt: skip


def _leg(body: Body, t: Traits, draws: Draws, pose: Pose, side: float) -> None:
    flat, sits, hangs = torch.zeros(len(t)), pose.sits, pose.hangs
    thick = t.leg_thickness
    out = side * t.loin * t.trunk_width
    top = pose.hip + vector(flat, flat, out * 0.6)
    stride = draws.number(-0.3, 0.3) * t.leg_length
    stands = vector(stride, thick * 0.6, out * 0.8)
    squats = vector(t.leg_length * draws.number(0.45, 0.75), thick * 0.6, out * 1.3)
    dangles = vector(draws.number(-0.3, 0.7) * t.leg_length, top[:, 1] - t.leg_length * draws.number(0.55, 0.95), out)
    goal = torch.where(sits[:, None], squats, torch.where(hangs[:, None], dangles, stands))
    bend = vector(1.0, torch.where(sits, 1.0, 0.1), torch.full_like(flat, side * 0.3))
    knee, ankle = limb(top, goal, t.leg_length * 0.5, t.leg_length * 0.5, bend)
    thigh = mix(t.coat, t.back, 0.35)
    body.bone(top, knee, thick * 1.7, thick * 1.05, part="leg", colour=thigh, tip=t.coat, pattern=0.0)
    body.bone(knee, ankle, thick * 1.05, thick * 0.75, part="leg", colour=t.coat, tip=t.limb, pattern=0.0, belly=0.3)
    forward = vector(flat + 1.0, torch.where(hangs, -0.5, 0.0), flat)
    body.bone(ankle, ankle + scaled(forward, t.foot), thick * 0.75, thick * 0.6,
              part="foot", colour=t.skin, pattern=0.0, belly=0.0, soft=0.04)  # fmt: skip


def _tail(body: Body, t: Traits, draws: Draws, pose: Pose) -> None:
    flat = torch.zeros(len(t))
    root = pose.hip - scaled(pose.spine, t.loin * 0.7)
    angle = t.tail_angle + draws.number(-0.15, 0.2)
    angle = torch.where(pose.hangs, 0.6, torch.where(pose.sits, angle.clamp(min=0.25), angle))
    sway, curl = 3.1416 + draws.number(-0.4, 0.4), t.tail_curl * draws.number(0.75, 1.2)
    absent = t.tail_length <= 0
    points, radii = [root], []
    for i in range(TAIL):
        share = (i + 0.5) / TAIL
        bend = angle + t.tail_rise * min(1.0, 2 * share) + curl * (share * share)
        point = points[-1] + scaled(heading(flat, sway, bend), t.tail_length / TAIL)
        points.append(vector(point[:, 0], torch.maximum(point[:, 1], t.tail_thickness), point[:, 2]))
    for i in range(TAIL + 1):
        radii.append(torch.where(absent, -1.0, t.tail_thickness * (1 + (t.tail_taper - 1) * (i / TAIL))))
    body.chain(points, radii, part="tail", colour=t.tail_colour, tip=t.tail_tip, belly=0.0, pattern=1.0, soft=0.03)


def _head(body: Body, t: Traits, crown: Vector, azimuth: Number, elevation: Number) -> None:
    r = t.head
    face, up, side = frame(heading(r, azimuth, elevation), vector(torch.zeros_like(r), 1.0, 0.0))
    skull = crown + scaled(face, r * 0.25)

    def at(forward: Number, above: Number, across: Number = 0.0) -> Vector:
        return skull + scaled(face, r * forward) + scaled(up, r * above) + scaled(side, r * across)

    look = {"part": "head", "pattern": 0.0, "belly": 0.0}
    body.ball(skull, (r * 0.98, r * t.skull_height, r * 0.92), face, up, colour=t.coat, **look)
    body.ball(at(-0.25, 0.75), (r * 0.75, r * t.crest, r * 0.45), face, up, colour=t.crown, **look)
    ruff = t.ruff * r
    body.ball(at(-0.35, -0.30), (ruff * 0.55, ruff * 0.85, ruff * 1.1), face, up, colour=t.ruff_colour, **look)
    mask = (r * 0.60, r * 0.78 * t.mask, r * 0.76 * t.mask)
    body.ball(at(0.42, -0.05), mask, face, up, colour=t.face, soft=0.015, **look)
    body.bone(at(0.74, 0.32, -0.34), at(0.74, 0.32, 0.34), r * t.brow, colour=t.brow_colour, soft=0.03, **look)
    nose = at(0.55, -0.38) + scaled(face, t.snout_length) - scaled(up, t.snout_length * t.snout_droop)
    snout = {"part": "snout", "pattern": 0.0, "belly": 0.0}
    root = r * 0.52 * t.snout_width
    body.bone(at(0.40, -0.32), nose, root, t.snout_thickness, colour=t.face, tip=t.muzzle, soft=0.05, **snout)
    tip = nose + scaled(face, t.snout_thickness * 0.72) + scaled(up, t.snout_thickness * 0.55)
    body.ball(tip, (t.snout_thickness * 0.4, t.snout_thickness * 0.38, t.snout_thickness * 0.62), face, up,
              colour=t.nose_colour, soft=0.01, **snout)  # fmt: skip
    for hand in (-1.0, 1.0):
        patch = t.eye_patch * r
        ring = (patch * 0.5, patch, patch)
        body.ball(at(0.80, 0.10, hand * 0.40), ring, face, up, colour=t.patch_colour, soft=0.01, **look)
        eye = r * t.eye_size
        body.ball(at(0.92, 0.12, hand * 0.36), (eye * 0.8, eye, eye), face, up, part="eye", colour=t.eye, pattern=0.0,
                  belly=0.0, soft=0.0, gloss=0.8)  # fmt: skip
        ear = at(0.0, t.ear_height, hand * (0.85 + 0.3 * t.ear))
        size = (r * 0.22 * t.ear_depth, r * t.ear, r * t.ear * 0.75)
        body.ball(ear, size, face, up + scaled(side, hand * 0.45), part="ear", colour=t.ear_colour, pattern=0.0,
                  belly=0.0, soft=0.01)  # fmt: skip
