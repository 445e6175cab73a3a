"""Class activation maps, guided backpropagation, filters, feature maps, and scores of explanations."""

from imgcls.explain.guided import guided_backprop, guided_grad_cam
from imgcls.explain.maps import METHODS, feature_maps, first_filters, grad_cam, layer_filters
from imgcls.explain.scores import energy_inside, localisation, mask_iou, pointing_game, road, uninformative_maps

__all__ = [
    "METHODS",
    "energy_inside",
    "feature_maps",
    "first_filters",
    "grad_cam",
    "guided_backprop",
    "guided_grad_cam",
    "layer_filters",
    "localisation",
    "mask_iou",
    "pointing_game",
    "road",
    "uninformative_maps",
]
