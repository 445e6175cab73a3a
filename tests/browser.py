"""The system's Chromium for the tests of the app and of the reports, without a window, driven by playwright."""

import importlib.util
import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None,
    reason="no Chromium on this machine" if CHROMIUM is None else "playwright is not installed",
)


@contextmanager
def chromium(*flags):
    """A browser that nothing is downloaded for; each test opens a context (`browser.new_context`) of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *flags])
        try:
            yield browser
        finally:
            browser.close()


def screen(width, dark=False):
    """Options of a context: a phone or a desktop of this width in CSS pixels, and its theme."""
    return {
        "viewport": {"width": width, "height": 900},
        "is_mobile": width < 600,
        "color_scheme": "dark" if dark else "light",
    }
