"""The HTML of the page. All text from files, cards and errors is escaped here."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from imgcls.app.predictions import ImagePrediction, per_cent
from imgcls.app.runs import Run, accuracy_of, data_of
from imgcls.messages import some
from imgcls.models import resize_of, threshold_of
from imgcls.plots.explanations import cam_overlay

BARS = 5  # classes with a bar
SHOWN = 320  # side of the network's input on the page in pixels
MAX_HEIGHT = 22  # rem, of the original
NAMES = 8  # classes named before "and … more"
INPUTS = {
    "crop": "the centre square",
    "squash": "the whole image, squashed to a square",
    "pad": "the whole image, padded to a square",
}

HEAD = """<div class="q head"><h1>What is in this image?</h1>
<p>A network that was trained here predicts a class, the probability of every class, and the regions of the image on
which the prediction depends. Images stay in the memory of this computer: none is stored or sent anywhere.</p></div>"""

NO_RUN = """<div class="q note"><b>No trained run yet.</b> One command trains one in a few minutes, on generated
images:<br><code>.venv/bin/imgcls train menagerie/cats_dogs --model simple_cnn --epochs 5</code><br>
Instead of <code>menagerie/cats_dogs</code> use a folder or a .zip with one folder of images for each class. Reload this
page when the command has finished. For runs in another folder: <code>imgcls app FOLDER</code>.</div>"""


def words(text: Any, most: int = 300) -> str:
    """Untrusted text for HTML: escaped, without control characters, shortened in its middle."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(text))
    if len(text) > most:
        head = (most - 1) // 2
        text = f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"
    return html.escape(text)


def note(title: str, text: str) -> str:
    """An error in one line."""
    return f'<div class="q note" role="alert"><b>{words(title, 80)}</b> {words(text)}</div>'


def hint(text: str) -> str:
    """A secondary note."""
    return f'<p class="q hint">{words(text)}</p>'


def facts(run: Run) -> str:
    """A run in one or two lines."""
    card, (data, kind), accuracy = run.card, data_of(run.card), accuracy_of(run.card)
    trained_on = {"generated": "generated images", "real": "photographs"}.get(kind, "images")
    validation = f"validation accuracy {accuracy}" if accuracy else "no validation accuracy on its card"
    classes = [words(name, 40) for name in card["classes"]]
    parts = [
        f"{words(card['architecture'], 60)}, {len(classes)} classes: {some(classes, NAMES)}",
        _input(card),
        f"trained on {trained_on}{f' ({words(data, 60)})' if data else ''}",
        validation.replace(" ", "\N{NO-BREAK SPACE}"),
    ]
    return f'<p class="q facts">{" · ".join(parts)}</p>'


def details(run: Run) -> str:
    """The card of a run as a list of terms."""
    card, limit, accuracy = run.card, threshold_of(run.card), accuracy_of(run.card)
    if isinstance(limit, str):
        unknown = f"not detected: {limit}"
    else:
        unknown = f"{limit[0]} below {limit[1]:.4g}, which {per_cent(limit[2])} of the validation images reach"
    data = card["data"] if isinstance(card.get("data"), dict) else {}
    terms = {
        "folder": run.folder,
        "architecture": card["architecture"],
        "options": ", ".join(f"{key} = {value}" for key, value in card["options"].items()),
        "classes": ", ".join(card["classes"]),
        "input": _input(card),
        "normalisation": "; ".join(f"{key} {_numbers(value)}" for key, value in card["normalisation"].items()),
        "data": ", ".join(str(data[key]) for key in ("name", "kind", "fingerprint") if data.get(key)),
        "validation accuracy": f"{accuracy}, {accuracy.n:,} images" if accuracy else "",
        "temperature": f"{card['temperature']:.4g}" if "temperature" in card else "none, so not calibrated",
        "unknown input if": unknown,
        "seed": card.get("seed", ""),
        "SHA-256 of the weights": card["sha256"],
    }
    rows = (f"<dt>{key}</dt><dd>{words(value, 1500)}</dd>" for key, value in terms.items() if value != "")
    command = f"imgcls predict {words(run.folder)} picture.jpg --cam-dir maps"
    return f'<div class="q"><dl>{"".join(rows)}<dt>on the command line</dt><dd><code>{command}</code></dd></dl></div>'


def broken(runs: Sequence[tuple[str, str]]) -> str:
    """The runs that cannot be used, each with its reason."""
    rows = "".join(f"<li><b>{words(name, 120)}</b>: {words(reason, 500)}</li>" for name, reason in runs)
    return f'<div class="q"><ul class="plain">{rows}</ul></div>'


def _input(card: Mapping[str, Any]) -> str:
    size = card["image_size"]
    return f"{size} × {size} pixels of {INPUTS[resize_of(card)]}, {'colour' if card['channels'] == 3 else 'grayscale'}"


def _numbers(values: Any) -> str:
    values = values if isinstance(values, list) else [values]
    return ", ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values)


def result(prediction: ImagePrediction, calibrated: bool) -> str:
    """Class, confidence, warnings and bars."""
    (first, share), *_ = prediction.ranked
    certainty = f"{per_cent(share)} probable{'' if calibrated else ', not calibrated'}"
    look, head = "q result", f'<p class="class">{words(first, 80)}</p><p class="share">{certainty}</p>'
    if prediction.known is False:
        look = "q result unfamiliar"
        head = (
            '<p class="class">Unlike the training images</p>'
            f'<p class="share">The most probable class is <b>{words(first, 80)}</b>, {certainty}, but unreliable.</p>'
        )
    reasons = [f"<li>{words(text)}</li>" for text in prediction.warnings]
    reasons += [f'<li class="remark">{words(text)}</li>' for text in prediction.notes]
    bars = [
        f'<li><span>{words(name, 60)}</span><span class="value">{per_cent(share)}</span><span class="track" '
        f'aria-hidden="true"><span class="fill" style="width:{100 * share:.2f}%"></span></span></li>'
        for name, share in prediction.ranked[:BARS]
    ]
    rest = prediction.ranked[BARS:]
    left = f"{len(rest)} other classes together {per_cent(sum(share for _, share in rest))}. " if rest else ""
    kind = "Probabilities, calibrated on validation images" if calibrated else "Probabilities, not calibrated"
    unknown = {
        True: "Like the training images: the score reaches the threshold that nearly all validation images reach.",
        False: "The score is below the threshold that nearly all validation images reach.",
    }.get(prediction.known, f"This run cannot detect images unlike its training images: {words(prediction.known)}.")
    return (
        f'<div class="{look}"><div><p class="kicker">Prediction</p>{head}<ul class="remarks">'
        f'{"".join(reasons).replace(" %", "&nbsp;%")}</ul></div><div><p class="kicker">{kind}</p>'
        f'<ol class="bars">{"".join(bars)}</ol></div><p class="under">{left}{unknown}</p></div>'
    )


def images(prediction: ImagePrediction, name: str) -> str:
    """The original with a frame around its centre square if that is used, the network's input, and the overlay."""
    image, label = prediction.image, words(prediction.ranked[0][0], 40)
    (width, height), size = image.size, image.pixels.shape[-1]
    kind = "grayscale pixels" if image.pixels.shape[0] == 1 else "pixels"
    frame = ""  # around the centre square
    if width != height and image.resize == "crop":
        wide, high = 100 * min(1, height / width), 100 * min(1, width / height)
        place = f"left:{(100 - wide) / 2:.3f}%;top:{(100 - high) / 2:.3f}%;width:{wide:.3f}%;height:{high:.3f}%"
        frame = f'<i style="{place}"></i>'
    first = (
        f'<figure><div class="original" style="width:min(100%, {MAX_HEIGHT * width / height:.2f}rem)">'
        f'<img alt="The original" src="{_uri(image.preview)}">{frame}</div>'
        f"<figcaption><b>The image</b>{words(name, 60)}, {width:,} × {height:,} pixels</figcaption></figure>"
    )
    second = (
        f'<figure><img alt="Input of the network" src="{_uri(_enlarged(image.pixels))}">'
        f"<figcaption><b>Input of the network</b>{size} × {size} {kind} of {INPUTS[image.resize]}</figcaption></figure>"
    )
    if isinstance(prediction.cam, str):
        third = f"<figure><figcaption><b>No Grad-CAM overlay</b>{words(prediction.cam)}</figcaption></figure>"
    else:
        third = (
            f'<figure><img alt="Grad-CAM overlay for {label}" src="{_uri(overlay(image.pixels, prediction.cam))}">'
            f"<figcaption><b>Regions for “{label}”</b>"
            'Grad-CAM<span class="scale">no weight<i></i>most weight</span></figcaption></figure>'
        )
    return f'<div class="q views">{first}{second}{third}</div>'


def _enlarged(pixels: Tensor) -> Image.Image:
    """About SHOWN pixels a side, each input pixel a square."""
    array = pixels[0].numpy() if pixels.shape[0] == 1 else pixels.permute(1, 2, 0).numpy()
    factor = max(1, round(SHOWN / array.shape[0]))
    return Image.fromarray(array.repeat(factor, 0).repeat(factor, 1))


def overlay(pixels: Tensor, cam: Tensor) -> Image.Image:
    """The image in gray under its class activation map, as `plots.cam_grid` draws it."""
    return Image.fromarray(cam_overlay(np.asarray(_enlarged(pixels)), cam.numpy()))


def _uri(image: Image.Image) -> str:
    """A data URI of the image, encoded again: the bytes of an upload are never sent to the browser."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
