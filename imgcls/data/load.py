"""Data sets as uint8 tensors: the generated ones, and any folder or archive of class folders."""

import difflib
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

import menagerie
from imgcls import paths
from imgcls.data import cache as _cache
from imgcls.data import catalogue, decoding
from imgcls.data.sources import (
    CHANGED,
    DAMAGED,
    LAYOUT,
    SPLITS,
    DataError,
    Skipped,
    Source,
    file_bytes,
    find_class_folders,
    open_source,
    stamp,
)
from imgcls.data.splits import NAMES, Split, Splits
from imgcls.files import write

GENERATED_BATCH = 1024
LUMA = (19595, 38470, 7471)  # ITU-R 601 in 65536ths, as Pillow has them


class UnknownDataset(DataError):
    """A name or path that leads to no data; the message lists what there is and how to bring more."""


# ------------------------------------------------------------------ load


def available() -> tuple[str, ...]:
    """Names that `load` knows without any path."""
    return tuple(f"menagerie/{subset}" for subset in menagerie.subsets())


def load(
    name_or_path: str | Path,
    image_size: int = 64,
    channels: int = 3,
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
) -> Splits:
    """Load a generated set by name, or a folder, zip or tar of class/image or split/class/image files in place.

    Files are decoded once: the centre square of each, resampled to `image_size` and kept as uint8 in a cache that
    later calls map into memory. What is no picture is left out and named with its reason.

    A given test split stays as it is. Validation images that are not given are taken from train; where there is
    no test split either, both are. What is taken is stratified and depends on (seed, file name) alone.

    Args:
        name_or_path: "menagerie/<subset>", a name of the catalogue, or the path of a folder or archive.
        image_size: height and width in pixels.
        channels: 3 for RGB, 1 for grey.
        classes: the classes to keep, labelled in this order; all of them in alphabetical order if None.
        seed: of the split, and of generated images.
        val_fraction: share of train (of everything, if there is no split) that becomes val where none is given.
        test_fraction: the same for test.
        train_count: at most so many images of that split, in the proportions of its classes. Generated sets
            render exactly so many.
        val_count: likewise.
        test_count: likewise.
        habitat_bias: of generated sets, how often a subject stands in the habitat of its kind instead of any; below
            zero, in that of another class.
        clutter: of generated sets, how much is left to luck, as in menagerie.generate.
        cache: folder of the decoded images, paths.CACHE if None.

    Raises:
        UnknownDataset: if there is no such name or path.
        DataError: if the files cannot be used as asked.
    """
    _check_shape(image_size, channels)
    folder = Path(cache) if cache is not None else paths.CACHE
    counts = {"train": train_count, "val": val_count, "test": test_count}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise DataError(f"{name}_count must be at least 1, not {count}; leave it out for every image")
    name = str(name_or_path)
    if name in available():
        settings = {"seed": seed, "habitat_bias": habitat_bias, "clutter": clutter}
        return _load_generated(name, image_size, channels, classes, settings, counts, folder)
    for control, value, plain in (("habitat_bias", habitat_bias, 0.0), ("clutter", clutter, 1.0)):
        if value != plain:
            raise DataError(f"{control}={value} goes with generated sets only, not with {name!r}")
    path = locate(name_or_path)
    if min(val_fraction, test_fraction) <= 0 or val_fraction + test_fraction >= 1:
        raise DataError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction} must be positive with a sum below 1, "
            f"so that images are left to train on"
        )
    stored, fingerprint, skipped = _decoded(path, image_size, channels, folder)
    split_of, class_of = _parse(stored.names)
    chosen = _choose(classes, tuple(sorted(set(class_of))), path)
    groups = _divide(stored.names, split_of, class_of, chosen, seed, val_fraction, test_fraction, path)
    splits = {part: _real_split(stored, _cap(groups[part], counts[part], part), chosen, class_of) for part in NAMES}
    return Splits(**splits, classes=chosen, skipped=skipped, fingerprint=fingerprint, name=path.name, kind="real")


def locate(name_or_path: str | Path) -> Path:
    """Folder or archive that a path or a name of the catalogue stands for.

    Raises:
        UnknownDataset: it is not there; the message says how to bring it, or what there is.
    """
    path, known = Path(name_or_path).expanduser(), catalogue.key(str(name_or_path))
    found = path if path.exists() else known and catalogue.find(known)
    if not found:
        raise UnknownDataset(_unknown(str(name_or_path), path))
    return found


def file_formats(name_or_path: str | Path) -> dict[str, int]:
    """How many pictures of a folder or archive are of each format and mode, such as JPEG RGB; headers are read only.

    Returns:
        {kind: count}, the most frequent first; what is no picture is not counted.
    """
    path = locate(name_or_path)
    source = open_source(path)
    members = [member for _, member in find_class_folders(source, str(path))[0]]
    found = (decoding.kind(data) for data in source.read(members) if not isinstance(data, str))
    return dict(Counter(one for one in found if one).most_common())


def load_image(path_or_bytes: str | Path | bytes, image_size: int, channels: int) -> torch.Tensor:
    """One picture, pixel for pixel as `load` has it: the centre square, resampled, in RGB or grey.

    Nothing has a default, so that whoever asks a model must know what it was trained on.

    Returns:
        uint8 (C, H, W).

    Raises:
        Undecodable: for what `load` leaves out, with the same reason.
        DataError: if the size or the number of channels is impossible.
    """
    _check_shape(image_size, channels)
    source = path_or_bytes if isinstance(path_or_bytes, str | Path) else None
    data = path_or_bytes if source is None else file_bytes(Path(source))
    answer = data if isinstance(data, str) else decoding.try_decode_square(data, image_size, channels)
    if isinstance(answer, str):
        raise decoding.Undecodable(answer, source)
    return torch.from_numpy(_cache.planes(answer[0], image_size, channels).copy())


def _check_shape(image_size: int, channels: int) -> None:
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1:
        raise DataError(f"image_size must be a positive whole number of pixels, not {image_size!r}")
    if channels not in (1, 3):
        raise DataError(f"channels must be 3 (RGB) or 1 (grey), not {channels!r}")


def _unknown(name: str, path: Path) -> str:
    looks_like_path = path.suffix or name.startswith((".", "~", os.sep)) or ("/" in name and path.parent.is_dir())
    if steps := catalogue.steps_for(name):
        return f"{name!r} is not there yet: {steps}"
    close = difflib.get_close_matches(name, [*available(), *catalogue.CATALOGUE], n=1, cutoff=0.6)
    what = f"no folder or archive at {path.absolute()}" if looks_like_path else f"unknown data set {name!r}"
    return (
        f"{what}{f'; did you mean {close[0]!r}?' if close else ''}\n"
        f"  generated here: {', '.join(available())}\n"
        f"  your own images: the path of a folder, .zip or .tar with {LAYOUT}, "
        f'for example load("data/pets.zip"); archives are read in place\n'
        f"  real sets, once they are here: {', '.join(catalogue.CATALOGUE)} (imgcls data list says how)"
    )


# ------------------------------------------------------------------ real images


def _decoded(path: Path, image_size: int, channels: int, cache: Path) -> tuple[_cache.Stored, str, tuple[Skipped, ...]]:
    """The decoded files of a source: from the cache where nothing changed since, else decoded now."""
    memo = cache / "sources" / f"{stamp(path)}.txt"
    expected = {"image_size": image_size, "channels": channels}

    def place(fingerprint: str) -> tuple[Path, dict]:
        return cache / f"{fingerprint}-{image_size}-{channels}", {**expected, "fingerprint": fingerprint}

    if memo.exists():
        fingerprint = memo.read_text(encoding="utf-8", errors="replace").strip()
        if stored := _cache.read(*place(fingerprint)):
            return stored, fingerprint, stored.skipped
    source = open_source(path)
    if source.is_stated and _cache.read(*place(source.fingerprint)):
        source = source.verified()  # that was decoded from another copy, or from this one before it was damaged
    try:
        stored = _build(source, path, image_size, channels, place)
    except _NotAsListed:
        source = source.verified()
        stored = _build(source, path, image_size, channels, place)
    write(memo, source.fingerprint)
    return stored, source.fingerprint, stored.skipped


class _NotAsListed(DataError):
    """Files have another content than their source states, so they cannot be cached under its fingerprint."""


def _build(
    source: Source, path: Path, image_size: int, channels: int, place: Callable[[str], tuple[Path, dict]]
) -> _cache.Stored:
    """What is cached of just these files, else they are decoded.

    Raises:
        _NotAsListed: some are damaged, or changed meanwhile; nothing is cached.
    """
    if stored := _cache.read(*place(source.fingerprint)):
        return stored
    entries, elsewhere = find_class_folders(source, str(path))

    def fill(folder: Path) -> dict:
        index = _cache.decode_into(folder, source, entries, image_size, channels)
        for name, reason in index["skipped"]:
            if reason.startswith((DAMAGED, CHANGED)):
                raise _NotAsListed(f"{path}: {name} changed while it was read; try again when nobody writes to it")
        others = [[entry.name, entry.reason] for entry in (*source.skipped, *elsewhere)]
        index["skipped"] = sorted(index["skipped"] + others)
        _all_classes_left(entries, index, path)
        return index

    return _cache.write(*place(source.fingerprint), fill)


def _all_classes_left(entries: Sequence[tuple[str, object]], index: dict, path: Path) -> None:
    before = set(_parse([name for name, _ in entries])[1])
    for gone in sorted(before - set(_parse(index["names"])[1])):
        reasons = [f"{name}: {reason}" for name, reason in index["skipped"] if gone in name.split("/")]
        raise DataError(
            f"{path}: no image of class {gone!r} can be decoded ({'; '.join(reasons[:3])}); "
            f"repair its files or remove its folder"
        )


def _parse(names: Sequence[str]) -> tuple[list[str | None], list[str]]:
    """Split (None if there is none) and class of names such as train/cat/1.jpg or cat/1.jpg."""
    parts = [name.split("/") for name in names]
    return [SPLITS[part[0].lower()] if len(part) == 3 else None for part in parts], [part[-2] for part in parts]


def _choose(classes: Sequence[str] | None, known: tuple[str, ...], where: str | Path) -> tuple[str, ...]:
    if classes is None:
        return known
    chosen = (classes,) if isinstance(classes, str) else tuple(dict.fromkeys(classes))
    for name in chosen:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1) or [one for one in known if one.lower() == name.lower()]
            hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(known)}"
            raise DataError(f"{where} has no class {name!r}; {hint}")
    if not chosen:
        raise DataError(f"classes must name at least one class of: {', '.join(known)}")
    return chosen


def _lot(seed: int, name: str) -> bytes:
    """What orders images at random by (seed, name) alone: no file system, library version or other class matters."""
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


Group = dict[str, list[int]]  # class -> indices in the order in which they are given away


def _divide(
    names: Sequence[str],
    split_of: Sequence[str | None],
    class_of: Sequence[str],
    classes: tuple[str, ...],
    seed: int,
    val_fraction: float,
    test_fraction: float,
    where: Path,
) -> dict[str, Group]:
    """Indices of every split, by class: as given, and drawn from train (or from everything) where not."""
    found: dict[str | None, Group] = defaultdict(lambda: {name: [] for name in classes})
    for index in sorted(range(len(names)), key=lambda i: _lot(seed, names[i])):
        if class_of[index] in classes:
            found[split_of[index]][class_of[index]].append(index)
    pool = found["train"] if "train" in found else found[None]
    groups = {part: found[part] for part in ("val", "test") if part in found}
    for name in classes:
        if not pool[name]:
            raise DataError(
                f"{where}: class {name!r} has no image to train on; add some, or leave it out with classes="
            )
    for part, fraction in (("test", test_fraction), ("val", val_fraction)):
        if part in groups:
            continue
        groups[part] = {}
        for name, indices in pool.items():
            whole = len(indices) + (len(groups["test"][name]) if part == "val" and None in found else 0)
            count = round(Fraction(str(fraction)) * whole)
            count = min(max(count, 1), len(indices) - 1)  # at least one for each side where there are two
            groups[part][name], pool[name] = indices[:count], indices[count:]
    return {"train": pool, **groups}


def _cap(group: Group, count: int | None, part: str) -> Group:
    """At most `count` images in the proportions of the classes (largest remainders), one of each at least."""
    present = {name: len(indices) for name, indices in group.items() if indices}
    total = sum(present.values())
    if count is None or count >= total:
        return group
    if count < len(present):
        raise DataError(f"{part}_count={count} is fewer than the {len(present)} classes of that split")
    share = {name: Fraction(size * count, total) for name, size in present.items()}
    quota = {name: max(1, int(part)) for name, part in share.items()}
    by_remainder = sorted(present, key=lambda name: (quota[name] - share[name], name))
    for name in by_remainder[: max(0, count - sum(quota.values()))]:
        quota[name] += 1
    while sum(quota.values()) > count:  # the ones given to tiny classes come from the largest
        quota[max(quota, key=lambda name: (quota[name], name))] -= 1
    return {name: indices[: quota.get(name, 0)] for name, indices in group.items()}


def _real_split(stored: _cache.Stored, group: Group, classes: tuple[str, ...], class_of: Sequence[str]) -> Split:
    indices = np.array(sorted(index for chosen in group.values() for index in chosen), dtype=np.int64)
    label_of = {name: label for label, name in enumerate(classes)}
    images, masks = stored.gather(indices)
    return Split(
        images,
        torch.tensor([label_of[class_of[index]] for index in indices], dtype=torch.int64),
        masks,
        tuple(stored.names[index] for index in indices),
        classes,
        torch.from_numpy(stored.sizes[indices]),
    )


# ------------------------------------------------------------------ generated images


def generated(
    subset: str,
    split: str = "train",
    count: int | None = None,
    image_size: int = 64,
    channels: int = 3,
    seed: int = 0,
    habitat_bias: float = 0.0,
    clutter: float = 1.0,
) -> Split:
    """Render one split of a generated set, in memory and uncached; the rest as in menagerie.generate."""
    count = menagerie.sizes(subset)[split] if count is None else count
    settings = {"seed": seed, "habitat_bias": habitat_bias, "clutter": clutter}
    batches = list(_render(subset, split, torch.arange(count), image_size, channels, settings))
    images, masks, labels = (torch.cat([batch[i] for batch in batches]) for i in range(3))
    classes = menagerie.subsets()[subset].classes
    return Split(images, labels, masks, tuple(name for batch in batches for name in batch[3]), classes)


def _render(
    subset: str,
    split: str,
    index: torch.Tensor,
    image_size: int,
    channels: int,
    settings: dict[str, float],
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[str]]]:
    for chosen in index.split(GENERATED_BATCH):
        batch = menagerie.render(subset, split, chosen, image_size, **settings)
        named = zip(batch.labels.tolist(), chosen.tolist(), strict=True)
        names = [f"{split}/{batch.classes[label]}/{i:06d}" for label, i in named]
        yield batch.images if channels == 3 else _grey(batch.images), batch.masks, batch.labels, names


def _grey(images: torch.Tensor) -> torch.Tensor:
    red, green, blue = (images[:, i : i + 1].int() * weight for i, weight in enumerate(LUMA))
    return ((red + green + blue + 0x8000) >> 16).to(torch.uint8)


def _load_generated(
    name: str,
    image_size: int,
    channels: int,
    classes: Sequence[str] | None,
    settings: dict[str, float],
    counts: dict[str, int | None],
    cache: Path,
) -> Splits:
    subset = name.removeprefix("menagerie/")
    known = menagerie.subsets()[subset].classes
    chosen = _choose(classes, known, name)
    wanted = torch.tensor([known.index(one) for one in chosen])
    splits, keys = {}, []
    for part, size in menagerie.sizes(subset).items():
        index = _indices(subset, part, wanted, size, counts[part])
        what = f"{menagerie.VERSION}/{subset}/{part}/{settings}/{chosen}/{len(index)}"
        fingerprint = hashlib.sha256(what.encode()).hexdigest()
        keys.append(fingerprint)
        expected = {"fingerprint": fingerprint[:16], "image_size": image_size, "channels": channels}
        folder = cache / f"{fingerprint[:16]}-{image_size}-{channels}"

        def fill(aside: Path, part: str = part, index: torch.Tensor = index) -> dict:
            batches = _render(subset, part, index, image_size, channels, settings)
            return _cache.render_into(aside, len(index), batches, image_size, channels)

        stored = _cache.read(folder, expected) or _cache.write(folder, expected, fill)
        images, masks = stored.gather(np.arange(len(index)))
        label_of = {name: label for label, name in enumerate(chosen)}
        labels = torch.tensor([label_of[one] for one in _parse(stored.names)[1]], dtype=torch.int64)
        splits[part] = Split(images, labels, masks, tuple(stored.names), chosen)
    fingerprint = hashlib.sha256("/".join(keys).encode()).hexdigest()[:16]
    return Splits(**splits, classes=chosen, skipped=(), fingerprint=fingerprint, name=name, kind="generated")


def _indices(subset: str, split: str, wanted: torch.Tensor, size: int, count: int | None) -> torch.Tensor:
    """The first images of the wanted classes: `count` of them, or those among the first `size` of the split."""

    def among(index: torch.Tensor) -> torch.Tensor:
        return index[torch.isin(menagerie.labels(subset, split, index), wanted)]

    if count is None:
        return among(torch.arange(size))
    known = menagerie.subsets()[subset]
    once = len(known.orders[menagerie.SPLITS.index(split)])
    rounds = -(-count // len(among(torch.arange(once))))
    return among(torch.arange(once * rounds))[:count]


# ------------------------------------------------------------------ an imbalance on purpose


def imbalanced(split: Split, shares: Mapping[str, float], seed: int = 0) -> Split:
    """The split with only a share of the images of some classes, drawn by seed: an imbalance made on purpose.

    Args:
        split: to draw from; its order is kept.
        shares: class -> share of its images to keep, above 0 and at most 1; other classes stay whole.
        seed: of the draw.

    Raises:
        DataError: an unknown class, or a share out of range.
    """
    keep = torch.ones(len(split), dtype=torch.bool)
    for name, share in shares.items():
        label = split.classes.index(_choose([name], split.classes, "the split")[0])
        if not 0 < share <= 1:
            raise DataError(f"the share of {name!r} must be above 0 and at most 1, not {share!r}")
        mine = (split.labels == label).nonzero().flatten().tolist()
        drawn = sorted(mine, key=lambda i: _lot(seed, split.names[i]))
        keep[drawn[max(1, round(share * len(mine))) :]] = False
    return split.subset(keep)
