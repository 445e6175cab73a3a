"""One image file becomes one RGB picture, or a stated reason why not.

Run as a script this module is the decoding worker of `datasets`: it must start fast and alone, so torch and
numpy are imported only where they are used and nothing else of imgcls is.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    import torch

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 80_000_000  # 240 MB of RGB; just under the size at which Pillow itself starts to warn
ORIENTATION = 0x0112  # EXIF tag

SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop document"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"version https://git-lfs", "a Git LFS pointer (the picture itself was not downloaded)"),
)


class Undecodable(ValueError):
    """A file that is no usable picture; `reason` says why in one line."""

    def __init__(self, reason: str, source: str | Path | None = None) -> None:
        super().__init__(f"{source}: {reason}" if source is not None else reason)
        self.reason = reason

    def __reduce__(self) -> tuple:
        return Undecodable, (self.reason,)


def decode(path_or_bytes: str | Path | bytes) -> torch.Tensor:
    """Decode one picture as it is meant to be seen: upright, opaque, eight bits a channel.

    EXIF orientation is applied, transparency is laid on white, palette, grey and CMYK become RGB, sixteen bits
    are scaled to eight, and of an animation the first frame counts.

    Returns:
        uint8 (H, W, 3).

    Raises:
        Undecodable: for anything but a whole picture in one of FORMATS of at most MAX_PIXELS pixels.
    """
    import torch

    image, _ = open_rgb(path_or_bytes)
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(image.height, image.width, 3)


def decode_square(
    path_or_bytes: str | Path | bytes, size: int, channels: int = 3
) -> tuple[bytes, tuple[int, int]]:
    """Decode the centre square of a picture, resampled to `size` × `size` (antialiased bicubic).

    A picture that already has that size is left alone. Large JPEGs are decoded at a reduced scale that keeps at
    least twice `size`, which costs a fraction of the time and changes hardly any pixel by more than a few levels.

    Returns:
        The pixels in the order (row, column, channel) as bytes, and the upright (width, height) of the original.

    Raises:
        Undecodable: as `decode`.
    """
    image, original = open_rgb(path_or_bytes, at_least=2 * size)
    if image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        square = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=square)
    return (image if channels == 3 else image.convert("L")).tobytes(), original


def open_rgb(
    path_or_bytes: str | Path | bytes, at_least: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode to an upright RGB Pillow image; with `at_least`, sides may shrink to no less than that many pixels.

    Returns:
        The image, and the upright (width, height) of the original.
    """
    source = path_or_bytes if isinstance(path_or_bytes, str | Path) else None
    data = _read(source) if source is not None else path_or_bytes
    try:
        return _open_rgb(data, at_least)
    except Undecodable as error:
        raise Undecodable(error.reason, source) from error.__cause__


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Undecodable(f"cannot be read: {error.strerror or error}", path) from error


def _open_rgb(data: bytes, at_least: int | None) -> tuple[Image.Image, tuple[int, int]]:
    if not len(data):
        raise Undecodable("zero bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Undecodable(f"more than the limit of {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError:
        raise Undecodable(_why_unidentified(bytes(data[:512]))) from None
    except Exception as error:  # a decoder may raise anything at hostile bytes
        raise Undecodable(f"damaged header: {_line(error)}") from error

    width, height = image.size
    if width * height > MAX_PIXELS:  # the header alone was read so far
        raise Undecodable(f"{width:,} × {height:,} pixels are more than the limit of {MAX_PIXELS:,}")
    format_name = image.format
    try:
        turned = _orientation(image)
        if at_least and format_name in ("JPEG", "MPO"):
            image.draft(None, (at_least, at_least))
        image.load()
        image = _to_rgb(turned(image))
    except Undecodable:
        raise
    except Exception as error:
        if isinstance(error, EOFError) or "truncated" in str(error).lower():
            raise Undecodable(f"truncated {format_name}: the file ends before the picture does") from error
        raise Undecodable(f"damaged {format_name}: {_line(error)}") from error
    landscape_kept = (image.width >= image.height) == (width >= height)
    return image, (width, height)
