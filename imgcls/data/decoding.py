"""Decode one image file to one RGB image, or return the reason why it cannot be decoded.

`main` is the decoding process of `workers`. It must start fast: numpy is imported only where it is used, and no other
module of imgcls is imported.
"""

from __future__ import annotations

import contextlib
import functools
import io
import pickle
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # and HEIF, by a plugin
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")  # of the photographs of telephones
MAX_PIXELS = 80_000_000  # just under the size at which Pillow itself starts to warn
MAX_MEMORY = 490_000_000  # bytes to decode one image, without its file; see estimate_memory
MAX_SCANNED = 25 * MAX_PIXELS  # pixels times scans of a progressive JPEG, one pass per scan: some seconds
SCAN = b"\xff\xda"  # start of a scan; scans of an embedded preview count too, which is harmless
STRIP = 2**18  # pixels converted at a time
ORIENTATION = 0x0112  # EXIF tag
RESIZES = ("crop", "squash", "pad")  # how an image becomes a square, see decode_square
RESIZE = "crop"  # the default
FILL = (124, 116, 104)  # RGB of the borders of "pad": the mean of ImageNet, close to that of most photographs
REDUCING_GAP = 8  # longer sides are averaged to this multiple first: bicubic takes 32 bytes for each pixel of a side
BITS_PER_SAMPLE, SAMPLES_PER_PIXEL = 258, 277  # TIFF tags

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
    (b"%!PS", "a PostScript document"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"version https://git-lfs", "a Git LFS pointer (the picture itself was not downloaded)"),
)


class Undecodable(ValueError):
    """A file that is not a usable image, with a one-line `reason`."""

    def __init__(self, reason: str, source: str | Path | None = None) -> None:
        super().__init__(f"{source}: {reason}" if source is not None else reason)
        self.reason = reason


def decode_square(data: bytes, size: int, channels: int = 3, resize: str = RESIZE) -> tuple[bytes, tuple[int, int]]:
    """Decode an image and resample it to `size` × `size` (antialiased bicubic).

    An image that already has that size keeps its pixels. Large JPEGs are decoded at a reduced scale of at least twice
    `size`, in a fraction of the time; hardly any pixel changes by more than a few levels.

    Args:
        data: content of the file.
        size: side in pixels.
        channels: 3 for RGB, 1 for grayscale.
        resize: "crop" keeps the centre square alone, "squash" the whole image with another aspect ratio, "pad" the
            whole image with its aspect ratio, centred between borders of the colour FILL.

    Returns:
        The pixels in the order (row, column, channel) as bytes, and the upright (width, height) of the original.

    Raises:
        Undecodable: as `open_rgb`.
    """
    image, original = open_rgb(data, at_least=2 * size)
    if image.size != (size, size):
        image = _to_square(image, size, resize, original)
    return (image if channels == 3 else image.convert("L")).tobytes(), original


def _to_square(image: Image.Image, size: int, resize: str, original: tuple[int, int]) -> Image.Image:
    """Resample to size × size; `original` is the size before a JPEG was reduced, which rounds its sides."""
    if resize == "crop":
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        return image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    inner = (size, size)
    if resize == "pad":
        inner = tuple(max(1, round(size * side / max(original))) for side in original)
    image = image.resize(inner, Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
    square = Image.new("RGB", (size, size), FILL)
    square.paste(image, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return square


def try_decode_square(data: bytes, size: int, channels: int, resize: str) -> tuple[bytes, tuple[int, int]] | str:
    """Like `decode_square`, but returns the reason instead of raising it."""
    try:
        return decode_square(data, size, channels, resize)
    except Undecodable as error:
        return error.reason


def header_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in the header of an image; None if it is not an image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Image.open(io.BytesIO(data), formats=formats_of(data)).size
        except Exception:  # a decoder may raise anything on malformed bytes
            return None


def format_and_mode(data: bytes) -> str | None:
    """Format and mode in the header of an image, such as JPEG CMYK; None if it is not an image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=formats_of(data))
        except Exception:  # a decoder may raise anything on malformed bytes
            return None
    return f"{'JPEG' if image.format == 'MPO' else image.format} {image.mode}"


def open_rgb(data: bytes, at_least: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """Decode an image to RGB: upright, opaque, eight bits a channel.

    EXIF orientation is applied, transparency is composited on white, palette, gray and CMYK become RGB, 16 bits are
    scaled to eight, and an animation gives its first frame.

    Args:
        data: content of the file.
        at_least: the sides of a JPEG may be reduced while decoding, to no less than this many pixels.

    Returns:
        The image, and the upright (width, height) of the original.

    Raises:
        Undecodable: unless the file is a complete image in one of FORMATS with at most MAX_PIXELS pixels, and its
            decoding takes at most MAX_MEMORY.
    """
    if not len(data):
        raise Undecodable("zero bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=formats_of(data))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Undecodable(f"more than the limit of {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError:
        raise Undecodable(_why_unidentified(bytes(data[:512]))) from None
    except Exception as error:  # a decoder may raise anything on malformed bytes
        raise Undecodable(_why_damaged(error, data, _signature(bytes(data[:32])) or "header")) from error

    size, kind = image.size, image.format  # only the header has been read so far
    if size[0] * size[1] > MAX_PIXELS:
        raise Undecodable(f"{size[0]:,} × {size[1]:,} pixels are more than the limit of {MAX_PIXELS:,}")
    scans = data.count(SCAN) if kind in ("JPEG", "MPO") else 1
    if image.info.get("progressive") and scans * size[0] * size[1] > MAX_SCANNED:
        raise Undecodable(f"{scans:,} scans of {size[0]:,} × {size[1]:,} pixels would take too long to decode")
    try:
        if at_least and kind in ("JPEG", "MPO"):
            image.draft(None, (at_least, at_least))
        needed = estimate_memory(image, size, scans)
        if needed > MAX_MEMORY:
            raise Undecodable(
                f"{size[0]:,} × {size[1]:,} pixels of {kind} {image.mode} would take {needed / 1e6:,.0f} MB to decode, "
                f"more than the limit of {MAX_MEMORY / 1e6:.0f}"
            )
        image.load()
        if _turn_upright(image):
            size = size[::-1]
        return _to_rgb(image), size
    except Undecodable:
        raise
    except Exception as error:
        raise Undecodable(_why_damaged(error, data, kind)) from error


def formats_of(data: bytes) -> tuple[str, ...]:
    """The FORMATS, and HEIF for a HEIC file where pillow-heif is installed."""
    is_heic = bytes(data[4:8]) == b"ftyp" and bytes(data[8:12]) in HEIC_BRANDS
    return (*FORMATS, "HEIF") if is_heic and _register_heif() else FORMATS


@functools.cache
def _register_heif() -> bool:
    """Whether Pillow reads HEIC; called only when a file needs it, since the plugin is slow to import."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def estimate_memory(image: Image.Image, original: tuple[int, int], scans: int) -> int:
    """Upper bound in bytes for decoding, turning and converting an image of which only the header has been read.

    Pillow stores a pixel of several channels in four bytes, and makes a copy to turn or convert it.

    `original` is the size before a JPEG is reduced. The coefficients of several scans are in memory at once.
    """
    pixels = image.width * image.height  # of a JPEG, at the scale at which it will be decoded
    decoded = copy = 4 * pixels
    if image.format in ("WEBP", "AVIF", "HEIF"):  # two canvases and a frame, as long as the file is open
        return decoded + copy + 12 * pixels
    if image.format in ("JPEG", "MPO") and scans > 1:  # coefficients of two bytes, at full scale
        samples = sum(across * down for _, across, down, _ in image.layer)
        most = max(across for _, across, _, _ in image.layer) * max(down for _, _, down, _ in image.layer)
        return decoded + max(copy, 2 * original[0] * original[1] * samples // max(1, most))
    if image.format == "TIFF":  # one strip or tile may contain the whole image
        bits = max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) * image.tag_v2.get(SAMPLES_PER_PIXEL, 1)
        return decoded + max(copy, pixels * bits // 8)
    return decoded + copy


def _turn_upright(image: Image.Image) -> bool:
    """Apply the EXIF orientation in place; True if width and height were exchanged."""
    with contextlib.suppress(Exception):  # a damaged EXIF block costs the orientation, not the image
        sideways = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        ImageOps.exif_transpose(image, in_place=True)
        return sideways
    return False


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _in_strips(image, _deep_gray)
    if image.has_transparency_data:
        return _in_strips(image, _on_white)
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert to RGB, STRIP pixels at a time, where the conversion takes more memory than the image itself."""
    rgb = Image.new("RGB", image.size)
    columns = min(image.width, STRIP)
    rows = STRIP // columns
    for top in range(0, image.height, rows):
        for left in range(0, image.width, columns):
            box = (left, top, min(left + columns, image.width), min(top + rows, image.height))
            rgb.paste(convert(image.crop(box)), box)
    return rgb


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _deep_gray(image: Image.Image) -> Image.Image:
    """Scale gray of more than eight bits to eight; Pillow's own conversion would clip it at 255."""
    import numpy as np

    values = np.asarray(image).astype(np.float64)
    # 16 bits have a full scale; 32-bit integers contain 16 bits in practice, and floats are assumed to be in [0, 1].
    full = 1.0 if image.mode == "F" else 65535.0
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= full):
        raise Undecodable(f"pixel values of mode {image.mode} outside 0 to {full:g} have no known scale")
    return Image.fromarray(np.round(values * (255 / full)).astype(np.uint8)).convert("RGB")


# ------------------------------------------------------------------ reasons


def _why_damaged(error: Exception, data: bytes, kind: str) -> str:
    # A WebP states its length in its header, and its decoder does not report that bytes are missing.
    cut_webp = kind == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data)
    if cut_webp or isinstance(error, EOFError) or "truncated" in str(error).lower():
        return f"truncated {kind}: the file ends before the picture does"
    return f"damaged {kind}: {' '.join(str(error).split()) or type(error).__name__}"


def _why_unidentified(head: bytes) -> str:
    if kind := _signature(head):
        return f"damaged or truncated {kind} header" if kind in FORMATS else f"not an image but {kind}"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "not an image but an HTML page"
    if text.startswith((b"<svg", b"<?xml")):
        return "not an image but XML or SVG"
    if not head.strip(b"\0"):
        return "nothing but zeros where the picture should be"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return "not an image but text"
    return f"not an image in a known format ({', '.join(FORMATS)})"


def looks_like_image(data: bytes) -> bool:
    """Whether a file starts like one of FORMATS."""
    return _signature(data[:32]) in FORMATS


def _signature(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in HEIC_BRANDS:
            return "a HEIC photograph, damaged or without its reader: pip install pillow-heif, or convert it to JPEG"
        if brand in (b"avif", b"avis"):
            return "AVIF"
        return f"a file of type {brand.decode('latin-1').strip()} (video or another format)"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and len(head) > 18 and head[14:18] in (b"\x0c\0\0\0", b"\x28\0\0\0", b"\x7c\0\0\0"):
        return "BMP"
    return next((name for magic, name in SIGNATURES if head.startswith(magic)), None)


# ------------------------------------------------------------------ the decoding process


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Reply to pickled (size, channels, resize, list of bytes) with lists of `try_decode_square` results, until EOF."""
    warnings.simplefilter("ignore")  # Pillow warns about odd metadata; errors become reasons
    while True:
        try:
            *shape, files = pickle.load(requests)
        except EOFError:
            return
        pickle.dump([try_decode_square(data, *shape) for data in files], replies, pickle.HIGHEST_PROTOCOL)
        replies.flush()


def main() -> None:
    """Run `serve` on standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and closes this process's input
    serve(sys.stdin.buffer, sys.stdout.buffer)
