"""Named recipes."""

from imgcls.training.recipe import Recipe
from imgcls.transforms import RandomCrop

FAST = Recipe(
    epochs=14,
    batch_size=2000,
    lr=0.04,
    optimizer="muon",
    momentum=0.6,
    weight_decay=1.0,  # bounds the norm of weights before batch norms, so that every step rotates them equally far
    label_smoothing=0.2,
    warmup_fraction=0.1,
    transforms=(RandomCrop(padding=2),),
    alternating_flip=True,
    resolution_schedule=((1, 20), (5, 24), (8, 28), (11, 32)),
    unfreeze_schedule=((1, "all"), (3, 3)),  # the first layer is a whitening, whose bias trains for two epochs
)
"""For `cifar_fast` on images of 32 px: the ideas that case 05 selected on CIFAR-10 (photographs, commit d1b6b78).

After Jordan 2024, arXiv:2404.00498; epochs and image sizes take about 0.7 of the time of its recipe on a CPU
(`benchmarks.fast`).
"""
