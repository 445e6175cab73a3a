"""Load a data set by name or path."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from imgcls import files, paths
from imgcls.data import catalogue, decoding, workers
from imgcls.data.cache import Stored, read_cache, write_cache
from imgcls.data.generated import PREFIX, generated_names, load_generated
from imgcls.data.groups import CHANNELS, IMAGE_SIZE, find_groups, stored_groups
from imgcls.data.sources import LAYOUT, DataError, Member, find_class_folders, open_source, parent, read_file, stat_hash
from imgcls.data.splits import (
    IndicesByClass,
    Split,
    Splits,
    divide,
    drawn_from,
    match_class,
    parse_names,
    select_classes,
    stratified_sample,
)
from imgcls.messages import did_you_mean

SHOWN = 5  # unreadable splits and classes that an error names


class UnknownDataset(DataError):
    """A name or path without data; the message lists the known names and how to download more."""


def available() -> tuple[str, ...]:
    """Names that `load` accepts: the generated sets, and the downloaded sets of the catalogue."""
    return (*generated_names(), *(name for name in catalogue.CATALOGUE if catalogue.find(name)))


def load(
    name_or_path: str | Path,
    image_size: int = 64,
    channels: int = 3,
    resize: str = decoding.RESIZE,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    val_fraction: float = 0.1,
    test_fraction: float = 0.15,
    train_count: int | None = None,
    val_count: int | None = None,
    test_count: int | None = None,
    habitat_bias: float = 0.0,
    clutter: float = 1.0,
    cache: str | Path | None = None,
    split_again: bool = False,
    partial: bool = False,
) -> Splits:
    """Load a generated set by name, or a folder, zip or tar of class/image or split/class/image files in place.

    Files are decoded once: each resampled to a square of `image_size`, as uint8 in a cache that later calls map into
    memory. Files that cannot be decoded are skipped and named with the reason.

    A given test split is not changed. A missing val split is sampled from train; where test is missing too, both are.
    The sample is stratified and depends on (seed, file name) alone, except that exact and near duplicates, mirrored and
    re-encoded copies included, stay on one side: whole groups are drawn, of `Splits.duplicate_groups`. They are found
    on images of 32 px, whatever `image_size` and `channels`, and remembered in the cache.

    Args:
        name_or_path: "menagerie/<subset>", a name of the catalogue, or the path of a folder or archive.
        image_size: height and width in pixels.
        channels: 3 for RGB, 1 for grayscale.
        resize: how an image becomes a square: "crop" keeps its centre square alone, "squash" the whole image with
            another aspect ratio, "pad" the whole image between borders. All give the same pixels of square images,
            such as those of generated sets.
        classes: the classes to load, labelled in this order; all of them in alphabetical order if None.
        seed: of the split, and of generated images.
        val_fraction: fraction of train (of everything, if no split is given) for a val split that is not given.
        test_fraction: fraction of everything for a test split that is not given.
        train_count: maximum number of images, sampled in the proportions of the classes; of a generated set, exactly
            this number is rendered.
        val_count: likewise.
        test_count: likewise.
        habitat_bias: of generated sets, how often a subject is shown in the habitat of its species instead of any;
            below zero, in that of another class.
        clutter: of generated sets, how much pose, scale, position and occlusion vary, as in menagerie.generate.
        cache: folder of the decoded images, paths.CACHE if None.
        split_again: ignore the given splits and draw all three from all images.
        partial: only what is there, to evaluate a model: no split is drawn, images without a split are in train, and
            `classes` may be absent.

    Raises:
        UnknownDataset: if there is no such name or path.
        DataError: if an argument is out of range, or the files cannot be used; or if no image of a given split, or of
            a class of it, can be decoded, unless splits are drawn again.
    """
    check_shape(image_size, channels, resize)
    folder = Path(cache) if cache is not None else paths.CACHE
    counts = {"train": train_count, "val": val_count, "test": test_count}
    for split, count in counts.items():
        if count is not None and count < 1:
            option = " (--max-train-images)" * (split == "train")
            raise DataError(f"{split}_count{option} must be at least 1, not {count}; omit it for every image")
    name = str(name_or_path)
    if name in generated_names():
        settings = {"seed": seed, "habitat_bias": habitat_bias, "clutter": clutter}
        return load_generated(name, image_size, channels, classes, settings, counts, folder)
    for parameter, value, default in (("habitat_bias", habitat_bias, 0.0), ("clutter", clutter, 1.0)):
        if value != default:
            raise DataError(f"{parameter}={value} applies to generated sets only, not to {name!r}")
    path = locate(name_or_path)
    if min(val_fraction, test_fraction) <= 0 or val_fraction + test_fraction >= 1:
        raise DataError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} must be positive with a sum below 1, "
            f"so that train gets images"
        )
    stored, fingerprint = _decoded(path, image_size, channels, resize, folder)
    if stored.unread and not split_again:
        raise DataError(_unread_splits(path, stored))
    split_of, class_of = parse_names(stored.names, split_again)
    known = tuple(sorted(set(class_of)))
    given = tuple(name for name in counts if name in split_of)
    if partial:
        selected, duplicates = tuple(classes or known), []
        indices = {name: {one: [] for one in selected} for name in counts}
        spelled = {match_class(one, known): one for one in sorted(selected, key=known.__contains__)}  # exact names win
        for index, (split, name) in enumerate(zip(split_of, class_of, strict=True)):
            if name in spelled:
                indices[split or "train"][spelled[name]].append(index)
    else:
        selected = select_classes(classes, known, path)
        duplicates = _duplicates(path, stored.names, fingerprint, selected, folder, split_again)
        indices = divide(stored.names, selected, seed, val_fraction, test_fraction, path, duplicates, split_again)
    splits = {name: _split(stored, stratified_sample(indices[name], counts[name], name), selected) for name in counts}
    return Splits(
        **splits,
        classes=selected,
        skipped=stored.skipped,
        fingerprint=fingerprint,
        name=path.name,
        kind="real",
        duplicate_groups=len(duplicates),
        given=given,
    )


def locate(name_or_path: str | Path) -> Path:
    """Folder or archive of a path or of a name of the catalogue.

    Raises:
        UnknownDataset: it does not exist; the message says how to download it, or lists the known names.
    """
    path, known = Path(name_or_path).expanduser(), catalogue.key(str(name_or_path))
    found = path if path.exists() else known and catalogue.find(known)
    if found:
        return found
    name = str(name_or_path)
    if steps := catalogue.steps_for(name):
        raise UnknownDataset(f"{name!r} has not been downloaded: {steps}")
    in_folder = "/" in name and path.parent.is_dir() and not name.startswith(PREFIX)
    looks_like_path = path.suffix or name.startswith((".", "~", os.sep)) or in_folder
    what = f"no folder or archive at {path.absolute()}" if looks_like_path else f"unknown data set {name!r}"
    known = [*generated_names(), *catalogue.CATALOGUE]
    beside = [one.name for one in path.parent.glob("*")] if path.parent.is_dir() else []
    close = did_you_mean(path.name, beside) if looks_like_path else did_you_mean(name, [*known, *beside])
    if not close.startswith("did you mean"):
        close = did_you_mean(name, known)
    raise UnknownDataset(
        f"{what}; {close}\n"
        f"  your own images: the path of a folder, .zip or .tar with {LAYOUT}, "
        f'for example load("data/pets.zip"); archives are read in place\n'
        f"  generated and real sets, and how to download the missing ones: imgcls data list"
    )


def file_formats(name_or_path: str | Path) -> dict[str, int]:
    """Number of images of each format and mode in a folder or archive, such as JPEG RGB; only headers are read.

    Returns:
        {format and mode: count}, the most frequent first; files that are not images are not counted.
    """
    source = open_source(locate(name_or_path))
    members = [member for _, member in find_class_folders(source)[0]]
    found = map(decoding.format_and_mode, source.read(members))
    return dict(Counter(filter(None, found)).most_common())


def typical_side(name_or_path: str | Path, sample: int = 100) -> int | None:
    """The median of the shorter sides of some pictures of a folder or archive; only headers are read.

    Args:
        name_or_path: as for `load`.
        sample: number of pictures, evenly spaced.

    Returns:
        Pixels; None for generated images, which have any size, and if no header can be read.
    """
    if str(name_or_path) in generated_names():
        return None
    source = open_source(locate(name_or_path))
    members = [member for _, member in find_class_folders(source)[0]]
    step = max(1, len(members) // sample)
    sides = [min(size) for size in map(decoding.header_size, source.read(members[::step])) if size]
    return int(np.median(sides)) if sides else None


def load_image(path_or_bytes: str | Path | bytes, image_size: int, channels: int, resize: str) -> torch.Tensor:
    """One image with exactly the same pixels as from `load` with the same arguments.

    There are no defaults, so that a caller must pass the values that the model was trained with.

    Returns:
        uint8 (C, H, W).

    Raises:
        Undecodable: for files that `load` skips, with the same reason.
        DataError: if the size, the number of channels or `resize` is impossible.
    """
    check_shape(image_size, channels, resize)
    source = path_or_bytes if isinstance(path_or_bytes, str | Path) else None
    data = path_or_bytes if source is None else read_file(Path(source))
    result = data if isinstance(data, str) else decoding.try_decode_square(data, image_size, channels, resize)
    if isinstance(result, str):
        raise decoding.Undecodable(result, source)
    return torch.from_numpy(workers.planes(result[0], image_size, channels).copy())


def check_shape(image_size: int, channels: int, resize: str) -> None:
    """Raise DataError unless images can be loaded with these arguments."""
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1:
        raise DataError(f"image_size must be a positive whole number of pixels, not {image_size!r}")
    if channels not in (1, 3):
        raise DataError(f"channels must be 3 (RGB) or 1 (grayscale), not {channels!r}")
    if resize not in decoding.RESIZES:
        raise DataError(f"unknown resize {resize!r}; {did_you_mean(resize, decoding.RESIZES)}")


# ------------------------------------------------------------------ folders and archives


def _decoded(path: Path, image_size: int, channels: int, resize: str, folder: Path) -> tuple[Stored, str]:
    """The decoded files of a source, and its fingerprint: from the cache if nothing has changed, else decoded now."""
    kind = "" if resize == "crop" else f"-{resize}"  # the files of each resize have a folder of their own
    known = folder / "sources" / f"{stat_hash(path)}.txt"  # contains the fingerprint of the files in this state
    if known.exists():
        fingerprint = known.read_text(encoding="utf-8", errors="replace").strip()
        if stored := read_cache(folder, fingerprint + kind, image_size, channels):
            return stored, fingerprint
    source = open_source(path)
    key = (folder, source.fingerprint + kind, image_size, channels)
    stored = read_cache(*key)
    if stored is None:
        entries, elsewhere, unread = find_class_folders(source)

        def fill(building: Path) -> dict:
            index = workers.decode_into(building, source, entries, image_size, channels, resize)
            skipped = [[file.name, file.reason] for file in (*source.skipped, *elsewhere)]
            index["skipped"] = sorted(index["skipped"] + skipped)
            _check_classes(path, [name for name, _ in entries], index)
            index["unread"] = [[one.name, one.reason] for one in unread] + _undecoded(entries, index)
            return index

        stored = write_cache(*key, fill)
    files.write(known, source.fingerprint)
    return stored, source.fingerprint


def _duplicates(
    path: Path, names: Sequence[str], fingerprint: str, classes: tuple[str, ...], folder: Path, split_again: bool
) -> list[list[str]]:
    """Groups of two or more duplicates among the names of these classes that `divide` draws from."""
    if not drawn_from(names, split_again):
        return []

    def find() -> list[list[str]]:
        stored, _ = _decoded(path, IMAGE_SIZE, CHANNELS, "crop", folder)
        pool = drawn_from(stored.names, split_again)
        images, _ = stored.gather(np.array(pool, dtype=np.int64))
        return [[stored.names[pool[i]] for i in group] for group in find_groups(images)]

    usable = {name for name, one in zip(names, parse_names(names)[1], strict=True) if one in classes}
    file = f"duplicates{'-of-all' * split_again}.json"
    known = stored_groups(folder / f"{fingerprint}-{IMAGE_SIZE}-{CHANNELS}" / file, find)
    groups = ([name for name in group if name in usable] for group in known)
    return [group for group in groups if len(group) > 1]


def _check_classes(path: Path, names: Sequence[str], index: dict) -> None:
    """Refuse data whose files of one class are all skipped."""
    for missing in sorted(set(parse_names(names)[1]) - set(parse_names(index["names"])[1])):
        reasons = [f"{name}: {reason}" for name, reason in index["skipped"] if missing in name.split("/")]
        raise DataError(
            f"{path}: no image of class {missing!r} can be decoded ({'; '.join(reasons[:3])}); "
            f"repair its files or remove its folder"
        )


def _undecoded(entries: Sequence[tuple[str, Member]], index: dict) -> list[list[str]]:
    """[name, reason] of each given split, and of each class of one, of which no image could be decoded."""
    reasons = dict(index["skipped"])
    decoded = {folder for name in index["names"] for folder in (parent(name), parent(parent(name)))}
    found = {}
    for name, member in entries:
        for folder in (parent(parent(name)), parent(name)):
            if name.count("/") == 2 and folder not in decoded:
                found.setdefault(folder, f"{member.name}: {reasons[member.name]}")
    return [[folder, reason] for folder, reason in found.items()]


def _unread_splits(path: Path, stored: Stored) -> str:
    unread = {file.name: file.reason for file in stored.unread}
    rows = [
        f"  {name}: {reason}" for name, reason in unread.items() if parent(name) not in unread
    ]  # splits before classes
    return "\n".join(
        [
            f"{path}: no image can be read of",
            *rows[:SHOWN],
            *([f"  and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []),
            "repair these files or remove their folders; to draw new splits from all images that can be read, add "
            "--split-again (in Python: split_again=True)",
        ]
    )


def _split(stored: Stored, indices: IndicesByClass, classes: tuple[str, ...]) -> Split:
    label_of = {row: label for label, name in enumerate(classes) for row in indices[name]}
    rows = np.array(sorted(label_of), dtype=np.int64)
    images, masks = stored.gather(rows)
    return Split(
        images,
        torch.tensor([label_of[row] for row in rows.tolist()], dtype=torch.int64),
        masks,
        tuple(stored.names[row] for row in rows),
        classes,
        torch.from_numpy(stored.sizes[rows]),
    )
