"""A process that decodes images, each in a fork of its own, and prints the memory that each took beside its estimate.

python decoding_process.py FILE...     -> {file: {"square": [MB taken, MB estimated], "whole": [...]}} as JSON
"""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np  # noqa: F401 - what decoding imports on its way is no memory of the picture
import torch
from PIL import Image

from benchmarks.fuzz import peak_memory
from imgcls.data import decoding

HOW: dict[str, Callable[[bytes], object]] = {
    "square": lambda data: decoding.decode_square(data, 64),
    "squash": lambda data: decoding.decode_square(data, 64, resize="squash"),
    "pad": lambda data: decoding.decode_square(data, 64, resize="pad"),
    "whole": decoding.open_rgb,
}


def in_a_fork(work: Callable[[], list[float]]) -> list[float]:
    """What work returns in a process whose memory is at its peak when it starts."""
    reader, writer = os.pipe()
    if not os.fork():
        try:
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        found = json.loads(answer.read())
    os.wait()
    return found


def taken(data: bytes, decode: Callable[[bytes], object]) -> list[float]:
    """MB that decoding took at its peak, and the MB that were estimated beforehand."""
    for kind in decoding.FORMATS:  # libraries load, and their pages are touched, with the first picture
        file = io.BytesIO()
        Image.new("RGBA" if kind == "PNG" else "RGB", (8, 8)).save(file, kind)
        decode(file.getvalue())
    estimate, estimates = decoding.estimate_memory, []

    def note(*header: object) -> int:
        estimates.append(estimate(*header))
        return estimates[-1]

    decoding.estimate_memory = note
    before = peak_memory()
    decode(data)
    return [(peak_memory() - before) * 2**20 / 1e6, *(bytes_ / 1e6 for bytes_ in estimates)]


def main() -> None:
    """Decode every file in each way."""
    torch.set_num_threads(1)
    decoding.STRIP = 2**14  # what a strip takes is the same for every size, so it need not be counted at this one
    found: dict[str, dict[str, list[float]]] = {}
    for file in sys.argv[1:]:
        data = Path(file).read_bytes()
        found[file] = {name: in_a_fork(lambda decode=decode, data=data: taken(data, decode))
                       for name, decode in HOW.items()}  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
