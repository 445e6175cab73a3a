"""Malformed and malicious image files, each with its expected outcome.

Tests assert every outcome, and `benchmarks.readers` gives the same files to other loaders.
"""

import io
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

SIDE = 16  # of readable images; loaded at this size, they are not resampled
ORIENTATION = 0x0112  # EXIF tag
Pixels = np.ndarray  # uint8 (H, W, 3)


@dataclass(frozen=True)
class MalformedFile:
    """One file of a class folder: either its expected pixels, or the reason why it must be skipped."""

    name: str  # on disk; bytes that are not UTF-8 as surrogates
    data: bytes
    pixels: Pixels | None = None
    reason: str = ""  # part of the reason
    tolerance: int = 0  # maximum error in levels, for lossy formats
    listed_name: str = ""  # in a data set, if different from `name`


def files() -> list[MalformedFile]:
    """All files, in a fixed order; their bytes never change."""
    return [
        *_orientations(),
        *_modes(),
        *_containers(),
        *_disguises(),
        *_names(),
        *_not_images(),
        *_incomplete(),
        *_bombs(),
    ]


def noise(name: str) -> Pixels:
    """Random pixels that depend on the name alone, for lossless formats."""
    return np.random.default_rng(list(name.encode())).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def smooth(name: str) -> Pixels:
    """Gradients that depend on the name alone, survive JPEG within a few levels and differ in every orientation."""
    across, down, start = np.random.default_rng(list(name.encode())).integers(2, 9, (3, 3))
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    return np.stack([start[c] + across[c] * x + down[c] * y for c in range(3)], axis=-1).astype(np.uint8)


def encode(pixels: Pixels | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Encode an image in a format of Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


jpeg = partial(encode, kind="JPEG", quality=98, subsampling=0)

# ------------------------------------------------------------------ readable files

UPRIGHT = {  # EXIF orientation -> how stored pixels become upright, in NumPy alone
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


def _orientations() -> Iterator[MalformedFile]:
    for orientation, turn in UPRIGHT.items():
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        lossy = orientation in (3, 6, 8)  # the orientations that phones write
        name = f"turned-{orientation}.{'jpg' if lossy else 'png'}"
        pixels = smooth(name) if lossy else noise(name)
        data = jpeg(pixels, exif=exif) if lossy else encode(pixels, exif=exif)
        yield MalformedFile(name, data, np.ascontiguousarray(turn(pixels)), tolerance=6 * lossy)
    exif[ORIENTATION] = 6
    pixels = smooth("damaged-exif.jpg")
    broken = jpeg(pixels, exif=exif).replace(b"Exif\x00\x00MM", b"Exif\x00\x00??")
    yield MalformedFile("damaged-exif.jpg", broken, pixels, tolerance=6)


def _modes() -> Iterator[MalformedFile]:
    def grey(name: str) -> np.ndarray:
        return noise(name)[..., 0]

    def colours(name: str) -> np.ndarray:
        return np.repeat(grey(name)[..., None], 3, axis=2)

    yield MalformedFile("grey.png", encode(grey("grey.png")), colours("grey.png"))
    black = np.where(colours("bilevel.png") > 127, 255, 0).astype(np.uint8)
    yield MalformedFile("bilevel.png", encode(Image.fromarray(grey("bilevel.png") > 127)), black)
    for name, kind in (("cmyk.jpg", "JPEG"), ("cmyk.tif", "TIFF")):
        ink = np.dstack([255 - smooth(name), np.zeros((SIDE, SIDE), np.uint8)])
        options = {"quality": 98} if kind == "JPEG" else {}
        data = encode(Image.fromarray(ink, "CMYK"), kind, **options)
        yield MalformedFile(name, data, smooth(name), tolerance=10 if kind == "JPEG" else 0)
    yield from _palettes(grey)

    for name in ("rgba.png", "rgba.webp"):
        opacity = grey(name)[::-1] | 1  # not 0: WebP may change invisible pixels
        options = {"lossless": True, "exact": True} if "webp" in name else {}
        data = encode(np.dstack([noise(name), opacity]), name[5:].upper(), **options)
        yield MalformedFile(name, data, _on_white(noise(name), opacity), tolerance=1)
    name, opacity = "grey-alpha.png", grey("alpha")
    half = Image.merge("LA", [Image.fromarray(grey(name)), Image.fromarray(opacity)])
    yield MalformedFile(name, encode(half), _on_white(colours(name), opacity), tolerance=1)
    pixels = noise("colour-key.png")
    masked = np.where((pixels == pixels[4, 4]).all(axis=-1, keepdims=True), 255, pixels).astype(np.uint8)
    yield MalformedFile("colour-key.png", encode(pixels, transparency=tuple(pixels[4, 4].tolist())), masked)

    for name, kind in (("sixteen-bit.png", "PNG"), ("sixteen-bit.tif", "TIFF"), ("sixteen-bit-colour.png", "")):
        deep = np.random.default_rng(list(name.encode())).integers(0, 65536, (SIDE, SIDE, 1), dtype=np.uint16)
        scaled = np.repeat(np.round(deep / 257).astype(np.uint8), 3, axis=2)
        data = encode(deep[..., 0], kind) if kind else _deep_colour(np.repeat(deep, 3, axis=2))
        yield MalformedFile(name, data, scaled, tolerance=0 if kind else 1)
    unit = (grey("float.tif") / 255).astype(np.float32)
    yield MalformedFile("float.tif", encode(unit, "TIFF"), colours("float.tif"))
    yield MalformedFile("float-in-kelvin.tif", encode(unit * 300 + 1, "TIFF"), reason="have no known scale")
    yield MalformedFile("float-nan.tif", encode(unit * np.nan, "TIFF"), reason="have no known scale")


def _palettes(grey: Callable[[str], np.ndarray]) -> Iterator[MalformedFile]:
    for name, kind, clear in (("palette.png", "PNG", None), ("palette.gif", "GIF", None),
                              ("palette-transparent.png", "PNG", 5)):  # fmt: skip
        index, colours = grey(name) >> 4, noise(name)[0]  # 16 colours
        image = Image.fromarray(index, "P")
        image.putpalette(colours.tobytes())
        seen = colours.copy()
        if clear is not None:
            seen[clear] = 255
        yield MalformedFile(
            name, encode(image, kind, **({} if clear is None else {"transparency": clear})), seen[index]
        )


def _on_white(pixels: Pixels, alpha: np.ndarray) -> Pixels:
    share = alpha[..., None] / 255
    return np.round(pixels * share + 255 * (1 - share)).astype(np.uint8)


def _containers() -> Iterator[MalformedFile]:
    other = Image.new("RGB", (SIDE, SIDE), "blue")
    for kind, options in (("GIF", {}), ("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        name = f"animated.{kind.lower()}"
        first = Image.new("RGB", (SIDE, SIDE), "red") if kind == "GIF" else Image.fromarray(noise(name))
        data = encode(first, kind, save_all=True, append_images=[other], **options)
        yield MalformedFile(name, data, np.asarray(first))
    name = "progressive.jpg"
    yield MalformedFile(name, jpeg(smooth(name), progressive=True), smooth(name), tolerance=6)
    name = "multi-picture.jpg"
    data = encode(smooth(name), "MPO", quality=98, save_all=True, append_images=[other])
    yield MalformedFile(name, data, smooth(name), tolerance=12)
    yield MalformedFile("packed.tif", encode(noise("packed.tif"), "TIFF", compression="tiff_lzw"), noise("packed.tif"))
    yield MalformedFile("plain.bmp", encode(noise("plain.bmp"), "BMP"), noise("plain.bmp"))
    name = "endless-directories.tif"
    loop = bytearray(encode(noise(name), "TIFF"))
    directory = struct.unpack("<I", loop[4:8])[0]
    entries = struct.unpack("<H", loop[directory : directory + 2])[0]
    struct.pack_into("<I", loop, directory + 2 + 12 * entries, directory)
    yield MalformedFile(name, bytes(loop), noise(name))


def _disguises() -> Iterator[MalformedFile]:
    plain = ("really-a-png.jpg", "no-extension", "SHOUTED.PNG")
    encoded = {name: encode(noise(name)) for name in plain}
    encoded["really-a-webp.gif"] = encode(noise("really-a-webp.gif"), "WEBP", lossless=True)
    encoded["followed-by-a-zip.png"] = encode(noise("followed-by-a-zip.png")) + b"PK\x03\x04" + bytes(40)
    encoded["bad-profile.png"] = encode(noise("bad-profile.png"), icc_profile=b"not a colour profile" * 40)
    for name, data in encoded.items():
        yield MalformedFile(name, data, noise(name))
    lossy = {"really-a-jpeg.png": b"", "followed-by-a-script.jpg": b"<script>alert(1)</script>"}
    for name, end in lossy.items():
        yield MalformedFile(name, jpeg(smooth(name)) + end, smooth(name), tolerance=6)


def _names() -> Iterator[MalformedFile]:
    names = ("a" * 250 + ".png", "-rf.png", "$(reboot).png", "a b.png", "<img src=x onerror=alert(1)>.png", "CON.png",
             "日本 🦊.png", "%2e%2e%2fetc.png", "back\\slash.png", "'; drop table.png", "dots...png")  # fmt: skip
    escaped = {"caf\udce9.png": r"caf\xe9.png", "tab\t.png": r"tab\t.png", "new\nline.png": r"new\nline.png",
               "\x1b[31mred.png": r"\x1b[31mred.png", "gpj.\u202eexe.png": r"gpj.\u202eexe.png"}  # fmt: skip
    for name, shown in (dict.fromkeys(names, "") | escaped).items():
        yield MalformedFile(name, encode(noise(ascii(name))), noise(ascii(name)), listed_name=shown)


# ------------------------------------------------------------------ files to skip


def _not_images() -> Iterator[MalformedFile]:
    bodies = {
        "empty.jpg": (b"", "zero bytes"),
        "zeros.jpg": (bytes(3000), "nothing but zeros"),
        "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        "page-with-bom.png": (b"\xef\xbb\xbf\r\n<HTML><head>", "an HTML page"),
        "drawing.png": (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "XML or SVG"),
        "entities.png": (b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'aaaa'>]><x>&a;</x>", "XML or SVG"),
        "quota.jpg": (b'{"error": "quota exceeded"}\n', "not an image but text"),
        "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS pointer"),
        "paper.jpg": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"),
        "script.jpg": (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
            "a PostScript document",
        ),
        "album.jpg": (b"PK\x03\x04" + bytes(30), "a zip archive"),
        "album.png": (b"\x1f\x8b\x08" + bytes(30), "a gzip archive"),
        "layers.jpg": (b"8BPS\x00\x01" + bytes(30), "a Photoshop document"),
        "photo.heic": (b"\0\0\0\x1cftypheic\0\0\0\0" + bytes(16), "a HEIC photograph"),
        "photo.avif": (b"\0\0\0\x1cftypavif\0\0\0\0" + bytes(16), "AVIF header"),
        "film.jpg": (b"\0\0\0\x18ftypmp42\0\0\0\0" + bytes(16), "type mp42"),
        "favicon.png": (encode(noise("favicon.png"), "ICO", sizes=[(SIDE, SIDE)]), "a Windows icon"),
        "portable.jpg": (
            encode(noise("portable.jpg"), "PPM"),
            "not an image",
        ),  # an image, but in a format that is not supported
        "program.jpg": (b"\x7fELF\x02\x01\x01" + bytes(60), "a program"),
        "pickle.jpg": (pickle.dumps({"weights": [1.0]}), "not an image in a known format"),
        "random.jpg": (np.random.default_rng(1).bytes(500), "not an image in a known format"),
    }
    for name, (data, reason) in bodies.items():
        yield MalformedFile(name, data, reason=reason)


def _incomplete() -> Iterator[MalformedFile]:
    large = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name, data in {
        "half.jpg": jpeg(large),
        "half-progressive.jpg": jpeg(large, progressive=True),
        "half.png": encode(large),
        "half.webp": encode(large, "WEBP"),
        "half.bmp": encode(large, "BMP"),
        "half.tif": encode(large, "TIFF"),
        "half-packed.tif": encode(large, "TIFF", compression="tiff_lzw"),
        "half.gif": encode(large, "GIF"),
    }.items():
        yield MalformedFile(name, data[: len(data) // 2], reason="truncated")
    yield MalformedFile("header-only.jpg", jpeg(large)[:3], reason="damaged or truncated JPEG header")
    yield MalformedFile("header-only.png", encode(large)[:8], reason="damaged or truncated PNG header")
    flipped = bytearray(encode(large))
    flipped[flipped.index(b"IDAT") + 9] ^= 0x10
    yield MalformedFile("flipped-bit.png", bytes(flipped), reason="damaged PNG")


def _bombs() -> Iterator[MalformedFile]:
    limit = "more than the limit"
    yield MalformedFile("bomb.png", png(9000, 9000), reason=limit)
    yield MalformedFile("large-bomb.png", png(2**31 - 1, 2**31 - 1), reason=limit)
    yield MalformedFile("flat.png", png(0, 5), reason="PNG")
    bitmap = struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 1, 1, 0, 0)
    yield MalformedFile("bomb.bmp", b"BM" + bitmap, reason=limit)
    gif = bytearray(encode(noise("bomb"), "GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    yield MalformedFile("bomb.gif", bytes(gif), reason=limit)
    frame = b"VP8X" + struct.pack("<IB3x", 10, 0) + (16382).to_bytes(3, "little") * 2
    body = b"WEBP" + frame + encode(noise("bomb"), "WEBP", lossless=True)[12:]
    yield MalformedFile("bomb.webp", b"RIFF" + struct.pack("<I", len(body)) + body, reason=limit)
    wide = bytearray(jpeg(noise("bomb")))
    start = wide.index(b"\xff\xc0")
    wide[start + 5 : start + 9] = struct.pack(">HH", 65000, 65000)
    yield MalformedFile("bomb.jpg", bytes(wide), reason=limit)
    yield MalformedFile("bomb.tif", _tiff(60000, 60000), reason=limit)
    text = b"zTXt" + b"comment\0\0" + zlib.compress(bytes(4_000_000), 9)
    yield MalformedFile("comment-bomb.png", png(SIDE, SIDE, block(text[:4], text[4:])), reason="damaged PNG")
    yield MalformedFile(
        "scan-bomb.jpg", _many_scans(2000, 600), reason="scans of 2,000 × 2,000 pixels would take too long"
    )


# ------------------------------------------------------------------ files that no encoder writes


def block(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG, with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, more: bytes = b"", depth: int = 8, packed: bytes = zlib.compress(b"")) -> bytes:
    """An RGB PNG of any stated size: header, `more` chunks, then compressed rows, which may not match."""
    header = block(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + block(b"IDAT", packed) + block(b"IEND", b"")


def _deep_colour(values: np.ndarray) -> bytes:
    """Encode uint16 (H, W, 3) as a PNG, which Pillow can read but not write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], depth=16, packed=zlib.compress(rows))


def _tiff(width: int, height: int) -> bytes:
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
               (278, 4, height), (279, 4, 100)]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", v) for tag, kind, v in entries)
    return b"II*\0" + struct.pack("<I", 108) + bytes(100) + directory + bytes(4)


def _many_scans(side: int, times: int) -> bytes:
    """A progressive JPEG of few kilobytes whose last scan is repeated; each scan takes a pass over all pixels."""
    data = encode(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * times + data[-2:]
