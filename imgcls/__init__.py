"""A thin library under an image-classification course: images, transforms, models, training, reports."""

__version__ = "0.1.0"

import warnings

# Our progress is a line of text; the advice to install widgets that tqdm gives in a notebook does not concern it.
warnings.filterwarnings("ignore", message="IProgress not found")
