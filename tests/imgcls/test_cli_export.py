"""`imgcls export`: files of other runtimes give the model's own logits, from the same uint8 pixels."""

import importlib
import json

import onnx
import onnxruntime
import pytest
import torch

from imgcls import models
from imgcls.models import onnx as onnx_export

command = importlib.import_module("imgcls.cli.export")  # the package may call the function so too
CLASSES = ("cat", "<b>", "猫")
IMAGES = torch.randint(256, (7, 3, 16, 16), dtype=torch.uint8, generator=torch.manual_seed(1))


@pytest.fixture
def run(tmp_path):
    model = models.create_model("simple_cnn", 3, image_size=16, statistics=((0.4, 0.5, 0.6), (0.1, 0.2, 0.3)))
    return models.save(model, tmp_path / "run", CLASSES, temperature=1.5, resize="pad")


def logits(run):
    with torch.no_grad():
        return models.load(run)[0](IMAGES)


def test_onnx_runtime_gives_the_models_logits(run, capsys):
    command.export(run)
    session = onnxruntime.InferenceSession(run / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(uint8)"
    found = torch.from_numpy(session.run(None, {"images": IMAGES.numpy()})[0])
    torch.testing.assert_close(found, logits(run), rtol=1e-4, atol=1e-5)
    facts = json.loads(onnx.load(run / "model.onnx").metadata_props[0].value)
    assert (facts["classes"], facts["temperature"], facts["resize"]) == (list(CLASSES), 1.5, "pad")
    assert "uint8 (N, 3, 16, 16) to 3 logits" in capsys.readouterr().out


def test_torch_export_gives_the_models_logits(run, tmp_path):
    command.export(run, tmp_path / "new" / "m.pt2")
    extra = {command.META: ""}
    program = torch.export.load(tmp_path / "new" / "m.pt2", extra_files=extra).module()
    torch.testing.assert_close(program(IMAGES), logits(run))
    assert json.loads(extra[command.META])["classes"] == list(CLASSES)


def test_a_file_that_differs_is_not_written(run, monkeypatch):
    other = models.create_model("simple_cnn", 3, image_size=16, statistics=(0.5, 0.2)).eval()
    real = onnx_export.to_onnx
    monkeypatch.setattr(onnx_export, "to_onnx", lambda model, images: real(other, images))
    with pytest.raises(ValueError, match=r"differs from the model by .* nothing was written; try --out .*\.pt2"):
        command.export(run)
    assert not (run / "model.onnx").exists()


def test_an_operation_without_onnx_leads_to_the_other_format(run, monkeypatch):
    def refuse(*_):
        raise torch.onnx.OnnxExporterError("no such operator\nmore")

    monkeypatch.setattr(onnx_export, "to_onnx", refuse)
    with pytest.raises(ValueError, match=r"\(no such operator\); write it with --out FILE\.pt2"):
        command.export(run)


@pytest.mark.parametrize("name", ["m.pt", "m", "m.ONNX.zip"])
def test_another_ending_is_refused_with_the_choices(run, tmp_path, name):
    with pytest.raises(ValueError, match=r"ends in \.onnx \(ONNX\) or \.pt2"):
        command.export(run, tmp_path / name)
