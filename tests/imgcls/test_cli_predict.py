"""`imgcls predict` against `imgcls.data.load` + `evaluation.predict`, closed forms and planted faults."""

import csv
import importlib
import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_data import odd_pictures

import imgcls.data
from imgcls import cli, evaluation, models, paths, training, transforms

CLASSES = ("cat", "dog", "fox")
COLUMNS = ["image", "class", "confidence", "runner_up", "runner_up_confidence"]
EXACT = 1e-2  # of a probability: sums of bfloat16 depend on what else is in the batch
command = importlib.import_module("imgcls.cli.predict")  # by its name, for the package may call the function so too


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")


@pytest.fixture
def a_run(tmp_path):
    """Makes a run folder whose network has random weights and says every class."""

    def make(size=16, channels=3, classes=CLASSES, bias=None, **facts):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = models.create_model("simple_cnn", len(classes), channels, image_size=size)
            noise = torch.randint(0, 256, (60, channels, size, size), dtype=torch.uint8)
        model.normalize.fit(noise)
        with torch.no_grad():
            head = models.head(model)
            head.weight.mul_(20)
            head.bias.sub_(model.eval()(noise).mean(dim=0))
            if bias is not None:
                head.weight.zero_()
                head.bias.copy_(torch.tensor(bias))
        return models.save(model, tmp_path / f"run-{size}-{channels}", classes, **facts)

    return make


@pytest.fixture
def photos(tmp_path):
    """Pictures of every kind, three of each, in folders as a data set has them."""
    for name, data in odd_pictures().items():
        for i in range(3):
            file = tmp_path / "photos" / name.partition(".")[0] / f"{i}-{name}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    return tmp_path / "photos"


@pytest.fixture
def ask(monkeypatch, capfd):
    """Runs the command as a user does: (exit status, stdout, stderr)."""

    def call(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["imgcls", "predict", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capfd.readouterr()

    return call


def write(path, colour=(200, 30, 30), size=(20, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def expected(run, folder, size, channels, resize):
    """What the library says of every file of a folder: name -> probabilities."""
    model, card = models.load(run)
    found = {}
    for _, split in imgcls.data.load(folder, image_size=size, channels=channels, resize=resize).items():
        if not len(split):  # three pictures of a class are too few for one in each split
            continue
        answers = evaluation.predict(model, replace(split, classes=CLASSES)).with_temperature(
            card.get("temperature", 1.0)
        )
        found |= {str(folder / name): shares for name, shares in zip(split.names, answers.probabilities, strict=True)}
    return found


# ------------------------------------------------------------------ the same answers as in training
@pytest.mark.parametrize(
    ("size", "channels", "facts"),
    [
        (16, 3, {"temperature": 2.5}),  # a card of earlier runs, without resize
        (24, 1, {"resize": "crop"}),
        (16, 3, {"resize": "squash"}),
        (16, 3, {"resize": "pad", "temperature": 0.5}),
    ],
)
def test_answers_are_those_of_the_library_on_the_pixels_of_a_data_set(
    size, channels, facts, a_run, photos, ask, monkeypatch
):
    run, resize = a_run(size, channels, **facts), facts.get("resize", "crop")
    pixels = {}
    load_image = imgcls.data.load_image
    monkeypatch.setattr(
        imgcls.data, "load_image", lambda source, *shape: pixels.setdefault(source, load_image(source, *shape))
    )
    code, out, err = ask(run, photos, "--format", "json", "--batch-size", 5)
    assert (code, err) == (0, "")
    for _, split in imgcls.data.load(photos, image_size=size, channels=channels, resize=resize).items():
        for name, image in zip(split.names, split.images, strict=True):
            assert torch.equal(pixels[str(photos / name)], image), name
    records, truth = json.loads(out), expected(run, photos, size, channels, resize)
    assert [record["image"] for record in records] == sorted(truth)
    for record in records:
        assert list(record) == [*COLUMNS, "probabilities"]
        shares = truth[record["image"]]
        assert list(record["probabilities"]) == list(CLASSES)
        assert list(record["probabilities"].values()) == pytest.approx(shares.tolist(), abs=EXACT)
        first, second, _ = sorted(record["probabilities"].items(), key=lambda item: -item[1])
        assert record["class"] == first[0]
        assert shares[CLASSES.index(first[0])] >= shares.max() - EXACT  # the same class unless both are as good
        assert (record["confidence"], record["runner_up"], record["runner_up_confidence"]) == (first[1], *second)
    assert len({record["class"] for record in records}) > 1


def test_confidence_is_the_softmax_of_logits_over_the_temperature(a_run, photos, ask):
    run = a_run(bias=[1.0, 3.0, 2.0], temperature=2.0)
    _, out, _ = ask(run, next(photos.rglob("*.png")), "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(out))
    shares = (torch.tensor([1.0, 3.0, 2.0]) / 2).softmax(0).tolist()
    assert (row["class"], row["runner_up"]) == ("dog", "fox")
    assert float(row["confidence"]) == pytest.approx(shares[1], abs=1e-6)
    assert float(row["runner_up_confidence"]) == pytest.approx(shares[2], abs=1e-6)
    assert all(len(row[key].partition(".")[2]) >= 4 for key in ("confidence", "runner_up_confidence"))


def test_of_equal_classes_the_first_wins_as_in_the_library(a_run, photos, ask):
    _, out, _ = ask(a_run(bias=[0.0, 1.0, 1.0]), next(photos.rglob("*.png")), "--format", "json")
    (record,) = json.loads(out)
    assert (record["class"], record["runner_up"]) == ("dog", "fox")


def test_an_old_run_does_not_follow_new_defaults(a_run, photos, ask, monkeypatch):
    run = a_run(24, 1, temperature=1.5)
    before = ask(run, photos, "--format", "csv")

    def refuse(*_, **__):
        raise AssertionError("predicting asked for a setting of training")

    monkeypatch.setattr(training.Recipe, "__init__", refuse)
    monkeypatch.setattr(transforms, "apply", refuse)
    monkeypatch.setattr(imgcls.data, "load", refuse)
    for name in ("RandomCrop", "RandomHorizontalFlip"):
        monkeypatch.setattr(getattr(transforms, name), "__init__", refuse)
    assert imgcls.data.load_image.__defaults__ is None  # there is no default that could change
    assert ask(run, photos, "--format", "csv") == before
    assert before[0] == 0
    assert len(before[1].splitlines()) == 28


# ------------------------------------------------------------------ which pictures
def test_files_folders_patterns_and_lists_are_answered_once_each(a_run, tmp_path, ask, monkeypatch):
    run = a_run()
    names = ["b/2.png", "b/1.JPG", "a.webp", "c[1].png", "b/.hidden.png", ".secret/d.png"]
    for name in names:
        write(tmp_path / "in" / name)
    monkeypatch.chdir(tmp_path / "in")

    def answered(*arguments, **options):
        code, out, err = ask(run, *arguments, "--format", "csv", **options)
        assert (code, err) == (0, "")
        return [row["image"] for row in csv.DictReader(io.StringIO(out))]

    inside = ["a.webp", "b/1.JPG", "b/2.png", "c[1].png"]
    assert answered(".") == inside
    assert answered("b") == inside[1:3]
    assert answered("**/*.png") == ["b/2.png", "c[1].png"]
    assert answered("c[1].png") == ["c[1].png"]  # a file of that name comes before the pattern
    assert answered("b/.hidden.png") == ["b/.hidden.png"]  # named, so meant
    assert answered("c[1].png", "./b/2.png", ".", tmp_path / "in" / "b", "b/../a.webp") == [
        "c[1].png", "./b/2.png", "a.webp", "b/1.JPG",
    ]  # fmt: skip
    assert answered("-", stdin=b"b/2.png\r\na.webp\n\nb/2.png\n") == ["b/2.png", "a.webp"]
    assert answered("-", stdin=b"b\na.webp") == ["b/1.JPG", "b/2.png", "a.webp"]


def test_every_file_of_a_folder_is_classified_or_named_whatever_it_is_called(a_run, tmp_path, ask):
    folder, run = tmp_path / "in", a_run()
    write(folder / "a.png")
    for name in ("portrait", "scan.jp2", "photo.heif.bak"):  # pictures by content
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    (folder / "b.heif").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    (folder / "notes.txt").write_text("no picture")
    code, out, err = ask(run, folder, "--format", "csv")
    assert code == 1
    assert [Path(row["image"]).name for row in csv.DictReader(io.StringIO(out))] == [
        "a.png", "photo.heif.bak", "portrait", "scan.jp2",
    ]  # fmt: skip
    assert "b.heif: not an image but a HEIC photograph" in err
    assert "notes.txt: not an image but text" in err
    assert "2 of 6 images were not classified" in err


@pytest.mark.parametrize("name", ["rgb.png", "palette.gif", "rgba.webp", "turned.jpg"])
def test_a_picture_may_come_through_a_pipe(name, a_run, tmp_path, ask):
    run, data = a_run(), odd_pictures()[name]
    (tmp_path / name).write_bytes(data)
    (piped,), (filed,) = (
        json.loads(ask(run, argument, "--format", "json", stdin=data)[1]) for argument in ("-", tmp_path / name)
    )
    assert piped == filed | {"image": "-"}


def test_a_name_that_is_no_text_or_holds_commands_for_the_terminal(a_run, tmp_path, ask):
    run = a_run()
    odd = [os.fsdecode(b"caf\xe9.png"), "red\x1b[31m,\n.png"]
    try:
        for name in odd:
            write(tmp_path / "in" / name)
    except OSError:
        pytest.skip("this file system takes no such names")
    code, out, _ = ask(run, tmp_path / "in")
    assert code == 0
    assert "\x1b" not in out
    assert len(out.splitlines()) == 3
    assert {record["image"] for record in json.loads(ask(run, tmp_path / "in", "--format", "json")[1])} == {
        str(tmp_path / "in" / name) for name in odd
    }
    assert ask(run, tmp_path / "in", "--format", "csv")[0] == 0
    row = dict.fromkeys(COLUMNS, 0.5) | {"image": odd[0]}
    assert command.as_csv([row], False).startswith(b"caf\xe9.png,")  # byte for byte, so that it can be opened again


# ------------------------------------------------------------------ what is printed
def test_the_table_is_aligned_and_long_paths_lose_their_middle(a_run, tmp_path, ask, monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    run = a_run(bias=[5.0, 0.0, 0.0])
    write(tmp_path / "a-folder-with-a-very-long-name-that-no-terminal-has-room-for" / "picture.png")
    write(tmp_path / "b.png")
    code, out, _ = ask(run, *sorted(tmp_path.glob("**/*.png")), "--batch-size", 1)
    assert code == 0
    head, *rows = out.splitlines()
    assert head.split() == ["image", "class", "confidence", "runner-up", "confidence"]
    assert {len(line) for line in (head, *rows)} == {72}
    assert len(rows) == 2
    share = f"{100 * torch.tensor([5.0, 0, 0]).softmax(0)[0]:.1f} %"
    for row in rows:
        assert row[head.index("class") :].startswith("cat ")
        assert row[: head.index("runner-up")].rstrip().endswith(share)
    assert "…" in rows[0]
    assert "picture.png " in rows[0]


def test_shortening_keeps_what_fits_and_cuts_to_the_width():
    assert command.shorten("0123456789", 10) == "0123456789"
    assert command.shorten("0123456789x", 10) == "012…56789x"


def test_unreadable_pictures_are_named_and_the_rest_is_answered(a_run, tmp_path, ask):
    run = a_run()
    good = write(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "page.jpg").write_text("<html>")
    (tmp_path / "in" / "cut.png").write_bytes(odd_pictures()["rgb.png"][:-200])
    code, out, err = ask(run, tmp_path / "in", tmp_path / "gone.png", "--format", "csv")
    assert code == 1
    assert [row["image"] for row in csv.DictReader(io.StringIO(out))] == [str(good)]
    assert f"{tmp_path / 'in' / 'page.jpg'}: not an image but an HTML page" in err
    assert "cut.png: truncated PNG" in err
    assert "gone.png: no such file or folder" in err
    assert "3 of 4 images were not classified" in err

    code, out, _ = ask(run, tmp_path / "in", "--format", "json", "--batch-size", 1)
    assert code == 1
    cut, answered, page = json.loads(out)
    assert page == {"image": str(tmp_path / "in" / "page.jpg"), "error": "not an image but an HTML page"}
    assert cut.keys() == {"image", "error"}
    assert answered["image"] == str(good)

    code, out, err = ask(run, tmp_path / "in" / "page.jpg", "--format", "json")
    assert code == 2
    assert [list(record) for record in json.loads(out)] == [["image", "error"]]
    assert "none of the 1 images could be classified" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("RUN", "in/god.png"), "'in/god.png': no such file or folder, did you mean 'good.png'?"),
        (("RUN", "empty", "in/*.gif"), "'empty': no file in this folder"),
        (("RUN", "in/*.gif"), "'in/*.gif': no file matches"),
        (("RUN", "-"), "there is nothing on standard input"),
        (("RUN", "in", "--format", "tabel"), "did you mean 'table'?"),
        (("RUN", "in", "--batch-size", "0"), "Invalid value for '--batch-size'"),
        (("RUN", "in", "--cam-dir", "in/good.png"), "is a file; name a folder"),
        (("nowhere", "in"), "no card.json in nowhere"),
        (("RUN",), "Missing argument"),
    ],
)
def test_wrong_requests_are_said_in_a_line(arguments, message, a_run, tmp_path, ask, monkeypatch):
    write(tmp_path / "in" / "good.png")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    code, out, err = ask(*(a_run() if argument == "RUN" else argument for argument in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"temperature": 0}, "temperature must be a positive number, not 0"),
        ({"resize": "padd"}, "unknown resize 'padd'; did you mean 'pad'?"),
        ({"classes": ("cat",), "bias": [1.0]}, "only the class"),
        ({"bias": [float("nan"), 0.0, 0.0]}, "are not finite"),
    ],
)
def test_runs_that_cannot_answer_are_refused(facts, message, a_run, tmp_path, ask):
    code, _, err = ask(a_run(**facts), write(tmp_path / "in" / "good.png"))
    assert code == 2
    assert message in err


# ------------------------------------------------------------------ many pictures
def test_many_pictures_pass_through_in_batches_and_print_as_they_come(a_run, tmp_path, ask, monkeypatch):
    run, names = a_run(), [f"{i}.png" for i in range(40)]
    read, printed = [], []
    batches = command.predict_batch

    def load_image(source, size, channels, resize):
        read.append(source)
        return torch.full((channels, size, size), 100, dtype=torch.uint8)

    def answers(model, batch, *rest):
        assert len(batch) == 4
        printed.append(len(read))
        return batches(model, batch, *rest)

    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / name).touch()
    monkeypatch.setattr(imgcls.data, "load_image", load_image)
    monkeypatch.setattr(command, "predict_batch", answers)
    monkeypatch.setattr(command, "PROGRESS_FROM", 39)
    code, out, err = ask(run, tmp_path / "in", "--batch-size", 4)
    assert code == 0
    assert out.count("confidence") == 2  # one header
    assert len(out.splitlines()) == 41
    assert printed == [4 * (k + 1) for k in range(10)]  # a batch is decoded when it is its turn
    assert err == "40 of 40 images classified\n"


# ------------------------------------------------------------------ explanations
def test_overlays_have_names_of_their_own_and_nothing_is_written_over(a_run, tmp_path, ask, monkeypatch):
    run = a_run()
    one, two, three = (write(tmp_path / name) for name in ("in/cat/1.png", "in/dog/1.png", "in/dog/1.jpg"))
    before = {path: path.read_bytes() for path in (one, two, three)}
    code, out, err = ask(run, tmp_path / "in", "--cam-dir", tmp_path / "new" / "out", "--format", "json")
    assert (code, err) == (0, "")
    overlays = [record["overlay"] for record in json.loads(out)]
    assert [Path(path).name for path in overlays] == ["1.png", "dog-1.png", "dog-1-2.png"]
    with Image.open(overlays[0]) as drawn:
        assert drawn.format == "PNG"
        left, right = drawn.convert("RGB").getpixel((20, 20)), drawn.convert("RGB").getpixel((drawn.width - 20, 20))
    assert left == pytest.approx((200, 30, 30), abs=8)  # the picture, and beside it something else
    assert right != pytest.approx((200, 30, 30), abs=8)
    code, *_ = ask(run, two, "--cam-dir", two.parent)
    assert code == 0
    assert sorted(path.name for path in two.parent.iterdir()) == ["1.jpg", "1.png", "dog-1.png"]
    assert {path: path.read_bytes() for path in before} == before


def test_the_overlay_is_the_map_of_the_predicted_class(a_run, photos, ask, monkeypatch, tmp_path):
    from imgcls import explain, plots

    asked, drawn = [], []
    grad_cam = explain.grad_cam

    def mapped(model, images, targets, **options):
        asked.append((images, targets))
        return grad_cam(model, images, targets, **options)

    monkeypatch.setattr(explain, "grad_cam", mapped)
    monkeypatch.setattr(plots, "cam_grid", lambda *arguments, columns: drawn.append(arguments))
    monkeypatch.setattr(plots, "save", lambda figure, path: path)
    run = a_run()
    _, out, _ = ask(run, photos, "--format", "json", "--cam-dir", tmp_path / "out")
    records, model = json.loads(out), models.load(run)[0]
    (images, targets), *_ = asked
    assert [CLASSES[k] for k in targets] == [record["class"] for record in records]
    maps = grad_cam(model, images, [CLASSES.index(record["class"]) for record in records])
    for (image, cam, (title,)), original, truth, record in zip(drawn, images, maps, records, strict=True):
        assert torch.equal(image[0], original)
        assert torch.allclose(cam[0], truth, atol=1e-5)
        assert title == f"{record['class']}, {100 * record['confidence']:.0f} %"


# ------------------------------------------------------------------ more classes, unknown inputs, a file
def test_top_k_unknown_and_all_probabilities_in_a_file(tmp_path, a_run, ask):
    pictures = [write(tmp_path / f"{i}.png", colour=(i * 60, 200 - i * 60, 90)) for i in range(4)]
    model, _ = models.load(a_run())
    energies = model(torch.stack([imgcls.data.load_image(path, 16, 3, "crop") for path in pictures])).logsumexp(dim=1)
    limit = float(energies.detach().sort().values[1:3].mean())  # two of four reach it
    run = a_run(known={"score": "energy", "threshold": limit, "keeps": 0.95})
    out = tmp_path / "new" / "p.csv"
    code, table, err = ask(run, *pictures, "--top-k", 3, "--unknown", "--probabilities", "--out", out)
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert list(rows[0]) == [
        *COLUMNS, "class_3", "confidence_3", "known", "p(cat)", "p(dog)", "p(fox)"
    ]  # fmt: skip
    known = (energies >= limit).tolist()
    assert known.count(True) == 2
    for row, reaches, line in zip(rows, known, table.splitlines()[1:], strict=True):
        shares = {name: float(row[f"p({name})"]) for name in CLASSES}
        ranked = sorted(shares, key=shares.get, reverse=True)
        assert row["class"] == (ranked[0] if reaches else "unknown")
        assert (row["runner_up"], row["class_3"]) == (ranked[1], ranked[2])
        assert float(row["confidence_3"]) == shares[ranked[2]]
        assert row["known"] == str(reaches)
        assert [word for word in line.split() if word in (*CLASSES, "unknown")] == [row["class"], *ranked[1:]]
    assert ask(run, *pictures, "--out", tmp_path / "p.json")[0] == 0
    records = json.loads((tmp_path / "p.json").read_text())
    assert [record["known"] for record in records] == known
    assert "unknown" not in {record["class"] for record in records}


def test_a_card_without_a_threshold_knows_no_unknown(tmp_path, a_run, ask):
    code, _, err = ask(a_run(), write(tmp_path / "a.png"), "--unknown")
    assert code == 2
    assert "--unknown needs a threshold" in err
    assert ask(a_run(), tmp_path / "a.png", "--out", tmp_path / "p.txt")[2].endswith("ends in .csv or .json\n")


def test_a_file_of_predictions_is_whole_or_absent(tmp_path, a_run, monkeypatch):
    monkeypatch.setattr(evaluation, "predict_checked", lambda *_: 1 / 0)
    picture, out = write(tmp_path / "a.png"), tmp_path / "p.csv"
    monkeypatch.setattr(sys, "argv", ["imgcls", "predict", str(a_run()), str(picture), "--out", str(out)])
    with pytest.raises(ZeroDivisionError):
        cli.main()
    assert not list(tmp_path.glob("*p.csv*"))


@pytest.mark.parametrize(
    ("best", "shares", "ranked"),
    [
        (("c", "b"), {"a": 0.0, "b": 0.0, "c": 1.0, "d": 0.0}, "cbad"),  # the logits of b are above those of a
        (("b", "a"), {"a": 0.5, "b": 0.5}, "ba"),
        (("unknown", "a"), {"a": 0.3, "b": 0.2, "c": 0.5}, "cab"),
        (("a", "c"), {"a": 0.6, "b": 0.1, "c": 0.2, "d": 0.1}, "acbd"),
    ],
)
def test_the_first_two_classes_are_those_of_the_logits(best, shares, ranked):
    record = {"class": best[0], "runner_up": best[1], "probabilities": shares}
    assert "".join(name for name, _ in command._top(record)) == ranked
    assert command._top(record, 1) == [(ranked[0], shares[ranked[0]])]
