import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
from conftest import REPOSITORY
from PIL import Image, ImageOps

from benchmarks.malformed import UPRIGHT, block, png
from imgcls.data import decoding, load_image
from imgcls.data.decoding import Undecodable, decode_square, open_rgb, serve

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
OVERHEAD = 7  # MB of the libraries' own, whatever the picture
LOSSLESS = [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True}), ("BMP", {})]


def encode(pixels, kind="PNG", mode=None, **options) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def photo(height=400, width=600) -> np.ndarray:
    """Smooth enough for a JPEG to keep it."""
    y, x = np.mgrid[:height, :width]
    return np.stack([127 + 120 * np.sin(x / 37 + k) * np.cos(y / 29 + k) for k in range(3)], axis=-1).astype(np.uint8)


def decode(data: bytes) -> np.ndarray:
    """Pixels (H, W, 3) of the whole picture."""
    return np.asarray(open_rgb(data)[0])


def reason(data) -> str:
    with pytest.raises(Undecodable) as caught:
        decode(data)
    return caught.value.reason


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_lossless_formats_keep_every_pixel(kind, options):
    image = decode(encode(PIXELS, kind, **options))
    assert image.dtype == np.uint8
    assert np.array_equal(image, PIXELS)


TURNED = {1: lambda a: a} | UPRIGHT  # EXIF orientation -> how the stored pixels become upright, by NumPy alone


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", TURNED)
def test_exif_orientation(kind, orientation):
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(PIXELS, kind, exif=exif, **options)
    upright = TURNED[orientation](PIXELS)
    assert np.array_equal(decode(data), upright)
    assert open_rgb(data)[1] == upright.shape[1::-1]


def test_exif_orientation_of_a_reduced_jpeg_and_a_damaged_exif_block():
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = 6
    data = encode(photo(), "JPEG", exif=exif)
    image, original = open_rgb(data, at_least=40)
    assert original == (400, 600)
    assert image.size[0] < image.size[1] < 600
    broken = data.replace(b"Exif\x00\x00MM", b"Exif\x00\x00??")
    assert broken != data
    assert decode(broken).shape == (400, 600, 3)  # the picture survives, unturned


def test_transparency_is_laid_on_white():
    rgba = np.dstack([PIXELS, RNG.integers(0, 256, PIXELS.shape[:2], dtype=np.uint8)])
    alpha = rgba[..., 3:].astype(float) / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(decode(encode(rgba)) - expected).max() <= 1
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    data = encode(palette, transparency=1)
    assert decode(data).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    grey_alpha = Image.merge("LA", [Image.new("L", (1, 1), 9), Image.new("L", (1, 1), 0)])
    assert decode(encode(grey_alpha)).tolist() == [[[255, 255, 255]]]


def test_grey_bilevel_palette_and_cmyk():
    grey = PIXELS[..., 0]
    assert np.array_equal(decode(encode(grey)), np.repeat(grey[..., None], 3, axis=2))
    assert set(np.unique(decode(encode(grey, mode="1")))) == {0, 255}
    assert decode(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))[4, 4].tolist() == pytest.approx(
        [255, 0, 0], abs=3
    )
    assert decode(encode(PIXELS, "GIF")).shape == PIXELS.shape


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    values = np.linspace(0, 65535, 240).astype(np.uint16).reshape(12, 20)
    expected = np.round(values / 257)
    image = decode(encode(values, kind))
    assert np.array_equal(image, np.repeat(expected[..., None], 3, axis=2))


def test_floats_are_taken_as_unit_interval_or_refused():
    unit = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(decode(encode(unit, "TIFF"))[..., 0], np.round(unit * 255))
    assert "no known scale" in reason(encode(unit * 900, "TIFF"))
    assert "no known scale" in reason(encode(unit * np.nan, "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(kind):
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("red", "blue")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert decode(data)[2, 3].tolist() == pytest.approx([255, 0, 0], abs=3)


def test_zero_bytes_and_unreadable_paths(tmp_path):
    assert reason(b"") == "zero bytes"
    (tmp_path / "empty.jpg").touch()
    for name, why in (("empty.jpg", "zero bytes"), ("missing.jpg", "cannot be read: No such file"), ("", "cannot be")):
        with pytest.raises(Undecodable, match=f"{name}: {why}"):
            load_image(tmp_path / name, 8, 3, "crop")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks about the metadata
@pytest.mark.parametrize("kind", decoding.FORMATS)
def test_every_truncation_has_a_reason(kind):
    data = encode(PIXELS, kind)
    for end in range(1, len(data) - 20, 37):
        why = reason(data[:end])
        assert "truncated" in why or why.startswith(("not an image", "nothing but zeros")), (end, why)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", decoding.FORMATS)
def test_damaged_bytes_give_a_picture_or_a_reason_and_nothing_else(kind):
    data, rng = encode(PIXELS, kind), np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 4):
            damaged[position] = rng.integers(256)
        with contextlib.suppress(Undecodable):
            assert decode(bytes(damaged)).shape[2] == 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "not an image but an HTML page"),
        (b"\xef\xbb\xbf\n <HTML>", "not an image but an HTML page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image but XML or SVG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(30), "a zip archive"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF header"),
        (b"\0\0\0\x1cftypqt  \0\0\0\0", "type qt (video"),
        (b"error: quota exceeded\n", "not an image but text"),
        (bytes(2000), "nothing but zeros"),
        (b"\x01\x02\x03\x04 what is this?", "not an image in a known format"),
    ],
)
def test_what_is_no_image_is_named(data, expected):
    assert expected in reason(data)


def test_formats_outside_the_list_are_refused():
    for kind in ("PPM", "ICO"):
        assert reason(encode(PIXELS, kind)).startswith("not an image")


def test_a_bomb_is_refused_from_its_header_alone():
    assert "9,000 × 9,000 pixels are more than the limit of 80,000,000" in reason(png(9000, 9000))
    assert "more than the limit" in reason(png(100_000, 100_000))
    assert "truncated" in reason(png(4000, 4000))  # below the limit: read, and found empty


# ------------------------------------------------------------------ memory


def test_what_would_take_too_much_memory_is_refused_from_its_header_alone():
    assert reason(png(7900, 7900)) == (
        "7,900 × 7,900 pixels of PNG RGB would take 499 MB to decode, more than the limit of 490"
    )
    assert "truncated" in reason(png(7700, 7700))


def test_a_photograph_too_large_as_a_whole_is_still_read_at_the_size_that_is_needed(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_MEMORY", 1_500_000)
    assert "would take 2 MB" in reason(encode(photo(), "JPEG"))
    assert decode_square(encode(photo(), "JPEG"), 32)[1] == (600, 400)
    progressive = encode(photo(), "JPEG", progressive=True, subsampling=0)  # six bytes a pixel before any is scaled
    decode_square(progressive, 32)
    monkeypatch.setattr(decoding, "MAX_MEMORY", 1_400_000)
    decode_square(encode(photo(), "JPEG"), 32)
    with pytest.raises(Undecodable, match="600 × 400 pixels of JPEG RGB would take 2 MB to decode"):
        decode_square(progressive, 32)


def costly(side: int) -> dict[str, bytes]:
    """A picture of every kind that is decoded in a way of its own."""
    grey = (np.add.outer(np.arange(side), np.arange(side)) // 64 % 256).astype(np.uint8)
    deep = grey.astype(np.uint16) * 256
    rgb = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1)
    rgba, cmyk = np.dstack([rgb, grey]), Image.fromarray(np.dstack([rgb, grey]), "CMYK")
    turned = Image.Exif()
    turned[decoding.ORIENTATION] = 6
    indexed = Image.fromarray(grey).convert("P")
    fast = {"compress_level": 1}
    return {
        "turned.png": encode(rgb, exif=turned, **fast),
        "transparent.png": encode(rgba, **fast),
        "palette.png": encode(indexed, transparency=3, **fast),
        "sixteen.png": encode(deep, **fast),
        "float.tif": encode((deep / 65535).astype(np.float32), "TIFF"),
        "cmyk.tif": encode(cmyk, "TIFF", compression="tiff_lzw"),
        "plain.tif": encode(rgb, "TIFF"),
        "one-strip.tif": encode(rgb, "TIFF", compression="tiff_lzw", strip_size=side * side * 3),
        "plain.gif": encode(indexed, "GIF"),
        "plain.bmp": encode(rgb, "BMP"),
        "plain.webp": encode(rgb, "WEBP", method=0),
        "transparent.webp": encode(rgba, "WEBP", method=0, lossless=True, quality=0),
        "turned.jpg": encode(rgb, "JPEG", exif=turned),
        "progressive.jpg": encode(rgb, "JPEG", progressive=True, subsampling=0),
        "cmyk.jpg": encode(cmyk, "JPEG", progressive=True),
    }


def row(width: int = 3_000_000) -> bytes:
    """A black PNG of one row."""
    return png(width, 1, packed=zlib.compress(bytes(1 + 3 * width), 1))


def large() -> bytes:
    """A black PNG, turned, just below the limit."""
    side = 7820
    exif = block(b"eXIf", b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06" + bytes(6))
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + 3 * side)) for _ in range(side)) + packer.flush()
    return png(side, side, more=exif, packed=rows)


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """File -> way of decoding -> MB that it took at its peak, estimated MB."""
    if not Path("/proc/self/status").exists():
        pytest.skip("a fork's own peak is known on Linux only")
    folder = tmp_path_factory.mktemp("memory")
    files = costly(1600) | {"row.png": row(), "large.png": large()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    command = [sys.executable, Path(__file__).with_name("decoding_process.py"), *files]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_picture_takes_more_memory_than_estimated(memory):
    assert len(memory) == 17
    for name, ways in memory.items():
        for how, (taken, estimate) in ways.items():
            assert taken <= estimate + OVERHEAD, (name, how, memory)
    for name in ("turned.png", "transparent.png"):  # the bound is not idle
        assert memory[name]["square"][0] > 0.8 * memory[name]["square"][1], memory


def test_a_picture_just_below_the_limit_takes_less_than_half_a_gigabyte(memory):
    for taken, estimate in memory["large.png"].values():
        assert estimate <= decoding.MAX_MEMORY / 1e6 < 1.01 * estimate
        assert 400 < taken < 500


@pytest.mark.parametrize("shape", [(50, 80), (80, 50), (33, 33), (20, 24), (1, 300)])
def test_square_is_the_centre_resampled_by_pillow(shape):
    image = Image.fromarray(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8))
    pixels, original = decode_square(encode(image), 32)
    side = min(shape)
    oracle = ImageOps.fit(image, (32, 32), Image.Resampling.BICUBIC)
    assert original == image.size
    ours = np.frombuffer(pixels, np.uint8).reshape(32, 32, 3).astype(int)
    assert np.abs(ours - np.asarray(oracle)).max() <= (0 if side > 1 else 255)
    assert len(pixels) == 32 * 32 * 3


BANDS = ((220, 30, 30), (30, 200, 30), (30, 30, 210))


def bands(width=90, height=30, across=True) -> Image.Image:
    """Three bands of equal width side by side, or below each other."""
    row = np.repeat(np.array(BANDS, dtype=np.uint8), width // 3, axis=0)  # (width, 3)
    image = Image.fromarray(np.broadcast_to(row, (height, width, 3)).copy())
    return image if across else image.transpose(Image.Transpose.TRANSPOSE)


def square_of(data: bytes, resize: str, size=30, channels=3) -> np.ndarray:
    pixels = np.frombuffer(decode_square(data, size, channels, resize)[0], np.uint8)
    return pixels.reshape(size, size, channels)


def of_exif(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = value
    return exif


# The colours of a row, each with its first and last column that is two pixels from the next colour, bicubic's reach.
WHERE = {
    "crop": [(BANDS[1], 2, 27)],
    "squash": [(BANDS[0], 0, 7), (BANDS[1], 12, 17), (BANDS[2], 22, 29)],
    "pad": [(BANDS[0], 0, 7), (BANDS[1], 12, 17), (BANDS[2], 22, 29)],
}


@pytest.mark.parametrize("across", [True, False], ids=["wide", "tall"])
@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [("PNG", {}, 0), ("WEBP", {"lossless": True}, 0), ("JPEG", {"quality": 100, "subsampling": 0}, 3)],
)
@pytest.mark.parametrize("scale", [1, 5, 40])  # of a JPEG the larger ones are reduced while decoding
@pytest.mark.parametrize("resize", decoding.RESIZES)
def test_three_bands_are_cropped_squashed_or_padded(resize, scale, kind, options, tolerance, across):
    picture = bands(90 * scale, 30 * scale, across)
    square = square_of(encode(picture, kind, **options), resize).astype(int)
    square = square if across else square.swapaxes(0, 1)
    shown = square[10:20] if resize == "pad" else square
    for colour, first, last in WHERE[resize]:
        assert np.abs(shown[:, first : last + 1] - colour).max() <= tolerance, colour
    if resize == "pad":
        assert (np.concatenate([square[:10], square[20:]]) == decoding.FILL).all()


def test_grayscale_is_that_of_the_coloured_square_borders_too():
    for resize in decoding.RESIZES:
        square = Image.fromarray(square_of(encode(bands()), resize))
        assert np.array_equal(square_of(encode(bands()), resize, channels=1)[..., 0], np.asarray(square.convert("L")))
    assert square_of(encode(bands()), "pad", channels=1)[0, 0] == 117  # 0.299 · 124 + 0.587 · 116 + 0.114 · 104


@pytest.mark.parametrize("resize", decoding.RESIZES)
def test_orientation_comes_before_the_square(resize):
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 100, "subsampling": 0})):
        stored = bands(900, 300)
        turned = encode(stored, kind, exif=of_exif(6), **options)
        upright = encode(stored.transpose(Image.Transpose.ROTATE_270), kind, **options)
        assert decode_square(turned, 30, resize=resize)[1] == (300, 900)
        difference = square_of(turned, resize).astype(int) - square_of(upright, resize)
        assert np.abs(difference).max() <= (3 if kind == "JPEG" else 0)


@pytest.mark.parametrize("resize", decoding.RESIZES)
def test_transparency_shows_white_and_not_the_borders(resize):
    clear = Image.new("RGBA", (90, 30), (255, 0, 0, 0))
    square = square_of(encode(clear), resize)
    if resize == "pad":
        assert (square[:10] == decoding.FILL).all()
        assert (square[20:] == decoding.FILL).all()
        square = square[10:20]
    assert (square == 255).all()


@pytest.mark.parametrize("shape", [(50, 80), (80, 50), (33, 34), (20, 24), (1, 300), (300, 1), (7, 501)])
def test_squash_and_pad_are_pillow_s_resampling_of_the_whole_picture(shape):
    image = Image.fromarray(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8))
    squashed = image.resize((32, 32), Image.Resampling.BICUBIC)
    assert np.array_equal(square_of(encode(image), "squash", 32), np.asarray(squashed))
    padded = square_of(encode(image), "pad", 32)
    if min(shape) > 10:
        oracle = ImageOps.pad(image, (32, 32), Image.Resampling.BICUBIC, color=decoding.FILL)
        assert np.array_equal(padded, np.asarray(oracle))
    inside = (padded != decoding.FILL).any(axis=2)
    assert inside.any(axis=0 if shape[0] < shape[1] else 1).sum() in (31, 32)  # the longer side fills the square
    assert decode_square(encode(image), 32, resize="pad")[1] == image.size


def test_very_long_pictures_keep_their_colours():
    for image in (bands(30_000, 3), bands(30_000, 3, across=False)):
        wide = image.width > image.height
        squashed = square_of(encode(image), "squash")
        for colour, row in zip(BANDS, (squashed if wide else squashed.swapaxes(0, 1))[0, [4, 15, 25]], strict=True):
            assert tuple(row) == colour


def test_a_square_picture_is_the_same_for_all_three():
    for data in (encode(photo(400, 400), "JPEG"), encode(PIXELS[:, :12]), encode(photo(9, 9))):
        assert len({decode_square(data, 12, resize=resize) for resize in decoding.RESIZES}) == 1


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_reduced_decoding_of_a_whole_jpeg_is_close_to_the_full_one(resize, monkeypatch):
    data, drafts = encode(photo(400, 1200), "JPEG", quality=95), []
    with monkeypatch.context() as patch:
        patch.setattr("PIL.JpegImagePlugin.JpegImageFile.draft", lambda *_: drafts.append(1))
        full = square_of(data, resize, 48).astype(int)
    assert drafts
    assert np.abs(square_of(data, resize, 48) - full).max() <= 4


def test_a_picture_of_the_right_size_is_left_alone():
    pixels, _ = decode_square(encode(PIXELS[:, :12]), 12)
    assert pixels == PIXELS[:, :12].tobytes()
    grey, _ = decode_square(encode(PIXELS[:, :12]), 12, channels=1)
    assert grey == Image.fromarray(PIXELS[:, :12]).convert("L").tobytes()


def test_reduced_decoding_of_a_jpeg_is_close_to_the_full_one():
    data = encode(photo(), "JPEG", quality=95)
    reduced = np.frombuffer(decode_square(data, 48)[0], np.uint8).astype(int)
    full = ImageOps.fit(Image.fromarray(decode(data)), (48, 48), Image.Resampling.BICUBIC)
    assert np.abs(reduced - np.asarray(full).ravel()).max() <= 3


def test_the_worker_answers_in_order_with_pixels_or_reasons():
    requests, replies = io.BytesIO(), io.BytesIO()
    pickle.dump((8, 3, "crop", [encode(PIXELS), b"", encode(photo(), "JPEG")]), requests)
    pickle.dump((4, 1, "pad", [encode(PIXELS)]), requests)
    requests.seek(0)
    serve(requests, replies)
    replies.seek(0)
    first, second = pickle.load(replies), pickle.load(replies)
    assert [type(answer) for answer in first] == [tuple, str, tuple]
    assert first[0] == decode_square(encode(PIXELS), 8)
    assert first[1] == "zero bytes"
    assert first[2][1] == (600, 400)
    assert len(second[0][0]) == 16


# ------------------------------------------------------------------ photographs of telephones
def test_a_heic_file_without_its_reader_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    decoding._register_heif.cache_clear()
    try:
        assert "pip install pillow-heif" in reason(b"\0\0\0\x18ftypheic" + bytes(100))
    finally:
        decoding._register_heif.cache_clear()


@pytest.mark.parametrize("turned", [1, 6])
def test_a_heic_photograph_is_read_upright_where_its_reader_is_installed(turned):
    heif = pytest.importorskip("pillow_heif")
    photo = Image.linear_gradient("L").resize((64, 32)).convert("RGB")
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = turned
    file = io.BytesIO()
    heif.from_pillow(photo).save(file, quality=95, exif=exif.tobytes())
    found, size = decoding.open_rgb(file.getvalue())
    expected = photo if turned == 1 else photo.transpose(Image.Transpose.ROTATE_270)
    assert size == found.size == expected.size
    assert np.abs(np.asarray(found, int) - np.asarray(expected, int)).mean() < 6


def test_an_avif_picture_needs_no_extra():
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, "AVIF", quality=95)
    found, size = decoding.open_rgb(file.getvalue())
    assert size == (256, 256)
    assert np.abs(np.asarray(found, int)[..., 0] - np.asarray(Image.linear_gradient("L"), int)).mean() < 3


def test_the_decoder_of_another_process_imports_nothing_of_this_package():
    """That process starts without site-packages, where an installed imgcls would be."""
    code = "import sys; sys.path += sys.argv[1:]; import decoding; print(decoding.__file__)"
    folders = [str(Path(decoding.__file__).parent), str(Path(PIL.__file__).parents[1])]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-S", "-c", code, *folders], capture_output=True, text=True, env=environment, cwd="/"
    )
    assert done.stdout.strip() == decoding.__file__, done.stderr
