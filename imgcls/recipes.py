"""Recipes that earned a name."""

from imgcls.training import Recipe
from imgcls.transforms import RandomCrop

FAST = Recipe(
    epochs=8,
    batch_size=500,
    lr=0.02,
    optimizer="muon",
    momentum=0.6,
    weight_decay=1.0,  # keeps the weights before batch norms at one length, so that a step turns them equally far
    label_smoothing=0.2,
    transforms=(RandomCrop(padding=2),),
    alternating_flip=True,
    image_sizes=((1, 24), (4, 32)),
)
"""For `cifar_fast` on pictures of 32 px, after Jordan 2024, arXiv:2404.00498; case 05 puts its parts on trial."""
