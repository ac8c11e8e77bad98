"""A real browser, spoken to over its debugging protocol: a page is read when it is ready, however slow the machine.

By hand: `python tests/support/browser.py URL PICTURE.png` takes a picture of a page.
"""

from __future__ import annotations

import asyncio
import base64
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import aiohttp
import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
# The browser itself stays at home: no name but this machine's is ever looked up.
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
]  # fmt: skip
ANEW_S = 60.0  # a page that asked a busy server too early shows an error, and stays so
LOOPBACK_ONLY = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


class Browser:
    """One Chromium for all pages of a run. Each visit has a tab of its own, which is closed again."""

    def __init__(self, port: int) -> None:
        self._port = port

    def visit(
        self, url: str, is_ready: Callable[[str], bool], *, picture: Path | None = None, patience_s: float = 240
    ) -> str:
        """The page's document once it `is_ready`, or as it is when the patience ends; its picture on request."""
        return asyncio.run(_visit(self._port, url, is_ready, picture, patience_s))


@contextmanager
def open_browser() -> Iterator[Browser]:
    assert BROWSER is not None
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        options = [*OPTIONS, LOOPBACK_ONLY, "--window-size=1800,2400", f"--user-data-dir={profile}"]
        with subprocess.Popen(
            [BROWSER, *options, "--remote-debugging-port=0", "about:blank"], stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stderr is not None
                told = next(line for line in process.stderr if "DevTools listening on" in line)
                # Nobody reads on: a browser that complains for long enough would wait for a reader.
                Thread(target=deque, args=(process.stderr, 0), daemon=True).start()
                yield Browser(int(told.split("127.0.0.1:")[1].split("/")[0]))
            finally:
                process.kill()


def visible_text(page: str) -> str:
    """What a document says, roughly, without its tags: for the message of a test that fails."""
    return " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL).split())


async def _visit(port: int, url: str, is_ready: Callable[[str], bool], picture: Path | None, patience_s: float) -> str:
    async with aiohttp.ClientSession() as session:
        async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as response:
            tab = await response.json()
        async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            number = 0

            async def ask(method: str, **parameters: Any) -> Any:
                nonlocal number
                number += 1
                await socket.send_json({"id": number, "method": method, "params": parameters})
                while (answer := await socket.receive_json()).get("id") != number:
                    pass
                return answer["result"]

            deadline, navigated = time.monotonic() + patience_s, -math.inf
            page = ""
            while time.monotonic() < deadline and not is_ready(page):
                if time.monotonic() > navigated + ANEW_S:
                    await ask("Page.navigate", url=url)
                    navigated = time.monotonic()
                await asyncio.sleep(0.5)
                page = (await ask("Runtime.evaluate", expression="document.documentElement.outerHTML"))["result"][
                    "value"
                ]
            if picture is not None:
                await asyncio.sleep(1)
                picture.write_bytes(base64.b64decode((await ask("Page.captureScreenshot"))["data"]))
        async with session.get(f"http://127.0.0.1:{port}/json/close/{tab['id']}"):
            return page


if __name__ == "__main__":
    began = time.monotonic()
    with open_browser() as browser:
        browser.visit(sys.argv[1], lambda page: time.monotonic() > began + 15, picture=Path(sys.argv[2]))
