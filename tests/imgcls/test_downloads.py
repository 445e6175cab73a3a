"""Downloads against a server that stalls, cuts, lies and dies, and sets of the catalogue as they arrive from it."""

import hashlib
import importlib
import io
import json
import pickle
import tarfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10, OxfordIIITPet
from typer.testing import CliRunner

from imgcls import paths
from imgcls.cli import data
from imgcls.data import DataError, UnknownDataset, available, catalogue, download, load
from imgcls.data.download import fetch

downloading = importlib.import_module("imgcls.data.download")  # the function hides the module of its name

BODY = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(BODY).hexdigest()
HALF = len(BODY) // 2


class Handler(BaseHTTPRequestHandler):
    """Answers by the server's `plan`, one entry a request, the last one for ever; honest where it is empty."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.asked.append(self.headers.get("Range"))
        act = server.plan[min(len(server.asked), len(server.plan)) - 1] if server.plan else honest
        act(self, server.files.get(self.path))
        self.close_connection = True

    def log_message(self, *_):
        pass

    def head(self, code, length, **more):
        self.send_response(code)
        for key, value in {"Content-Length": length, **more}.items():
            if value is not None:
                self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()


def honest(self, body, tag='"v1"'):
    if body is None:
        self.head(404, 0)
        return
    wanted = self.headers.get("Range")
    if wanted and self.headers.get("If-Range") in (None, tag):
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(body):
            self.head(416, 0, Content_Range=f"bytes */{len(body)}")
            return
        self.head(206, len(body) - start, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}", ETag=tag)
        self.wfile.write(body[start:])
    else:
        self.head(200, len(body), ETag=tag)
        self.wfile.write(body)


def dies_half_way(self, body):
    """States the whole length, sends a half of what is asked for, and is gone."""
    start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
    end = start + (len(body) - start) // 2
    code, more = (206, {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}) if start else (200, {})
    self.head(code, len(body) - start, ETag='"v1"', **more)
    self.wfile.write(body[start:end])


def an_older_file_dies(self, body):
    self.head(200, len(body), ETag='"v1"')
    self.wfile.write(body[::-1][:HALF])


def stalls(self, body):
    """Sends a half and then nothing, with the line open."""
    self.head(200, len(body), ETag='"v1"')
    self.wfile.write(body[:HALF])
    self.wfile.flush()
    time.sleep(0.8)


def hangs_up(self, body):
    """Not even an answer."""


def busy(self, body):
    self.head(503, 0)


def sorry(self, body):
    page = b"<html>The quota is exceeded</html>"
    self.head(200, len(page), Content_Type="text/html")
    self.wfile.write(page)


def states_less(self, body):
    """Length and contents end early and agree with each other."""
    self.head(200, HALF)
    self.wfile.write(body)


def states_nothing(self, body):
    self.head(200, None, Connection="close")
    self.wfile.write(body)


def knows_no_ranges(self, body):
    self.head(200, len(body), ETag='"v1"')
    self.wfile.write(body)


def sends_another_part(self, body):
    if not self.headers.get("Range"):
        return dies_half_way(self, body)
    self.head(206, HALF, Content_Range=f"bytes 0-{HALF - 1}/{len(body)}", ETag='"v1"')
    self.wfile.write(body[:HALF])
    return None


@pytest.fixture
def server(own_folders, monkeypatch):
    """Where `files` can be fetched from, by the acts of `plan`; `asked` holds the Range of each request."""
    monkeypatch.setattr(downloading, "TIMEOUT", 0.2)
    monkeypatch.setattr(downloading, "PAUSE", 0.01)
    monkeypatch.setattr(downloading, "GAIN", 1000)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    one = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.files, one.plan, one.asked = {"/a.bin": BODY}, [], []
    one.address = f"http://127.0.0.1:{one.server_port}"
    threading.Thread(target=partial(one.serve_forever, poll_interval=0.01), daemon=True).start()
    yield one
    one.shutdown()
    one.server_close()


def left(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# ------------------------------------------------------------------ one file


@pytest.mark.parametrize("plan", [
    [],
    [dies_half_way, honest],
    [dies_half_way, dies_half_way, dies_half_way, honest],
    [stalls, honest],
    [hangs_up, busy, hangs_up, busy, honest],
    [an_older_file_dies, partial(honest, tag='"v2"')],  # halves of two files would make one that nobody has
    [dies_half_way, knows_no_ranges],
    [sends_another_part, sends_another_part, honest],
    [states_nothing],
], ids=lambda plan: "-".join(getattr(act, "__name__", "changed") for act in plan) or "honest")  # fmt: skip
def test_a_file_arrives_whole_through_every_trouble_that_ends(plan, server, tmp_path):
    server.plan = plan
    path = fetch(f"{server.address}/a.bin", tmp_path / "in" / "a.bin", at_least=HALF, md5=MD5)
    assert path.read_bytes() == BODY
    assert left(path.parent) == ["a.bin"]


def test_only_what_is_missing_is_sent_again(server, tmp_path):
    server.plan = [dies_half_way] * 2 + [honest]
    fetch(f"{server.address}/a.bin", tmp_path / "a.bin", md5=MD5)
    assert server.asked == [None, f"bytes={HALF}-", f"bytes={HALF + HALF // 2}-"]


@pytest.mark.parametrize(("plan", "message", "kept"), [
    ([hangs_up], "5 times in a row; 0 bytes are downloaded", 0),
    ([busy], "the server returned 503 Service Unavailable, 5 times in a row", 0),
    ([stalls], "timed out, 5 times in a row; 150,000 bytes are downloaded, and the same command resumes", HALF),
    ([sorry], "the server sends 34 bytes, and it must be 200,000 at least", None),
    ([states_less], "the server sends 150,000 bytes, and it must be 200,000 at least", None),
    ([partial(honest, tag=None)], "has the MD5 .* instead of .*, so it is not the expected file", 0),
], ids=["dead", "busy", "stalled", "sorry", "short", "another"])  # fmt: skip
def test_what_cannot_be_had_is_said_and_gets_no_name(plan, message, kept, server, tmp_path, monkeypatch):
    server.plan = plan
    if plan == [stalls]:  # for ever: each attempt brings nothing new
        monkeypatch.setattr(downloading, "GAIN", 10**9)
        server.plan = [stalls, hangs_up_after_stall]
    body = BODY if kept is None or plan[0] in (hangs_up, busy, stalls) else BODY[::-1]
    server.files["/a.bin"] = body
    with pytest.raises(DataError, match=message):
        fetch(f"{server.address}/a.bin", tmp_path / "a.bin", at_least=200_000, md5=MD5)
    assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin.part").stat().st_size == (kept or 0)


def hangs_up_after_stall(self, body):
    time.sleep(0.4)


def test_a_missing_page_is_no_reason_to_try_again(server, tmp_path):
    with pytest.raises(DataError, match="the server returned 404 Not Found"):
        fetch(f"{server.address}/b.bin", tmp_path / "b.bin")
    assert len(server.asked) == 1


def test_a_second_call_goes_on_where_the_first_was_killed(server, tmp_path, monkeypatch):
    server.plan = [dies_half_way, hangs_up]
    url = f"{server.address}/a.bin"
    monkeypatch.setattr(downloading.time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fetch(url, tmp_path / "a.bin", md5=MD5)
    assert left(tmp_path / ".") == ["a.bin.part", "a.bin.part.tag"]
    server.plan, server.asked[:] = [], []
    assert fetch(url, tmp_path / "a.bin", md5=MD5).read_bytes() == BODY
    assert server.asked == [f"bytes={HALF}-"]
    server.asked.clear()
    fetch(url, tmp_path / "a.bin", md5=MD5)  # there, and right
    assert server.asked == []


def test_a_whole_part_is_not_sent_again(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(BODY)
    (tmp_path / "a.bin.part.tag").write_text('"v1"')
    assert fetch(f"{server.address}/a.bin", tmp_path / "a.bin", md5=MD5).read_bytes() == BODY
    assert server.asked == [f"bytes={len(BODY)}-"]


def test_a_full_disk_is_said_in_one_line_and_the_part_is_kept(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(OSError, match=r"no space left for .*a\.bin in .*; free some space, then try again") as caught:
        fetch(f"{server.address}/a.bin", tmp_path / "a.bin")
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == ["a.bin.part"]


def test_two_at_once_do_not_write_into_one_file(server, tmp_path, monkeypatch):
    begun, refused = threading.Event(), threading.Event()

    def waits(self, body):
        begun.set()
        refused.wait(10)
        honest(self, body)

    server.plan = [waits]
    monkeypatch.setattr(downloading, "TIMEOUT", 10)
    url, target = f"{server.address}/a.bin", tmp_path / "a.bin"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(fetch, url, target, md5=MD5)
        assert begun.wait(10)
        with pytest.raises(DataError, match=r"a\.bin\.part is being downloaded by another process"):
            fetch(url, target)
        refused.set()
        assert first.result().read_bytes() == BODY
    assert server.asked == [None]
    assert left(tmp_path) == ["a.bin"]


# ------------------------------------------------------------------ the sets


def as_tar(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def md5(data):
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def cifar(server, monkeypatch):
    """A CIFAR-10 of twelve pictures, as its authors pack it."""
    rng, names = np.random.default_rng(1), ["airplane", "automobile"]
    batches = {}
    for name, count in (("data_batch_1", 8), ("test_batch", 4)):
        pixels = rng.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
        batches[name] = pickle.dumps({"data": pixels, "labels": [i % 2 for i in range(count)]})
    batches["batches.meta"] = pickle.dumps({"label_names": names})
    packed = as_tar({f"cifar-10-batches-py/{name}": data for name, data in batches.items()})
    server.files["/cifar.tar.gz"] = packed
    monkeypatch.setattr(CIFAR10, "url", f"{server.address}/cifar.tar.gz")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(packed))
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", md5(batches["data_batch_1"])]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5(batches["test_batch"])]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(batches["batches.meta"])})
    return {name: pickle.loads(data) for name, data in batches.items()}


def test_cifar_arrives_pixel_for_pixel_and_is_loaded_by_its_name(cifar, server):
    server.plan = [dies_half_way, honest]
    with pytest.raises(UnknownDataset, match="'cifar10' has not been downloaded: imgcls data get cifar10"):
        load("cifar10")
    assert "cifar10" not in available()
    path = download("CIFAR10")
    assert path == paths.DATA / "cifar10.zip"
    assert left(paths.DATA) == ["cifar10.zip"]
    assert "cifar10" in available()
    splits = load("cifar10", image_size=32)
    assert splits.classes == ("airplane", "automobile")
    assert (len(splits.train) + len(splits.val), len(splits.test)) == (8, 4)
    oracle = cifar["test_batch"]["data"].reshape(-1, 3, 32, 32)
    for image, label, name in zip(splits.test.images, splits.test.labels, splits.test.names, strict=True):
        index = int(name[-9:-4])
        assert np.array_equal(image.numpy(), oracle[index])
        assert label == index % 2
    server.asked.clear()
    assert download("cifar10") == path
    assert server.asked == []


def test_an_exchanged_archive_is_refused_before_it_is_opened(cifar, server):
    server.files["/cifar.tar.gz"] = as_tar({"cifar-10-batches-py/data_batch_1": b"cos\nsystem\n(S'touch owned'\ntR."})
    with pytest.raises(DataError, match="so it is not the expected file"):
        download("cifar10")
    assert not (paths.DATA / "cifar10.zip").exists()
    assert not [name for name in left(paths.DATA) if "batch" in name]


def test_pets_arrive_as_cats_and_dogs_byte_for_byte(server, monkeypatch):
    photos = {}
    for k, name in enumerate(("Abyssinian_1", "Abyssinian_2", "beagle_1", "beagle_2", "pug_7", "Bengal_9")):
        file = io.BytesIO()
        Image.effect_noise((40 + k, 30), 60).convert("RGB").save(file, "JPEG")
        photos[name] = file.getvalue()
    lists = {"trainval": ("Abyssinian_1", "Bengal_9", "beagle_1", "pug_7"), "test": ("Abyssinian_2", "beagle_2")}
    notes = {f"annotations/{part}.txt": "".join(f"{n} 1 {1 if n[0].isupper() else 2} 1\n" for n in names).encode()
             for part, names in lists.items()}  # fmt: skip
    server.files["/images.tar.gz"] = as_tar({f"images/{name}.jpg": data for name, data in photos.items()})
    server.files["/annotations.tar.gz"] = as_tar(notes)
    resources = tuple((f"{server.address}{path}", md5(server.files[path])) for path in
                      ("/images.tar.gz", "/annotations.tar.gz"))  # fmt: skip
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", resources)
    with zipfile.ZipFile(download("oxford-pets")) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    wanted = {f"{'train' if part == 'trainval' else 'test'}/{'cat' if n[0].isupper() else 'dog'}/{n}.jpg": photos[n]
              for part, names in lists.items() for n in names}  # fmt: skip
    assert held == wanted
    assert left(paths.DATA) == ["oxford_pets.zip"]


def test_nature_is_fetched_by_address_and_must_be_a_zip(server, monkeypatch):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inaturalist_12K/train/Aves/1.jpg", b"x")
    server.files |= {"/nature_12K.zip": packed.getvalue(), "/page.zip": b"<html>" + bytes(500)}
    monkeypatch.setattr(downloading, "NATURE_12K_BYTES", 100)
    monkeypatch.setattr(downloading, "NATURE_12K", f"{server.address}/page.zip")
    with pytest.raises(DataError, match="is not a complete zip"):
        download("nature_12k")
    assert catalogue.find("nature_12k") is None
    monkeypatch.setattr(downloading, "NATURE_12K", f"{server.address}/nature_12K.zip")
    assert download("nature_12K").read_bytes() == packed.getvalue()


def test_what_a_person_must_bring_comes_with_the_steps(own_folders):
    for name, entry in catalogue.CATALOGUE.items():
        assert f"data/{entry.path.partition('/')[0]}" in entry.steps or f"imgcls data get {name}" in entry.steps or (
            entry.path.startswith("Animals") and "unzip AwA2-data.zip -d data" in entry.steps
        ), name  # fmt: skip
        assert (f"imgcls data get {name}" in entry.steps) == (name in downloading.DOWNLOADS), name
        if name not in downloading.DOWNLOADS:
            with pytest.raises(DataError, match=f"{name} cannot be downloaded for you: "):
                download(name)
    with pytest.raises(DataError, match="no 'imagenet'; choose from fox_elephant, awa2"):
        download("imagenet")


def test_the_command_brings_lists_and_checks_a_set(cifar, server, own_folders):
    def imgcls(*arguments):
        return CliRunner().invoke(data.application(), arguments)

    rows = {row["name"]: row for row in json.loads(imgcls("list", "--format", "json").stdout)}
    assert rows["cifar10"]["path"] is None
    got = imgcls("get", "cifar10")
    assert got.stdout.strip() == str(paths.DATA / "cifar10.zip"), got.output
    rows = {row["name"]: row for row in json.loads(imgcls("list", "--format", "json").stdout)}
    assert rows["cifar10"]["path"] == str(paths.DATA / "cifar10.zip")
    facts = own_folders / "facts" / "cifar.json"
    shown = imgcls("check", "cifar10", "--image-size", "32", "--out", str(facts))
    assert "formats and modes: 12 PNG RGB" in shown.stdout
    written = json.loads(facts.read_text())
    assert written["formats"] == {"PNG RGB": 12}
    assert written["splits"]["test"]["images"] == 4
    assert imgcls("cifar10", "--image-size", "32").stdout == shown.stdout  # `check` goes without saying
