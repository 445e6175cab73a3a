"""The real data sets of the cases: their paths, and how to download them.

Imports almost nothing, because reports list missing data sets before anything runs.
"""

from dataclasses import dataclass
from pathlib import Path

from imgcls import paths

ENDINGS = ("", ".zip", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Entry:
    """One data set."""

    title: str
    case: str  # number of the notebook
    path: str  # of a folder below `data/`, or of an archive with one of ENDINGS
    steps: str  # how to download it; "imgcls data get NAME" where `download` can do it


CATALOGUE = {
    "fox_elephant": Entry(
        "arctic foxes and elephants of the original report",
        "01",
        "arctic-fox-elephant",
        "put the report's folder, or a zip of it, at data/arctic-fox-elephant or data/arctic-fox-elephant.zip: Train "
        "and Test, each with the folders 'Arctic Fox' and 'Elephant'; your own images in that layout work too",
    ),
    "awa2": Entry(
        "Animals with Attributes 2, 50 species",
        "02",
        "Animals_with_Attributes2/JPEGImages",
        "download https://cvml.ista.ac.at/AwA2/AwA2-data.zip (13 GB) and unpack it there: unzip AwA2-data.zip -d data",
    ),
    "cats_dogs": Entry(
        "cats and dogs of Kaggle",
        "03",
        "cats-dogs",
        "download kagglecatsanddogs_5340.zip from https://www.microsoft.com/en-us/download/details.aspx?id=54765 and "
        "save it as data/cats-dogs.zip (it is read in place); or use the cats and dogs of Oxford: imgcls data get "
        "oxford_pets, then make report-03 PROFILE=real DATA=oxford_pets",
    ),
    "oxford_pets": Entry(
        "Oxford-IIIT Pet, cats and dogs in its own train and test",
        "03",
        "oxford_pets",
        "imgcls data get oxford_pets (0.8 GB)",
    ),
    "nature_12k": Entry(
        "iNaturalist in ten groups, 12,000 photographs",
        "04",
        "nature_12K",
        "imgcls data get nature_12k (3.6 GB); or save https://storage.googleapis.com/wandb_datasets/nature_12K.zip "
        "as data/nature_12K.zip",
    ),
    "cifar10": Entry("CIFAR-10, 60,000 pictures of 32 px", "05", "cifar10", "imgcls data get cifar10 (0.2 GB)"),
}


def key(name: str) -> str | None:
    """The name in the catalogue, in any case and with dashes or underscores; None if it is unknown."""
    name = name.lower().replace("-", "_")
    return name if name in CATALOGUE else None


def find(name: str) -> Path | None:
    """Folder or archive of a data set of the catalogue; None if it is not on this machine."""
    return existing(paths.DATA / CATALOGUE[name].path)


def existing(path: Path) -> Path | None:
    """The path, or an archive of that name in the same folder; None if neither exists."""
    candidates = (path.with_name(path.name + ending) for ending in ENDINGS)
    return next((one for one in candidates if one.exists()), None)


def steps_for(data: str | Path) -> str | None:
    """How to download the data set of a name or of a path under `data/`; None if the catalogue does not have it."""
    for name, entry in CATALOGUE.items():
        if key(str(data)) == name or Path(data).as_posix().endswith(f"data/{entry.path}"):
            return entry.steps
    return None
