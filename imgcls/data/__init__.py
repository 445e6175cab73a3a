"""Data sets as uint8 tensors: the generated ones, and any folder or archive of class folders."""

from imgcls.data.audit import Audit, Pair, audit
from imgcls.data.download import download
from imgcls.data.load import UnknownDataset, available, file_formats, load, load_image, locate, typical_side
from imgcls.data.sources import EXTENSIONS, DataError, SkippedFile, pictures
from imgcls.data.splits import Split, Splits, class_counts, statistics

__all__ = [
    "EXTENSIONS",
    "Audit",
    "DataError",
    "Pair",
    "SkippedFile",
    "Split",
    "Splits",
    "UnknownDataset",
    "audit",
    "available",
    "class_counts",
    "download",
    "file_formats",
    "load",
    "load_image",
    "locate",
    "pictures",
    "statistics",
    "typical_side",
]
