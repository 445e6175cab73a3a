"""The page, which Streamlit runs at every change."""

import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image
from torch import nn

from imgcls import paths
from imgcls.app import MAX_BYTES, markup
from imgcls.app.examples import examples
from imgcls.app.predictions import predict_image, read_image
from imgcls.app.runs import Run, data_of, find_runs
from imgcls.data.decoding import FORMATS, Undecodable
from imgcls.messages import plural
from imgcls.models import open_run
from imgcls.reproducibility import configure_threads

UPLOAD, CAMERA, EXAMPLE = SOURCES = ("Upload", "Camera", "Example")
STYLE = Path(__file__).with_name("style.css")
COLUMN = 96  # width of an example in pixels
ICON = "#0d5c6b"  # a named icon would be downloaded


def main() -> None:
    """Choose a run and an image, show the prediction."""
    configure_threads()
    st.set_page_config(
        page_title="What is in this image?", page_icon=Image.new("RGB", (32, 32), ICON), layout="centered"
    )
    st.html(STYLE)
    st.html(markup.HEAD)
    given = map(Path, sys.argv[1:] if Path(sys.argv[0]) == Path(__file__) else ())  # as Streamlit sets them
    runs, broken = find_runs(paths.BUILD, [*given, *paths.remembered_runs()])
    if runs:
        by_name = {run.name: run for run in runs}
        name = st.selectbox(f"Trained run ({len(runs)}, newest first)", list(by_name), key="run")
        _classify(by_name.get(name, runs[0]))
    else:
        st.html(markup.NO_RUN)
    if broken:
        with st.expander(f"{plural(len(broken), 'run')} that cannot be used, and why", expanded=not runs):
            st.html(markup.broken(broken))


def _classify(run: Run) -> None:
    st.html(markup.facts(run))
    source = st.segmented_control("Image", SOURCES, default=UPLOAD, key="source") or UPLOAD
    if source == EXAMPLE:
        given = _example(run)
    elif source == CAMERA:
        file = st.camera_input("Take a photograph; the browser asks for permission", key="camera")
        given = file and ("camera shot", file.getvalue())
    else:  # no list of extensions: the content decides, not the name
        file = st.file_uploader(f"One image ({', '.join(FORMATS)}), at most {MAX_BYTES // 2**20} MB", key="upload")
        given = file and (file.name, file.getvalue())
    if given:
        _show(run, *given, photograph=source != EXAMPLE)
    with st.expander("About this run"):
        st.html(markup.details(run))


def _example(run: Run) -> tuple[str, bytes] | None:
    rendered = _examples(data_of(run.card)[0], tuple(run.card["classes"]), run.card["image_size"])
    known = any(is_known for _, is_known, _ in rendered)
    rest = "the last ones show classes that this run does not have" if known else "none shows a class of this run"
    st.html(markup.hint(f"Generated images; {rest}."))
    chosen = st.session_state.get("example")
    with st.container(horizontal=True, gap="small"):
        for i, (name, _, data) in enumerate(rendered):
            with st.container(width=COLUMN, gap="xsmall"):
                st.image(data, width=COLUMN)
                look = "primary" if i == chosen else "secondary"
                choose = partial(st.session_state.update, example=i)
                st.button(name, key=f"example {i}", type=look, width="stretch", on_click=choose)
    if chosen is None or chosen >= len(rendered):
        return None
    return f"example: {rendered[chosen][0]}", rendered[chosen][2]


@st.cache_data(max_entries=16, show_spinner="Drawing the examples")
def _examples(data: str, classes: tuple[str, ...], size: int) -> list[tuple[str, bool, bytes]]:
    return examples(data, classes, size)


def _show(run: Run, name: str, data: bytes, photograph: bool) -> None:
    try:
        image = read_image(data, run.card)
        model, card, lock = _opened(str(run.folder), run.changed)
        with lock:  # sessions share the model, and Grad-CAM registers hooks in it
            prediction = predict_image(model, card, image, photograph)
    except Undecodable as error:
        st.html(markup.note(f"{name} cannot be used:", f"{error.reason}."))
        return
    except Exception as error:  # a model may raise anything, and the page must not fail
        st.html(markup.note(f"{run.name} fails:", str(error) or type(error).__name__))
        return
    st.html(markup.result(prediction, calibrated="temperature" in card))
    st.html(markup.images(prediction, name))


@st.cache_resource(max_entries=2, show_spinner="Reading the model")
def _opened(folder: str, changed: int) -> tuple[nn.Module, dict[str, Any], threading.Lock]:
    """Model, card and lock of a run; `changed` is part of the cache key: a run that is trained again is read again."""
    return *open_run(Path(folder)), threading.Lock()


if __name__ == "__main__":
    main()
