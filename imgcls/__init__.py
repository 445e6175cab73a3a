"""A thin library under an image-classification course: images, transforms, models, training, reports."""

__version__ = "0.1.0"
