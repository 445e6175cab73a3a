"""What the exercises of notebook 08 expect: masks, a leak, a rule without animals, a claim about backgrounds."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

import menagerie
from course.exercises import Expected


def masks(covered: Any, coat: Any) -> Iterator[Expected]:
    """Share of the pixels under each mask, and the mean colour under the first."""
    zoo = menagerie.generate("cats_dogs", count=32, image_size=32)
    pixels = zoo.masks.flatten(1).sum(dim=1)
    yield Expected(
        "covered", pixels / 32**2,
        "A mask is true or false. What is the mean of ones and zeros over rows and columns?",
        "The mean of a mask is the share of its pixels that are true.",
        within=1e-4,
    )  # fmt: skip
    yield Expected(
        "coat", (zoo.images[0] * zoo.masks[0]).sum(dim=(1, 2)) / pixels[0],
        "Leave out the background: a mask can be an index.",
        "Only the pixels of the animal count, so the habitat does not change the result.",
        within=1e-2,
    )  # fmt: skip


def leak(draw_images: Callable[[str, int, int], tuple[Tensor, Tensor]]) -> Iterator[Expected]:
    """Numbers of images, and how many test images are in training."""
    for_training, for_testing = draw_images("cats_dogs", 12, 6)
    known = {image.numpy().tobytes() for image in for_training}
    shared = sum(image.numpy().tobytes() in known for image in for_testing)
    yield Expected(
        "draw_images", [12, 6, 0],
        "Compare the images of both results. How many are in both, and how many are there of each?",
        "An image is a function of (set, split, seed, index), so test images need another split or other indices.",
        answer=[len(for_training), len(for_testing), shared],
    )  # fmt: skip


def backgrounds(rule_always: Any, rule_never: Any, rule_half: Any) -> Iterator[Expected]:
    """Expected accuracy of predicting the class from the two habitats of fox and elephant, and a coin elsewhere."""
    places = menagerie.habitats()

    def accuracy(bias: float) -> float:
        """Over all habitats of a fox: its own is correct, the elephant's is wrong, others are half correct."""
        share = {place: (1 - bias) / len(places) for place in places}
        share["snow"] += bias
        return sum(share[place] * {"snow": 1.0, "savanna": 0.0}.get(place, 0.5) for place in places)

    yield Expected(
        "rule_always", accuracy(1.0),
        "At a bias of 1 each animal is in the habitat of its species.",
        "The rule is always correct, without a single pixel of an animal.",
        within=1e-3,
    )  # fmt: skip
    yield Expected(
        "rule_never", accuracy(0.0),
        "With random habitats, a fox is as often in the savanna as in the snow.",
        "The habitat has no information about the class, so no rule on it is better than chance.",
        within=1e-3,
    )  # fmt: skip
    yield Expected(
        "rule_half", accuracy(0.5),
        "A fox comes to the snow in two ways: by the bias, or by the random draw. Elsewhere the coin decides.",
        "The accuracy is halfway between both ends: half of the images have the shortcut.",
        within=1e-3,
    )  # fmt: skip


def claim(support: Any, deciding_test: Any) -> Iterator[Expected]:
    """A high accuracy on test images that share the shortcut of the training images."""
    yield Expected(
        "support", "inconclusive",
        "Which accuracy would a rule have that uses the ground alone? And a network that does recognise animals?",
        "Both a network that recognises animals and one that recognises snow reach this accuracy.",
    )  # fmt: skip
    yield Expected(
        "deciding_test", "other places",
        "The test must separate the animal from its background.",
        "Only where animal and background disagree do the two explanations predict different accuracies.",
    )  # fmt: skip
