"""Three plausible wrong answers to each exercise of notebook 08."""

_LEAK = """
def draw_images(name, train_images, test_images):
    for_training = menagerie.generate(name, "train", count=train_images, image_size=16).images
    for_testing = menagerie.generate({arguments}, image_size=16).images
    return for_training, for_testing
"""
_COVERED = "covered = zoo.masks.float().mean(dim=(1, 2))\n"
_COAT = "coat = zoo.images[0][:, zoo.masks[0]].float().mean(dim=1)\n"

WRONG = {
    "masks": [
        "covered = zoo.masks.sum(dim=(1, 2))\n" + _COAT,
        _COVERED + "coat = zoo.images[0].float().mean(dim=(1, 2))\n",
        # The background counts as black.
        _COVERED + "coat = (zoo.images[0] * zoo.masks[0]).float().mean(dim=(1, 2))\n",
    ],
    "leak": [
        # Only the last images of training, but still images of training.
        _LEAK.format(arguments='name, "train", start=train_images - test_images, count=test_images'),
        _LEAK.format(arguments='name, "train", start=1, count=test_images'),
        _LEAK.format(arguments='name, "test", count=train_images'),
    ],
    "backgrounds": [
        "rule_always = 1.0\nrule_never = 0.0\nrule_half = 0.5",
        "rule_always = 1.0\nrule_never = 0.5\nrule_half = 0.5",
        "rule_always = 1.0\nrule_never = 0.1\nrule_half = 0.55",
    ],
    "claim": [
        'support = "supported"\ndeciding_test = "other places"',
        'support = "contradicted"\ndeciding_test = "other places"',
        'support = "inconclusive"\ndeciding_test = "more images"',
    ],
}
