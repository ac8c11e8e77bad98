"""Where data may lie, and what stands for its content."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest


def test_planning_imports_nothing_heavy():
    code = (
        "import sys; from trainables.tasks.catalog import BUILTIN; from trainables.tasks import TaskError, load_task;"
        "from trainables.data.fingerprint import fingerprint; from trainables.data.sources import DataError;"
        "[(task.fingerprint(), task.train_rows()) for task in BUILTIN.values()]; fingerprint(sys.argv[1]);"
        "heavy = {'torch', 'numpy', 'pyarrow', 'pandas', 'sklearn', 'ray', 'mlflow'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, __file__], check=True)


# -- behind a network: a bucket on loopback, as much of S3 as reading needs --------------------------------------------


class Bucket(BaseHTTPRequestHandler):
    objects: dict[str, bytes]

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            self._list(query.get("prefix", [""])[0])
        else:
            self._answer(body=True)

    def _list(self, prefix: str) -> None:
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, content in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        count = entries.count("<Key>")
        self._send(200, f"<ListBucketResult><KeyCount>{count}</KeyCount>{entries}</ListBucketResult>".encode())

    def _answer(self, body: bool) -> None:
        content = self.objects.get(urlsplit(self.path).path.removeprefix("/bucket/"))
        if content is None:
            self._send(404, b"", body)
        elif "Range" in self.headers:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            self._send(206, content[int(first) : int(last) + 1], body)
        else:
            self._send(200, content, body)

    def _send(self, code: int, content: bytes, body: bool = True) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def bucket(monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    handler = type("ThisBucket", (Bucket,), {"objects": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = f"scheme=http&endpoint_override=127.0.0.1:{server.server_port}&region=us-east-1"
    yield lambda key: f"s3://key:secret@bucket/{key}?{options}", handler.objects
    server.shutdown()
    server.server_close()
