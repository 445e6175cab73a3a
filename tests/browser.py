"""A headless Chromium for the tests of the app and of the reports; no driver is installed for it."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """A headless Chromium, driven over its DevTools protocol."""

    def __init__(self, width=1280, dark=False, more=()):
        import websocket

        self.profile = tempfile.mkdtemp()
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0",
                 "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                 "--remote-allow-origins=*", f"--user-data-dir={self.profile}")  # fmt: skip
        self.process = subprocess.Popen([CHROMIUM, *flags, *more, "about:blank"], stderr=subprocess.DEVNULL)
        port = wait(lambda: (Path(self.profile) / "DevToolsActivePort").read_text().split()[0], 20)
        page = wait(lambda: next(p for p in fetch(f"http://localhost:{port}/json") if p["type"] == "page"), 20)
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=30)
        self.count, self.requested = 0, []
        for domain in ("Page", "DOM", "Network", "Runtime"):
            self(f"{domain}.enable")
        self.look(width, dark)

    def __call__(self, method, **params):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            if message.get("id") == self.count:
                if "error" in message:  # such as a node that was drawn anew meanwhile
                    raise OSError(message["error"]["message"])
                return message["result"]

    def look(self, width, dark=False):
        self("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        scheme = "dark" if dark else "light"
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def js(self, expression):
        return self("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def until_loaded(self, url):
        done = f"document.URL === {url!r} && document.readyState === 'complete'"
        assert wait(lambda: self.js(done), 20), f"{url} was not loaded"

    def text(self):
        return self.js("document.body.innerText") or ""

    def until(self, *pieces, seconds=20):
        assert wait(lambda: all(piece in self.text() for piece in pieces), seconds), (pieces, self.text())
        return self.text()

    def click(self, text):
        found = f"[...document.querySelectorAll('button, summary')].find(e => e.innerText.trim().endsWith({text!r}))"
        assert wait(lambda: self.js(f"Boolean({found})"), 20), f"no button {text!r}"
        self.js(f"{found}.click()")

    def upload(self, path):
        def given():
            root = self("DOM.getDocument")["root"]["nodeId"]
            node = self("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
            self("DOM.setFileInputFiles", nodeId=node, files=[str(path)])
            return True

        assert wait(given, 10)

    def shot(self, path):
        self.js("document.activeElement.blur()")
        inner = self.js("(e => e ? e.scrollHeight : 0)(document.querySelector('[data-testid=stMain]'))") or 900
        width = self.js("innerWidth")
        self("Emulation.setDeviceMetricsOverride", width=width, height=max(900, inner), deviceScaleFactor=1,
             mobile=width < 600)  # fmt: skip
        time.sleep(0.6)
        Path(path).write_bytes(base64.b64decode(self("Page.captureScreenshot")["data"]))

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.profile, ignore_errors=True)


def fetch(url):
    with urllib.request.urlopen(url, timeout=5) as reply:
        return json.loads(reply.read())


def wait(ready, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := ready():
                return found
        except (OSError, StopIteration, IndexError):
            pass
        time.sleep(0.1)
    return None
