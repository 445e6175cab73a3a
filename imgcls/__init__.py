"""A thin library of image classification with PyTorch: data, transforms, models, training, evaluation, explanation."""

__version__ = "0.1.0"
