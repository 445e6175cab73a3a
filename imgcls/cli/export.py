"""`imgcls export`: a trained model as one file that other programs run."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgcls.files import write
from imgcls.messages import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

ONNX, TORCH = ".onnx", ".pt2"
CHECKED = (1, 5)  # sizes of the batches that are compared
TOLERANCE = 1e-3  # of logits, relative to the largest
META = "imgcls.json"  # what the file itself says about its classes and input


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run, with weights.safetensors and card.json.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write: .onnx for ONNX, .pt2 for torch.export; default model.onnx in the run."),
    ] = None,
) -> None:
    """Export a trained model to one file, and check its logits.

    The input is any number of RGB images, uint8 (N, channels, size, size); normalisation is part of the model. The
    output is logits (N, classes): softmax(logits / temperature) are the probabilities of imgcls predict. The classes,
    size, temperature and resize method are stored in the file.

    \b
      imgcls export build/runs/photos-resnet18
      imgcls export build/runs/photos-resnet18 --out classifier.pt2
    """  # noqa: D301 - \b keeps the lines of the examples
    import torch

    from imgcls import models
    from imgcls.models import resize_of, temperature_of

    out = out or run / f"model{ONNX}"
    if out.suffix not in (ONNX, TORCH) or out.is_dir():
        raise UserError(f"--out {out}: name a file that ends in {ONNX} (ONNX) or {TORCH} (torch.export)")
    model, card = models.load(run)
    facts = {
        "classes": card["classes"], "image_size": card["image_size"], "channels": card["channels"],
        "resize": resize_of(card), "temperature": temperature_of(card), "dtype": "uint8", "output": "logits",
    }  # fmt: skip
    shape = (card["channels"], card["image_size"], card["image_size"])
    batches = [torch.randint(256, (n, *shape), dtype=torch.uint8, generator=torch.manual_seed(0)) for n in CHECKED]
    content, exported = (_as_onnx if out.suffix == ONNX else _as_program)(model, batches[-1], facts)
    with torch.no_grad():
        gap = max(_relative_gap(exported(images), model(images)) for images in batches)
    if not gap < TOLERANCE:
        raise UserError(
            f"the exported {card['architecture']} differs from the model by {gap:.1g} of its largest logit, so nothing "
            f"was written; try --out {out.with_suffix(TORCH if out.suffix == ONNX else ONNX)}"
        )
    write(out, content)
    typer.echo(
        f"{out}: {len(content) / 1e6:,.1f} MB, uint8 (N, {', '.join(map(str, shape))}) to {len(card['classes'])} logits"
    )
    typer.echo(f"checked: logits differ by at most {gap:.1g} of the largest")


def _as_onnx(model: nn.Module, images: Tensor, facts: Mapping[str, Any]) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    """The bytes of an ONNX file, and a function that runs them."""
    import onnx
    import onnxruntime
    import torch

    from imgcls.models.onnx import to_onnx

    try:
        made = onnx.load_from_string(to_onnx(model, images))
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"this model has an operation without ONNX ({reason}); write it with --out FILE{TORCH}"
        ) from error
    onnx.helper.set_model_props(made, {META: json.dumps(facts)})
    content = made.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda batch: torch.from_numpy(session.run(None, {"images": batch.numpy()})[0])


def _as_program(model: nn.Module, images: Tensor, facts: Mapping[str, Any]) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    """The bytes of a torch.export file, and a function that runs them."""
    import torch

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own on its future
        program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        torch.export.save(program, file, extra_files={META: json.dumps(facts)})
        file.seek(0)
        return file.getvalue(), torch.export.load(file).module()


def _relative_gap(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
