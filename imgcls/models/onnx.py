"""Networks as ONNX: a file format that other programs read, and that ONNX Runtime runs quickly on a CPU."""

import io
import logging
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from imgcls.models.surgery import eval_mode
from imgcls.reproducibility import configure_threads

OPSET = 17


def to_onnx(model: nn.Module, images: Tensor) -> bytes:
    """A model in evaluation mode as an ONNX file, for batches of any number of images.

    Args:
        model: on the CPU; its mode is restored.
        images: uint8 (N, C, H, W), of the size that the file will take; the pixels do not matter.

    Raises:
        torch.onnx.OnnxExporterError: the model has an operation that ONNX does not.
    """
    file, names = io.BytesIO(), {"input_names": ["images"], "output_names": ["outputs"]}
    axes = {"images": {0: "batch"}, "outputs": {0: "batch"}}
    with eval_mode(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter on its own future, and tracing on shapes that are fixed here
        # The newer exporter (dynamo=True) needs one more package, onnxscript.
        torch.onnx.export(model, (images,), file, dynamo=False, opset_version=OPSET, dynamic_axes=axes, **names)
    return file.getvalue()


def onnx_runner(model: nn.Module, images: Tensor) -> Callable[[Tensor], Tensor] | None:
    """A function that computes the model's outputs with ONNX Runtime on the CPU; None where that is impossible.

    The outputs are float32 and equal those of PyTorch in float32 to 1e-4 (`benchmarks.frozen` compares them).

    Args:
        model: as for `to_onnx`.
        images: as for `to_onnx`.

    Returns:
        A function from uint8 (N, C, H, W) to the outputs; None if ONNX Runtime is not installed, or if the model has
        an operation that ONNX does not: then run the model itself.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    try:
        file = to_onnx(model, images)
    except torch.onnx.OnnxExporterError as error:
        logging.getLogger(__name__).info("no ONNX for %s: %s", type(model).__name__, error)
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = configure_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda batch: torch.from_numpy(session.run(None, {"images": batch.contiguous().numpy()})[0])
