"""The page's own HTML. Every word that comes from a file, a card or an error is escaped here."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from imgcls.app.answers import Answer, Picture, per_cent
from imgcls.app.runs import Run, accuracy_of, data_of, threshold_of
from imgcls.plots.pictures import CAM_MAP

BARS = 5  # classes with a bar
SHOWN = 320  # pixels a side of the network's picture on the page
TALLEST = 22  # rem, of the original
NAMES = 8  # classes named before "and … more"

HEAD = """<div class="q head"><h1>What is in this picture?</h1>
<p>A network that was trained here answers with a class, how probable every class is, and the places in the picture that
its answer comes from. Pictures stay in the memory of this computer: none is stored or sent anywhere.</p></div>"""

NO_RUN = """<div class="q note"><b>No trained run yet.</b> One command makes one in a few minutes, from pictures that it
draws itself:<br><code>.venv/bin/imgcls train menagerie/cats_dogs --model simple_cnn --epochs 5</code><br>
In the place of <code>menagerie/cats_dogs</code> it takes a folder or a .zip with one folder of pictures for each class.
Reload this page when it has finished.</div>"""


def words(text: Any, most: int = 300) -> str:
    """Foreign text for HTML: escaped, without control characters, shortened in its middle."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(text))
    if len(text) > most:
        head = (most - 1) // 2
        text = f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"
    return html.escape(text)


def note(title: str, text: str) -> str:
    """Something that went wrong, in one line."""
    return f'<div class="q note" role="alert"><b>{words(title, 80)}</b> {words(text)}</div>'


def hint(text: str) -> str:
    """A quiet remark."""
    return f'<p class="q hint">{words(text)}</p>'


# ------------------------------------------------------------------ a run
def facts(run: Run) -> str:
    """What a run is, in a line or two."""
    card, (data, kind) = run.card, data_of(run.card)
    count, size = len(card["classes"]), card["image_size"]
    accuracy = accuracy_of(card)
    of = {"generated": "generated pictures", "real": "photographs"}.get(kind, "pictures")
    parts = [
        f"{words(card['architecture'], 60)}, {count} classes: {_named(card['classes'])}",
        f"{size} × {size} pixels, {'colour' if card['channels'] == 3 else 'grey'}",
        f"trained on {of}{f' ({words(data, 60)})' if data else ''}",
        f"validation accuracy {accuracy}".replace(" ", "\N{NO-BREAK SPACE}")
        if accuracy
        else "no validation accuracy on its card",
    ]
    return f'<p class="q facts">{" · ".join(parts)}</p>'


def details(run: Run) -> str:
    """The card of a run as a list of terms."""
    card, limit = run.card, threshold_of(run.card)
    accuracy, (data, kind), size = accuracy_of(card), data_of(card), card["image_size"]
    entry = card.get("data") if isinstance(card.get("data"), dict) else {}
    if isinstance(limit, str):
        unknown = f"it cannot tell: {limit}"
    else:
        unknown = f"{limit[0]} below {limit[1]:.4g}, which {per_cent(limit[2])} of the validation images reach"
    terms = {
        "folder": run.folder,
        "architecture": card["architecture"],
        "options": ", ".join(f"{key} = {value}" for key, value in card["options"].items()) or None,
        "classes": ", ".join(card["classes"]),
        "input": f"the centre square, {size} × {size} pixels, {'colour' if card['channels'] == 3 else 'grey'}",
        "normalisation": "; ".join(f"{key} {_numbers(value)}" for key, value in card["normalisation"].items()),
        "data": ", ".join(part for part in (data, kind, str(entry.get("fingerprint", ""))) if part) or None,
        "validation accuracy": f"{accuracy}, {accuracy.n:,} images" if accuracy else None,
        "temperature": f"{card['temperature']:.4g}" if "temperature" in card else "none, so not calibrated",
        "unlike its training if": unknown,
        "seed": card.get("seed"),
        "SHA-256 of the weights": card["sha256"],
    }  # fmt: skip
    rows = (f"<dt>{key}</dt><dd>{words(value, 1500)}</dd>" for key, value in terms.items() if value is not None)
    same = f"imgcls predict {words(run.folder)} picture.jpg --cam-dir maps"
    return f'<div class="q"><dl>{"".join(rows)}<dt>the same from a terminal</dt><dd><code>{same}</code></dd></dl></div>'


def broken(runs: Sequence[tuple[str, str]]) -> str:
    """The runs that cannot be asked, each with its reason."""
    rows = "".join(f"<li><b>{words(name, 120)}</b>: {words(reason, 500)}</li>" for name, reason in runs)
    return f'<div class="q"><ul class="plain">{rows}</ul></div>'


def _named(classes: Sequence[str]) -> str:
    more = f" and {len(classes) - NAMES} more" if len(classes) > NAMES else ""
    return ", ".join(words(name, 40) for name in classes[:NAMES]) + more


def _numbers(values: Any) -> str:
    values = values if isinstance(values, list) else [values]
    return ", ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values)


# ------------------------------------------------------------------ an answer
def card_of(answer: Answer, calibrated: bool) -> str:
    """Class, confidence, doubts and bars."""
    (first, share), *_ = answer.ranked
    certainty = f"{per_cent(share)} probable{'' if calibrated else ', not calibrated'}"
    if answer.known is False:
        head = (
            '<p class="class">Unlike anything it was trained on</p>'
            f'<p class="share">Had it to choose: <b>{words(first, 80)}</b>, {certainty}, which means little here.</p>'
        )
    else:
        head = f'<p class="class">{words(first, 80)}</p><p class="share">{certainty}</p>'
    doubts = "".join(f"<li>{_whole(words(doubt))}</li>" for doubt in answer.doubts)
    doubts += "".join(f'<li class="remark">{_whole(words(remark))}</li>' for remark in answer.remarks)
    rows = "".join(_bar(name, share) for name, share in answer.ranked[:BARS])
    rest = answer.ranked[BARS:]
    left = f"{len(rest)} other classes together {per_cent(sum(share for _, share in rest))}. " if rest else ""
    kind = "Probabilities, calibrated on validation images" if calibrated else "Probabilities, not calibrated"
    told = {
        True: "Like its training images: its score reaches the threshold that nearly all validation images reach.",
        False: "Its score lies below the threshold that nearly all validation images reach.",
        None: f"This run cannot tell pictures that are unlike its training images: {words(answer.untold)}.",
    }[answer.known]
    return (
        f'<div class="q answer{" strange" if answer.known is False else ""}"><div><p class="kicker">Answer</p>{head}'
        f'<ul class="doubts">{doubts}</ul></div><div><p class="kicker">{kind}</p><ol class="bars">{rows}</ol></div>'
        f'<p class="under">{left}{told}</p></div>'
    )


def _whole(text: str) -> str:
    """A number and its % stay on one line."""
    return text.replace(" %", "&nbsp;%")


def _bar(name: str, share: float) -> str:
    return (
        f'<li><span>{words(name, 60)}</span><span class="value">{per_cent(share)}</span>'
        f'<span class="track" aria-hidden="true"><span class="fill" style="width:{100 * share:.2f}%"></span></span>'
        "</li>"
    )


def views(answer: Answer, name: str) -> str:
    """The original with the square that counts, what the network sees of it, and where its answer comes from."""
    picture, label = answer.picture, words(answer.ranked[0][0], 40)
    (width, height), size = picture.size, picture.seen.shape[-1]
    kind = "grey pixels" if picture.seen.shape[0] == 1 else "pixels"
    first = (
        f'<figure><div class="original" style="width:min(100%, {TALLEST * width / height:.2f}rem)">'
        f'<img alt="The original" src="{_uri(picture.preview)}">{_square(picture)}</div>'
        f"<figcaption><b>The picture</b>{words(name, 60)}, {width:,} × {height:,} pixels</figcaption></figure>"
    )
    second = (
        f'<figure><img alt="What the network sees" src="{_uri(_enlarged(picture.seen))}">'
        f"<figcaption><b>What the network sees</b>{size} × {size} {kind}</figcaption></figure>"
    )
    if answer.cam is None:
        third = f"<figure><figcaption><b>No Grad-CAM overlay</b>{words(answer.unmapped)}</figcaption></figure>"
    else:
        third = (
            f'<figure><img alt="Grad-CAM overlay for {label}" src="{_uri(overlay(picture.seen, answer.cam))}">'
            f"<figcaption><b>Where “{label}” comes from</b>"
            'Grad-CAM<span class="scale">none<i></i>most weight</span></figcaption></figure>'
        )
    return f'<div class="q views">{first}{second}{third}</div>'


def _square(picture: Picture) -> str:
    """A frame round the centre square; nothing where the picture is square."""
    width, height = picture.size
    if width == height:
        return ""
    wide, high = 100 * min(1, height / width), 100 * min(1, width / height)
    place = f"left:{(100 - wide) / 2:.3f}%;top:{(100 - high) / 2:.3f}%;width:{wide:.3f}%;height:{high:.3f}%"
    return f'<i style="{place}"></i>'


def _enlarged(seen: Tensor) -> Image.Image:
    """At least SHOWN pixels a side, each pixel of the network a square."""
    pixels = seen[0].numpy() if seen.shape[0] == 1 else seen.permute(1, 2, 0).numpy()
    factor = max(1, round(SHOWN / pixels.shape[0]))
    return Image.fromarray(pixels.repeat(factor, 0).repeat(factor, 1))


def overlay(seen: Tensor, cam: Tensor) -> Image.Image:
    """The map in viridis over the picture in grey, with the weights of `plots.cam_grid`."""
    grey = _enlarged(seen).convert("L")
    heat = Image.fromarray(cam.numpy()).resize(grey.size, Image.Resampling.BILINEAR)
    colours = CAM_MAP(np.asarray(heat).clip(0, 1))[..., :3] * 255
    return Image.fromarray((0.4 * np.asarray(grey)[..., None] + 0.6 * colours).astype(np.uint8))


def _uri(image: Image.Image) -> str:
    """The picture as a data URI, encoded anew: the bytes of an upload are never given to a browser."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
