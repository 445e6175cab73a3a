"""Data sets as uint8 tensors: the generated ones, and any folder or archive of class folders."""

from imgcls.data.audit import Audit, Pair, audit
from imgcls.data.checks import generated_checks
from imgcls.data.download import get
from imgcls.data.load import UnknownDataset, available, generated, imbalanced, kinds, load, locate, prepare
from imgcls.data.sources import EXTENSIONS, DataError, LeftOut, pictures
from imgcls.data.splits import Split, Splits, class_counts, export, joined, statistics

__all__ = [
    "EXTENSIONS",
    "Audit",
    "DataError",
    "LeftOut",
    "Pair",
    "Split",
    "Splits",
    "UnknownDataset",
    "audit",
    "available",
    "class_counts",
    "export",
    "generated",
    "generated_checks",
    "get",
    "imbalanced",
    "joined",
    "kinds",
    "load",
    "locate",
    "pictures",
    "prepare",
    "statistics",
]
