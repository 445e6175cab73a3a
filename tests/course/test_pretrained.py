"""The first pretrained network whose weights are available is taken, and the reason for each other is printed."""

import pytest

from course.pretrained import first_available
from imgcls import models, transfer


def test_the_first_available_network_is_taken(tmp_path, capsys, monkeypatch):
    folder = models.save(models.create_model("simple_cnn", 2, image_size=16), tmp_path / "saved", ("a", "b"))
    available, missing = f"{folder}/simple_cnn@16", f"{tmp_path / 'nothing'}/simple_cnn@16"
    found = first_available([missing, available])
    assert (found.origin, found.name, found.image_size, found.weights) == (str(folder), "simple_cnn", 16, str(folder))
    assert "takes its place" in capsys.readouterr().out  # the substitute is named
    calls = []
    monkeypatch.setattr(transfer, "source_backbone", lambda *args, **settings: calls.append((args, settings)) or folder)
    own = first_available(["source/simple_cnn@16", missing], train_count=106)
    assert own.weights == folder
    assert calls == [(("simple_cnn",), {"image_size": 16, "train_count": 106})]
    assert capsys.readouterr().out == ""
    with pytest.raises(models.MissingWeights, match="nothing"):
        first_available([missing])
    for wrong in ([], ["simple_cnn"], ["source/simple_cnn@0"]):
        with pytest.raises(ValueError, match="origin/name@pixels"):
            first_available(wrong)
