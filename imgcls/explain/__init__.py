"""What a model looks at: class activation maps, guided backpropagation, filters, feature maps, and scores."""

from imgcls.explain.guided import guided_backprop, guided_grad_cam, strongest_patches
from imgcls.explain.maps import METHODS, feature_maps, first_filters, grad_cam, layer_filters
from imgcls.explain.scores import (
    add_scores,
    baseline_maps,
    energy_inside,
    localisation,
    mask_iou,
    part_energy,
    pointing_game,
    road,
)

__all__ = [
    "METHODS",
    "add_scores",
    "baseline_maps",
    "energy_inside",
    "feature_maps",
    "first_filters",
    "grad_cam",
    "guided_backprop",
    "guided_grad_cam",
    "layer_filters",
    "localisation",
    "mask_iou",
    "part_energy",
    "pointing_game",
    "road",
    "strongest_patches",
]
