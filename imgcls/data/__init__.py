"""Data sets as uint8 tensors: the generated ones, and any folder or archive of class folders."""

from imgcls.data.audit import Audit, Pair, audit
from imgcls.data.checks import generated_checks
from imgcls.data.download import download
from imgcls.data.load import UnknownDataset, available, file_formats, generated, imbalanced, load, load_image, locate
from imgcls.data.sources import EXTENSIONS, DataError, Skipped, pictures
from imgcls.data.splits import Split, Splits, class_counts, concat_classes, export, statistics

__all__ = [
    "EXTENSIONS",
    "Audit",
    "DataError",
    "Pair",
    "Skipped",
    "Split",
    "Splits",
    "UnknownDataset",
    "audit",
    "available",
    "class_counts",
    "concat_classes",
    "download",
    "export",
    "file_formats",
    "generated",
    "generated_checks",
    "imbalanced",
    "load",
    "load_image",
    "locate",
    "pictures",
    "statistics",
]
