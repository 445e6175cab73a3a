"""Data sets as uint8 tensors: the generated ones, and any folder or archive of class folders."""

from imgcls.data.audit import Audit, Pair, audit
from imgcls.data.download import download
from imgcls.data.load import UnknownDataset, available, file_formats, load, load_image, locate, typical_side
from imgcls.data.sources import DataError, SkippedFile, files_below
from imgcls.data.splits import Split, Splits, class_counts, lookalikes, statistics

__all__ = [
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
    "files_below",
    "load",
    "load_image",
    "locate",
    "lookalikes",
    "statistics",
    "typical_side",
]
