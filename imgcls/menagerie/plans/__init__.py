"""Body plans: traits and draws in, posed bodies out."""

from collections.abc import Callable

from imgcls.menagerie.anatomy import Body
from imgcls.menagerie.draws import Draws
from imgcls.menagerie.kinds import Traits
from imgcls.menagerie.plans.airplane import airplane, balloon, helicopter
from imgcls.menagerie.plans.bat import bat
from imgcls.menagerie.plans.bird import bird
from imgcls.menagerie.plans.butterfly import butterfly
from imgcls.menagerie.plans.car import car
from imgcls.menagerie.plans.cetacean import cetacean
from imgcls.menagerie.plans.crustacean import crab, lobster
from imgcls.menagerie.plans.cycle import cycle
from imgcls.menagerie.plans.fern import fern
from imgcls.menagerie.plans.fish import fish, ray
from imgcls.menagerie.plans.flower import flower
from imgcls.menagerie.plans.frog import frog
from imgcls.menagerie.plans.hopper import hopper
from imgcls.menagerie.plans.insect import bee, beetle, dragonfly, grasshopper
from imgcls.menagerie.plans.mollusc import octopus, snail, squid
from imgcls.menagerie.plans.mushroom import mushroom
from imgcls.menagerie.plans.pinniped import pinniped
from imgcls.menagerie.plans.primate import primate
from imgcls.menagerie.plans.quadruped import quadruped
from imgcls.menagerie.plans.radial import jellyfish, starfish
from imgcls.menagerie.plans.rail import locomotive
from imgcls.menagerie.plans.reptile import chameleon, sprawler, turtle
from imgcls.menagerie.plans.ship import sailer, ship
from imgcls.menagerie.plans.snake import snake
from imgcls.menagerie.plans.spider import scorpion, spider
from imgcls.menagerie.plans.tree import cactus, conifer, palm, tree
from imgcls.menagerie.plans.truck import bus, tractor, truck

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
