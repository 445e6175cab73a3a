"""The page of `make app` against `imgcls predict`, malicious files, planted faults and a real browser."""

import io
import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import chromium, needs_browser, screen
from conftest import colour_split
from PIL import Image
from streamlit.testing.v1 import AppTest
from test_data import odd_pictures

import menagerie
from imgcls import cli, explain, models, openset, paths, training
from imgcls.app import __main__ as server
from imgcls.app import markup, page, predictions
from imgcls.app.examples import UNKNOWN_CLASSES, examples
from imgcls.app.runs import accuracy_of, find_runs
from imgcls.data import available, load_image
from imgcls.data.decoding import FILL
from imgcls.evaluation import predict
from imgcls.models import threshold_of

EVIL = "<script>alert(1)</script>.png"
SIZE = 16


@pytest.fixture(scope="module")
def trained():
    """A network that knows red, green and blue, and its validation images."""
    train, val = colour_split(192, seed=1, size=SIZE), colour_split(96, seed=2, size=SIZE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.create_model("simple_cnn", 3, 3, image_size=SIZE)
    training.fit(model, train, val, training.Recipe(epochs=3, batch_size=32, lr=0.05), seed=0)
    assert predict(model, val).accuracy > 0.9
    return model, val


@pytest.fixture
def save(own_folders, trained):
    """Writes the network as a run under build/ of this test."""

    def write(name="runs/colours", classes=("red", "green", "blue"), **facts):
        return models.save(trained[0], paths.BUILD / name, classes, **facts)

    return write


@pytest.fixture
def random_run(own_folders):
    """A run of any shape with random weights."""

    def write(size=SIZE, channels=3, classes=("a", "b", "c"), name="runs/random", architecture="simple_cnn", **facts):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = models.create_model(architecture, len(classes), channels, image_size=size)
        return models.save(model, paths.BUILD / name, classes, **facts)

    return write


def png(colour=(220, 30, 30), size=(SIZE, SIZE), kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def start():
    app = AppTest.from_file(page.__file__, default_timeout=60).run()
    assert not app.exception
    return app


def upload(app, name, data):
    app.file_uploader(key="upload").set_value((name, data, "image/png")).run()
    assert not app.exception
    return shown(app)


def shown(app):
    """All that the page says in its own HTML but its style sheet and the bytes of pictures."""
    texts = [element.value for element in app.html if "light-dark" not in element.value]
    return re.sub(r"data:image/jpeg;base64,[^\"]*", "PICTURE", "\n".join(texts))


# ------------------------------------------------------------------ the answer
def test_the_page_says_what_predict_says(save, tmp_path, monkeypatch, capfd):
    run = save(temperature=1.7)
    app = start()
    for name, data in odd_pictures().items():
        (tmp_path / name).write_bytes(data)
        monkeypatch.setattr(sys, "argv", ["imgcls", "predict", str(run), str(tmp_path / name), "--format", "json"])
        with pytest.raises(SystemExit):
            cli.main()
        (record,) = json.loads(capfd.readouterr().out)
        text = upload(app, name, data)
        said = re.findall(r'<li><span>(\w+)</span><span class="value">([\d.]+ %)</span>', text)
        probable = sorted(record["probabilities"].items(), key=lambda item: -item[1])
        assert said == [(label, f"{100 * share:.1f} %") for label, share in probable], name
        assert f'<p class="class">{record["class"]}</p>' in text
        assert "Probabilities, calibrated" in text
        assert text.count("PICTURE") == 3  # original, input of the network, overlay


def test_answer_is_the_library_s_in_every_part(trained, save):
    model, card = models.load(save(temperature=2.0))
    image = predictions.read_image(png((30, 30, 220)), card)
    assert image.resize == "crop"  # the card names none
    answer = predictions.predict_image(model, card, image)
    assert torch.equal(image.pixels, load_image(png((30, 30, 220)), SIZE, 3, "crop"))
    split = replace(trained[1], images=image.pixels[None], labels=torch.zeros(1, dtype=torch.int64))
    said = predict(model, split).with_temperature(2.0)
    assert answer.ranked[0][0] == "blue" == split.classes[said.predicted]
    assert dict(answer.ranked) == pytest.approx(dict(zip(split.classes, said.probabilities[0].tolist(), strict=True)))
    assert torch.equal(answer.cam, explain.grad_cam(model, split.images, said.predicted)[0])


def test_another_run_answers_the_same_upload(save, random_run):
    save()
    random_run(name="runs/aaa", classes=("left", "right"))
    app = start()
    assert app.selectbox(key="run").value == "runs/aaa"  # the younger
    assert '<p class="class">red' not in upload(app, "p.png", png())
    app.selectbox(key="run").select("runs/colours").run()
    assert '<p class="class">red' in shown(app)


def test_probabilities_of_a_card_without_temperature_are_called_uncalibrated(save):
    save()
    text = upload(start(), "p.png", png())
    assert "Probabilities, not calibrated" in text
    assert "probable, not calibrated" in text


def test_of_many_classes_five_have_a_bar_and_the_rest_are_summed(random_run):
    random_run(classes=tuple(f"class {i}" for i in range(12)))
    text = upload(start(), "p.png", png())
    assert text.count('class="fill"') == 5
    shares = [float(share) for share in re.findall(r'class="value">([\d.]+) %', text)]
    (rest,) = re.findall(r"7 other classes together ([\d.]+) %", text)
    assert sum(shares) + float(rest) == pytest.approx(100, abs=0.4)


def test_the_overlay_shows_the_map_over_the_picture():
    seen, cam = torch.full((3, 8, 8), 128, dtype=torch.uint8), torch.zeros(8, 8)
    cam[:, :4] = 1
    drawn = np.asarray(markup.overlay(seen, cam)).astype(int)
    assert drawn.shape == (320, 320, 3)
    yellow, violet = np.array([253, 231, 37]), np.array([68, 1, 84])  # the ends of viridis
    assert drawn[160, 20] == pytest.approx(0.4 * 128 + 0.6 * yellow, abs=2)
    assert drawn[160, 300] == pytest.approx(0.4 * 128 + 0.6 * violet, abs=2)


def test_a_network_without_places_answers_without_an_overlay(save, monkeypatch):
    save()

    def refuse(*_, **__):
        raise ValueError("no layer with <b>places</b>")

    monkeypatch.setattr(explain, "grad_cam", refuse)
    text = upload(start(), "p.png", png())
    assert '<p class="class">red' in text
    assert "No Grad-CAM overlay" in text
    assert "no layer with &lt;b&gt;places" in text


# ------------------------------------------------------------------ unlike anything it was trained on
@pytest.mark.parametrize("score", ["energy", "max_logit"])
def test_unknown_is_what_scores_below_the_card_s_threshold(trained, save, score):
    model, card = models.load(save(temperature=3.0))
    image = predictions.read_image(png(), card)
    split = replace(trained[1], images=image.pixels[None], labels=torch.zeros(1, dtype=torch.int64))
    logits = predict(model, split).logits[0].double()
    truth = float(logits.exp().sum().log() if score == "energy" else logits.max())  # raw: no temperature
    for threshold, known in ((truth - 1e-3, True), (truth + 1e-3, False)):
        card["known"] = {"score": score, "threshold": threshold, "keeps": 0.95}
        assert predictions.predict_image(model, card, image).known is known


def test_a_threshold_of_the_validation_images_keeps_its_share_and_flags_what_is_far_off(trained, save):
    model, val = trained
    threshold = openset.threshold_at_tpr(openset.energy(predict(model, val).logits), 0.95)
    card = models.load(save(known={"score": "energy", "threshold": float(threshold), "keeps": 0.95}))[1]
    kept = 0
    for image in val.images:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "PNG")
        kept += predictions.predict_image(model, card, predictions.read_image(file.getvalue(), card)).known
    assert 0.92 <= kept / len(val) <= 0.99
    text = upload(start(), "grey.png", png((128, 128, 128)))
    assert "Unlike the training images" in text
    assert "The most probable class is <b>" in text
    assert "Unlike the training images" not in upload(start(), "red.png", png())


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (None, "its card has no threshold"),
        ([1], "instead of a score and a threshold"),
        ({"score": "entropy", "threshold": 1.0, "keeps": 0.95}, "only energy and max_logit are supported"),
        ({"score": "energy", "threshold": "high", "keeps": 0.95}, "not valid numbers"),
        ({"score": "energy", "threshold": 1.0, "keeps": 0}, "not valid numbers"),
    ],
)
def test_a_run_without_a_usable_threshold_says_that_it_cannot_tell(save, known, why):
    save(**({} if known is None else {"known": known}))
    text = upload(start(), "p.png", png())
    assert '<p class="class">red' in text
    assert "This run cannot detect" in text
    assert why in text
    assert why in threshold_of({"known": known})


# ------------------------------------------------------------------ what it is unsure of
def doubts(shares, photograph=True, kind="real", calibrated=True):
    card = {"data": {"name": "x", "kind": kind}} | ({"temperature": 1.0} if calibrated else {})
    ranked = tuple((f"c{i}", share) for i, share in enumerate(shares))
    return "\n".join(predictions.probability_warnings(ranked, card, photograph))


def test_doubts_follow_the_probabilities():
    assert doubts([0.97, 0.03]) == ""
    assert doubts([0.55, 0.45]) == "Ambiguous between c0 (55.0 %) and c1 (45.0 %)."
    assert doubts([0.75, 0.25]) == "Of 100 predictions with this confidence, about 25 are wrong."
    assert doubts([0.75, 0.25], calibrated=False) == ""
    assert doubts([0.4, 0.2, 0.2, 0.2]) == "No class has a probability of 50 %: c0 is the most probable of 4."
    assert len(doubts([0.3, 0.3, 0.2, 0.2]).splitlines()) == 2
    assert "generated images only" in doubts([0.97, 0.03], kind="generated")
    assert len(doubts([0.75, 0.25], kind="generated").splitlines()) == 1
    assert doubts([0.97, 0.03], kind="generated", photograph=False) == ""


def test_what_did_not_reach_the_network_is_said(random_run):
    card = models.read_card(random_run(size=32, channels=1))

    def remarks(data):
        return "\n".join(predictions.input_notes(predictions.read_image(data, card), card))

    assert remarks(png((90, 90, 90), (32, 32))) == ""
    assert "the colours of this image are ignored" in remarks(png((200, 30, 30), (32, 32)))
    assert remarks(png((90, 90, 90), (20, 20))) == (
        "The image of 20 × 20 pixels was enlarged to the 32 × 32 of the network."
    )
    assert remarks(png((90, 90, 90), (100, 40))) == (
        "Not square: 60.0 % of the image is outside the centre square, the input of the network."
    )
    file = io.BytesIO()
    frames = [Image.new("L", (32, 32), grey) for grey in (40, 200)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert remarks(file.getvalue()) == "An animation: only its first frame was used."
    assert 30 <= int(predictions.read_image(file.getvalue(), card).pixels.max()) <= 50


def test_the_frame_marks_the_centre_square(save):
    save()
    text = upload(start(), "wide.png", png(size=(80, 40)))
    assert '<i style="left:25.000%;top:0.000%;width:50.000%;height:100.000%"></i>' in text
    assert "<i style=" not in upload(start(), "square.png", png(size=(40, 40)))


THREE = {  # resize -> colours of the left end and of the middle of the network's input, text of the page, note
    "crop": ((220, 30, 30), (220, 30, 30), "the centre square", "50.0 % of the image is outside the centre square"),
    "squash": ((30, 30, 210), (220, 30, 30), "the whole image, squashed to a square", "which distorts its shapes"),
    "pad": ((30, 30, 210), (220, 30, 30), "the whole image, padded to a square", "50.0 % of the input of the network"),
}


@pytest.mark.parametrize("resize", THREE)
def test_the_network_gets_and_the_page_shows_what_the_card_says(save, resize):
    left, middle, text, remark = THREE[resize]
    card = models.read_card(save(resize=resize))
    picture, file = Image.new("RGB", (80, 40), (30, 30, 210)), io.BytesIO()  # red in the middle, blue at both ends
    picture.paste((220, 30, 30), (20, 0, 60, 40))
    picture.save(file, "PNG")
    image = predictions.read_image(file.getvalue(), card)
    assert torch.equal(image.pixels, load_image(file.getvalue(), SIZE, 3, resize))
    row = image.pixels[:, SIZE // 2].T.tolist()
    assert np.abs(np.subtract([row[1], row[SIZE // 2]], [left, middle])).max() <= 3  # near a border of the crop
    assert (image.pixels[:, 0].T[0].tolist() == list(FILL)) == (resize == "pad")
    shown = upload(start(), "wide.png", file.getvalue())
    assert f"16 × 16 pixels of {text}, colour" in shown  # of the run
    assert f"16 × 16 pixels of {text}</figcaption>" in shown  # of the input of the network
    assert remark in shown.replace("&nbsp;", " ")
    assert ("<i style=" in shown) == (resize == "crop")


def test_small_pictures_are_enlarged_by_their_shorter_side_unless_padded(random_run):
    for resize, enlarged in (("crop", True), ("squash", True), ("pad", False)):
        card = models.read_card(random_run(size=32, resize=resize))
        notes = predictions.input_notes(predictions.read_image(png(size=(40, 20)), card), card)
        assert any("was enlarged" in note for note in notes) == enlarged


def test_a_picture_is_turned_as_its_camera_says(save):
    save()
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (40, 20), (220, 30, 30)).save(file, "JPEG", exif=exif)
    assert "20 × 40 pixels" in upload(start(), "turned.jpg", file.getvalue())


# ------------------------------------------------------------------ malicious uploads
def claims(width, height):
    """A PNG of a few bytes whose header says that it is huge."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


REFUSED = {
    "text.jpg": (b"only words\n" * 50, "not an image but text"),
    "page.png": (b"<html><script>alert(1)</script>", "not an image but an HTML page"),
    "cut.jpg": (png(size=(200, 200), kind="JPEG")[:-300], "truncated JPEG: the file ends before the picture does"),
    "huge.png": (claims(20_000, 10_000), "more than the limit of 80,000,000"),
    "empty.png": (b"", "zero bytes"),
    "zip.png": (b"PK\x03\x04" + bytes(60), "not an image but a zip archive"),
    "long.png": (png() + bytes(predictions.MAX_BYTES), "25.0 MB are more than the limit of 25 MB"),
    "noise.gif": (b"GIF89a" + bytes(range(256)), "GIF"),
}


def test_each_broken_file_gets_one_line_and_the_next_picture_an_answer(save):
    save()
    app = start()
    for name, (data, reason) in REFUSED.items():
        text = upload(app, name, data)
        (line,) = re.findall(r'<div class="q note" role="alert">.*?</div>', text)
        assert f"<b>{name} cannot be used:</b>" in line
        assert reason in line
        assert "PICTURE" not in text
        assert '<p class="class">red' in upload(app, "good.png", png())


def test_names_of_files_classes_and_runs_are_never_html(save):
    save(name="runs/<b>x", classes=("<script>1</script>", "<img src=x>", "&amp;"), data={"name": "<u>", "kind": "real"})
    app = start()
    for data in (png(), b"text"):
        text = upload(app, EVIL, data)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in text
        for tag in ("<script", "<img src=x", "<b>x", "<u>"):
            assert tag not in text
    assert markup.words("a\x1b[31m\nb\u202ec") == "a [31m b c"
    assert len(markup.words("x" * 1000)) == 300


def test_no_foreign_text_reaches_an_element_that_reads_markdown(save):
    save(name="runs/![x](http:__e.example_x.png)")
    (paths.BUILD / "runs" / "**torn**").mkdir()
    (paths.BUILD / "runs" / "**torn**" / "card.json").write_text("{")
    app = start()
    upload(app, "![x](http://e.example/x.png)", b"no picture")
    for kind in ("markdown", "error", "warning", "info", "success", "title", "header", "subheader", "caption"):
        assert not getattr(app, kind)


def test_the_page_writes_no_file(save):
    save()
    app = start()
    upload(app, "first.png", png())  # whatever loads on first use has loaded
    opened, watching = [], [True]

    def watch(event, arguments):
        if watching and event == "open" and isinstance(arguments[2], int) and arguments[2] & 3:
            opened.append(arguments)

    sys.addaudithook(watch)
    try:
        before = sorted(paths.BUILD.rglob("*"))
        upload(app, "large.png", png((30, 220, 30), (3000, 1000)))
        upload(app, "broken.png", b"text")
        assert sorted(paths.BUILD.rglob("*")) == before
    finally:
        watching.clear()
    assert opened == []


def test_the_server_keeps_uploads_in_memory(monkeypatch):
    from starlette.formparsers import MultiPartParser

    monkeypatch.setattr(MultiPartParser, "spool_max_size", MultiPartParser.spool_max_size)
    assert MultiPartParser.spool_max_size < server.SERVER_MAX_BYTES
    server.keep_uploads_in_memory()
    assert MultiPartParser.spool_max_size > server.SERVER_MAX_BYTES + 2**20  # above the server's own limit


# ------------------------------------------------------------------ which runs
def test_runs_are_found_at_any_depth_newest_first_and_broken_ones_are_named(save, random_run):
    random_run(name="backbones/deep/er/one", classes=("a", "b"))
    save(name="runs/good", validation={"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 96})
    torn = save(name="runs/torn") / "weights.safetensors"
    torn.write_bytes(torn.read_bytes()[:-100])
    (save(name="runs/no-weights") / "weights.safetensors").unlink()
    (save(name="runs/no-card") / "card.json").unlink()
    (save(name="runs/no-json") / "card.json").write_text("{'a'")
    random_run(name="runs/alone", classes=("only",))
    save(name="runs/cold", temperature=-1)
    save(name="runs/shapeless", resize="round")
    save(name="runs/good/checkpoints/9")
    save(name="cache/x")
    for name in ("a", "b"):
        (paths.BUILD / "runs" / name).mkdir()
    runs, broken = find_runs(paths.BUILD)
    assert [run.name for run in runs] == ["runs/good", "backbones/deep/er/one"]
    assert str(accuracy_of(runs[0].card)) == "50.0 % [40.0, 60.0]"
    reasons = dict(broken)
    expected = {
        "torn": "damaged or truncated",
        "no-weights": "there is no weights.safetensors",
        "no-card": "no card.json",
        "no-json": "is not JSON",
        "alone": "only the class",
        "cold": "temperature must be a positive number",
        "shapeless": "unknown resize 'round'",
    }
    assert {name.removeprefix("runs/") for name in reasons} == set(expected)
    for name, reason in expected.items():
        assert reason in reasons[f"runs/{name}"]
    app = start()
    assert list(app.selectbox(key="run").options) == ["runs/good", "backbones/deep/er/one"]
    assert "validation accuracy 50.0 % [40.0, 60.0]".replace(" ", "\xa0") in shown(app)
    assert all(f"<b>runs/{name}</b>" in shown(app) for name in expected)
    assert '<p class="class">red' in upload(app, "p.png", png())


def test_without_a_run_the_page_says_which_command_makes_one(own_folders):
    text = shown(start())
    (command,) = re.findall(r"<code>\.venv/bin/imgcls (.*?)</code><br>", text)
    assert command.split()[0] == "train"
    assert command.split()[1] in available()
    assert models.minimum_size(command.split()[3]) > 0
    assert "one folder of images for each class" in text


def test_exchanged_weights_are_refused_when_asked_and_a_run_trained_anew_is_read_anew(save, random_run):
    run = save()
    app = start()
    assert '<p class="class">red' in upload(app, "p.png", png())
    other = random_run()
    (run / "weights.safetensors").write_bytes((other / "weights.safetensors").read_bytes())
    shutil.rmtree(other)
    text = upload(app, "p.png", png())
    assert "runs/colours fails:" in text
    assert "is not the file that card.json was written for" in text
    card = json.loads((run / "card.json").read_text())
    (run / "card.json").write_text(json.dumps(card | {"image_size": 0}))
    assert "must be a positive int, not 0" in upload(app, "p.png", png())
    save(classes=("rot", "gruen", "blau"))
    app.run()  # without any run that can answer, the page asked for none
    assert '<p class="class">rot' in upload(app, "p.png", png())


# ------------------------------------------------------------------ examples
def test_examples_are_the_test_images_of_the_run_s_own_data():
    classes = menagerie.subsets()["cats_dogs"].classes
    rendered = examples("menagerie/cats_dogs", classes, 32)
    truth = menagerie.generate("cats_dogs", "test", 0, 6, image_size=32)
    assert [name for name, own, _ in rendered if own] == [classes[label] for label in truth.labels]
    for image, (_, _, data) in zip(truth.images, rendered, strict=False):
        assert torch.equal(load_image(data, 32, 3, "crop"), image)
    unknown = [name for name, own, _ in rendered if not own]
    assert len(unknown) == 2
    assert set(unknown) <= set(UNKNOWN_CLASSES) - set(classes)


def test_examples_of_foreign_data_share_its_classes_or_are_unknown():
    assert {name for name, own, _ in examples("pets.zip", ("Cats", "Dogs"), 16) if own} == {"cat", "dog"}
    assert [own for _, own, _ in examples("x", ("screw", "nail"), 16)] == [False, False]
    assert [own for _, own, _ in examples("menagerie/cats_dogs", ("screw", "nail"), 16)] == [False, False]
    many = examples("menagerie/source", menagerie.subsets()["source"].classes, 16)
    assert len({name for name, own, _ in many if own}) == 6
    for subset in menagerie.subsets().values():  # there is an unknown image for each
        assert sum(name not in subset.classes for name in UNKNOWN_CLASSES) >= 2
    assert all(name not in menagerie.subsets()["source"].classes for name, own, _ in many if not own)


def test_an_example_is_answered_on_the_page(random_run):
    random_run(classes=("cat", "dog"), data={"name": "menagerie/cats_dogs", "kind": "generated"})
    app = start()
    app.segmented_control(key="source").set_value(page.EXAMPLE).run()
    assert "Input of the network" not in shown(app)
    app.button(key="example 1").click().run()
    assert not app.exception
    text = shown(app)
    assert "example: dog, 16 × 16 pixels" in text
    assert "generated images only" not in text  # as this one is


def test_runs_elsewhere_are_found_as_given_or_as_trained_last(save, own_folders, tmp_path, monkeypatch):
    run = save(name="../elsewhere/run")
    assert find_runs(paths.BUILD) == ([], [])
    paths.remember_run(run)
    paths.remember_run(own_folders / "gone")
    assert [found.resolve() for found in paths.remembered_runs()] == [run.resolve()]
    for others in (paths.remembered_runs(), [run.parent], [run.parent, run]):
        (found,), broken = find_runs(paths.BUILD, others)
        assert (found.folder.resolve(), broken) == (run.resolve(), [])
    app = start()
    assert app.selectbox(key="run").options == [str(run.resolve())]
    with pytest.raises(ValueError, match="there is no folder /no/where"):
        server.serve(folders=[Path("/no/where")])


# ------------------------------------------------------------------ the server
def test_the_server_listens_here_alone_and_tells_nobody(monkeypatch, capsys):
    from streamlit import config
    from streamlit.web import cli as streamlit

    given = []
    monkeypatch.setattr(streamlit, "main", lambda arguments, **_: given.extend(arguments))
    monkeypatch.setattr(server, "keep_uploads_in_memory", lambda: None)
    server.serve(folders=[Path("/")], port=8123, headless=True)
    assert given[-2:] == ["--", "/"]
    del given[-2:]
    assert given[:2] == ["run", str(Path(page.__file__))]
    options = dict(argument.removeprefix("--").split("=", 1) for argument in given[2:])
    assert options["server.address"] == "localhost"
    assert options["browser.gatherUsageStats"] == "false"
    assert (options["server.port"], options["server.headless"]) == ("8123", "true")
    assert options["logger.hideWelcomeMessage"] == "true"  # which advertises
    assert capsys.readouterr().out == "page: http://localhost:8123 (Ctrl-C stops the server)\n"
    assert set(options) <= set(config.get_config_options())
    assert not re.search(r"https?://|url\(|@import", json.dumps(options) + page.STYLE.read_text())


def test_a_port_in_use_is_not_taken(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        monkeypatch.setattr(server, "FIRST_PORT", taken.getsockname()[1])
        assert server.free_port() > server.FIRST_PORT


def test_no_advertisement_reaches_the_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # of a user who has never started Streamlit
    monkeypatch.setenv("BROWSER", "true")  # opens nothing
    monkeypatch.setenv("IMGCLS_ROOT", str(tmp_path))
    with (tmp_path / "said.txt").open("w") as said:
        served = subprocess.Popen([sys.executable, "-u", "-m", "imgcls.app"], stdout=said, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 60
        while not (address := re.search(r"http://localhost:\d+", (tmp_path / "said.txt").read_text())):
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.1)
        wait_for_server(f"{address[0]}/_stcore/health")
    finally:
        served.terminate()
        served.wait(60)
    assert "streamlit" not in (tmp_path / "said.txt").read_text().lower()


# ------------------------------------------------------------------ a real browser
def sixteen_bit(pixels):
    """A PNG of uint16 (H, W, 3), which Pillow cannot write."""
    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    )


# Every file that the server opens for writing goes into a list.
WATCHED = """
import sys
log = open(sys.argv.pop(1), "w")
def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & 3:
        log.write(repr(arguments) + chr(10))
        log.flush()
sys.addaudithook(watch)
import typer
from imgcls.app.__main__ import serve
typer.run(serve)
"""


@needs_browser
def test_in_a_real_browser(save, tmp_path, monkeypatch):
    save(temperature=1.5)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    noise = np.random.default_rng(0).integers(0, 90, (1200, 1000, 3), dtype=np.uint8)  # megabytes as a PNG
    Image.fromarray(noise + np.array([120, 0, 0], np.uint8)).save(tmp_path / "red.png")
    assert (tmp_path / "red.png").stat().st_size > 2 * 2**20
    for name in ("text.jpg", "huge.png", "cut.jpg"):
        (tmp_path / name).write_bytes(REFUSED[name][0])
    plain = Image.new("RGB", (40, 30), (220, 30, 30))
    plain.save(tmp_path / "moving.gif", save_all=True, append_images=[Image.new("RGB", (40, 30), (30, 30, 220))])
    plain.convert("CMYK").save(tmp_path / "cmyk.jpg")
    deep = np.full((30, 40, 3), (56_000, 8_000, 8_000), np.uint16)
    (tmp_path / "deep.png").write_bytes(sixteen_bit(deep))
    monkeypatch.setenv("IMGCLS_ROOT", str(tmp_path))
    command = [sys.executable, "-c", WATCHED, str(tmp_path / "written.txt"), "--headless", "--port", str(port)]
    served = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_server(f"http://localhost:{port}/_stcore/health")
        with chromium() as browser:
            use_in_browser(browser, f"http://localhost:{port}/", tmp_path)
    finally:
        served.terminate()
        served.wait(60)
    lines = (tmp_path / "written.txt").read_text().splitlines()
    written = [line for line in lines if ".pyc" not in line and "/dev/null" not in line]
    assert written == []


def wait_for_server(address, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            return urllib.request.urlopen(address).read()
        except OSError:
            assert time.monotonic() < end, f"{address} did not answer"
            time.sleep(0.1)


def use_in_browser(browser, address, folder):
    """Upload files, bad ones first, and look at the page in both widths and themes."""
    page = browser.new_context(**screen(1280)).new_page()
    requested = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(address)
    see(page, "What is in this image?", "About this run", seconds=60)
    for name in ("text.jpg", "huge.png", "cut.jpg"):
        page.set_input_files("input[type=file]", folder / name)
        see(page, f"{name} cannot be used: ", REFUSED[name][1])
    answer = re.compile(r"Prediction\s+red\s+[\d.]+ % probable")
    page.set_input_files("input[type=file]", folder / "red.png")
    see(page, "red.png, 1,000 × 1,200 pixels", "Regions for “red”", answer)
    pictures = "[...document.querySelectorAll('.views img')].map(i => i.complete && i.naturalWidth).join()"
    page.wait_for_function(f"{pictures} === '533,320,320'")
    widths = page.evaluate("[...document.querySelectorAll('.fill')].map(e => e.getBoundingClientRect().width)")
    assert len(widths) == 3
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 100
    for name in ("moving.gif", "cmyk.jpg", "deep.png"):
        page.set_input_files("input[type=file]", folder / name)
        see(page, f"{name}, 40 × 30 pixels", "Regions for “red”", answer)
    page.set_viewport_size(screen(390)["viewport"])
    for scheme, paper in (("light", "rgb(253, 252, 250)"), ("dark", "rgb(21, 24, 27)")):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"{PAPER} === '{paper}'")
        assert 300 < page.evaluate(RIGHT) <= 390
    assert [url for url in requested if not re.match(rf"data:|blob:|{address}", url)] == []


def see(page, *texts, seconds=20):
    """Wait until the page shows each text."""
    from playwright.sync_api import expect

    for text in texts:
        expect(page.locator("body")).to_contain_text(text, use_inner_text=True, timeout=1000 * seconds)


INSIDE = "[...document.querySelectorAll('.q, .q img, .q p, .q li, .q span')]"
RIGHT = f"Math.max(...{INSIDE}.map(e => e.getBoundingClientRect().right))"
PAPER = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
