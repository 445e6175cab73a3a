"""Body plans: functions from traits and draws to posed bodies."""

from collections.abc import Callable

from menagerie.anatomy import Body
from menagerie.draws import Draws
from menagerie.kinds import Traits
from menagerie.plans.airplane import airplane, balloon, helicopter
from menagerie.plans.bat import bat
from menagerie.plans.bird import bird
from menagerie.plans.butterfly import butterfly
from menagerie.plans.car import car
from menagerie.plans.cetacean import cetacean
from menagerie.plans.crustacean import crab, lobster
from menagerie.plans.cycle import cycle
from menagerie.plans.fern import fern
from menagerie.plans.fish import fish, ray
from menagerie.plans.flower import flower
from menagerie.plans.frog import frog
from menagerie.plans.hopper import hopper
from menagerie.plans.insect import bee, beetle, dragonfly, grasshopper
from menagerie.plans.mollusc import octopus, snail, squid
from menagerie.plans.mushroom import mushroom
from menagerie.plans.pinniped import pinniped
from menagerie.plans.primate import primate
from menagerie.plans.quadruped import quadruped
from menagerie.plans.radial import jellyfish, starfish
from menagerie.plans.rail import locomotive
from menagerie.plans.reptile import chameleon, sprawler, turtle
from menagerie.plans.ship import sailer, ship
from menagerie.plans.snake import snake
from menagerie.plans.spider import scorpion, spider
from menagerie.plans.tree import cactus, conifer, palm, tree
from menagerie.plans.truck import bus, tractor, truck

_FUNCTIONS = (
    airplane,
    helicopter,
    balloon,
    bat,
    bird,
    butterfly,
    car,
    cetacean,
    crab,
    lobster,
    cycle,
    fern,
    fish,
    ray,
    flower,
    frog,
    hopper,
    beetle,
    bee,
    dragonfly,
    grasshopper,
    snail,
    octopus,
    squid,
    mushroom,
    pinniped,
    primate,
    quadruped,
    starfish,
    jellyfish,
    locomotive,
    sprawler,
    turtle,
    chameleon,
    ship,
    sailer,
    snake,
    spider,
    scorpion,
    tree,
    conifer,
    palm,
    cactus,
    truck,
    bus,
    tractor,
)
PLANS: dict[str, Callable[[Traits, Draws], Body]] = {plan.__name__: plan for plan in _FUNCTIONS}
