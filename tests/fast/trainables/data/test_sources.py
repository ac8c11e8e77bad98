"""Where data may lie, and what stands for its content."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables.data.digest import SETTLED_SECONDS
from trainables.data.fingerprint import fingerprint, overlap
from trainables.data.sources import DataError, absolute_source, list_files, real_files
from trainables.data.table import open_table
from trainables.seal import sealed, unsealed

LONG_AGO = time.time() - 3600


def write(path: Path, values: list[int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"x": values}), path)
    return path


# -- local ------------------------------------------------------------------------------------------------------------


def test_a_relative_path_starts_at_the_folder_of_the_module_and_a_uri_stays():
    assert absolute_source("data/x.parquet", Path("/home/me/project")) == "/home/me/project/data/x.parquet"
    assert absolute_source(Path("../x.parquet"), Path("/home/me/project")) == "/home/me/x.parquet"
    assert absolute_source("/data/x.parquet", Path("/home/me")) == "/data/x.parquet"
    assert absolute_source("s3://bucket/x", Path("/home/me")) == "s3://bucket/x"
    assert absolute_source("~/x.parquet", Path("/home/me")) == f"{Path.home()}/x.parquet"


def test_a_file_uri_is_its_path(tmp_path):
    path = write(tmp_path / "a folder" / "x.parquet", [1, 2])
    uri = path.as_uri()
    assert "%20" in uri
    assert fingerprint(uri, tmp_path / "cache") == fingerprint(path, tmp_path / "cache")
    assert open_table(uri, tmp_path / "cache").column("x").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/nowhere/x.parquet", "'/nowhere/x.parquet' does not exist; a relative path starts at"),
        ("/nowhere/train-*.parquet", "train-*.parquet' does not exist; patterns (*, ?, [) are not looked up: name one"),
        ("carrier-pigeon://home/x", "neither a path nor a URI that pyarrow.fs can open"),
        ("builtin://digits", "is no built-in data; it is builtin:// and one of digits, diabetes, stdlib"),
        ("builtin://digits/all", "a slash, and one of train, validation, test"),
        ("mock:///x.parquet", "does not exist"),
        ("mock://me:hunter2@home/x.parquet", "data 'mock://home/x.parquet' does not exist"),
        ("carrier-pigeon://me:hunter2@home/x", "data 'carrier-pigeon://home/x' is neither"),
    ],
)
def test_a_place_that_is_not_there_says_so(tmp_path, source, words):
    for ask in (open_table, fingerprint):
        with pytest.raises(DataError) as caught:
            ask(source, tmp_path / "cache")
        assert words in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_the_fingerprint_is_of_the_content_not_of_the_place(tmp_path):
    first = write(tmp_path / "a" / "x.parquet", [1, 2])
    again = write(tmp_path / "b" / "y.parquet", [1, 2])
    other = write(tmp_path / "c" / "x.parquet", [1, 3])
    assert fingerprint(first, tmp_path) == fingerprint(again, tmp_path) == fingerprint(first.parent, tmp_path)
    assert fingerprint(first, tmp_path) != fingerprint(other, tmp_path)
    write(tmp_path / "a" / "y.parquet", [3])
    assert fingerprint(first.parent, tmp_path) != fingerprint(first, tmp_path)


def test_a_file_is_the_same_by_every_way_to_it(tmp_path):
    path = write(tmp_path / "a folder" / "x.parquet", [1, 2])
    (tmp_path / "link").symlink_to(path.parent)
    ways = (path, path.as_uri(), path.parent, tmp_path / "link", tmp_path / "link" / "x.parquet")
    assert [real_files(str(way)) for way in ways] == [{str(path.resolve())}] * len(ways)


def test_sets_overlap_in_their_files_or_in_their_content(tmp_path):
    sources = {
        "train": tmp_path / "all",
        "validation": tmp_path / "all" / "_held" / "x.parquet",
        "test": tmp_path / "t",
    }
    for rows, place in enumerate(("all/a", "all/b", "all/_held/x", "t/y")):
        write(tmp_path / f"{place}.parquet", [rows])

    def found(**changed):
        places = {split: str(place) for split, place in (sources | changed).items()}
        return overlap(places, {split: fingerprint(place, tmp_path / "cache") for split, place in places.items()})

    assert found() is None  # what begins with _ in a folder is not part of it
    assert found(test="builtin://digits/test", validation="builtin://digits/validation") is None
    shared = tmp_path.resolve() / "all" / "a.parquet"
    assert found(test=shared) == f"train and test share the file {shared}"
    assert found(test=sources["train"]) == f"train and test share the file {shared} and 1 more"
    write(tmp_path / "t" / "y.parquet", [2])
    assert str(found()).startswith("validation and test have the same content: ")
    assert str(found(train="builtin://digits/test", test="builtin://digits/test")).startswith("train and test have")


def test_a_file_that_did_not_change_is_not_read_again(tmp_path):
    path = write(tmp_path / "x.parquet", [1, 2])
    # Time stamps of creation cannot be set back, so wait until the file counts as settled.
    time.sleep(SETTLED_SECONDS + 0.1)
    first = fingerprint(path, tmp_path / "cache")
    (entry,) = (tmp_path / "cache" / "fingerprints").iterdir()
    kept = json.loads(unsealed(entry.read_bytes(), "entry"))
    entry.write_bytes(sealed(json.dumps(kept | {"found": "kept"}).encode()))
    assert fingerprint(path, tmp_path / "cache") != first  # it came from the cache
    entry.write_text("torn")
    assert fingerprint(path, tmp_path / "cache") == first
    write(path, [1, 3])
    assert fingerprint(path, tmp_path / "cache") != first


def test_a_file_touched_just_now_is_not_trusted(tmp_path):
    """Two writes within the resolution of time stamps look the same: only reading tells."""
    path = write(tmp_path / "x.parquet", [1, 2])
    first = fingerprint(path, tmp_path / "cache")
    status = path.stat()
    write(path, [1, 3])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint(path, tmp_path / "cache") != first


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path):
    path = write(tmp_path / "x.parquet", [1, 2])
    os.utime(path, (LONG_AGO, LONG_AGO))
    (tmp_path / "cache").write_text("not a folder")
    assert fingerprint(path, tmp_path / "cache") == fingerprint(path, tmp_path / "other")


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


def test_a_folder_in_a_bucket_is_read_like_one_on_disk(tmp_path, bucket):
    uri, objects = bucket
    for name, values in [("wine/b.parquet", [2, 3]), ("wine/a.parquet", [1]), ("wine/_note.parquet", [9])]:
        objects[name] = write(tmp_path / name, values).read_bytes()
    objects["wine/README.md"] = b"notes"
    assert [file.name for file in list_files(uri("wine"))] == ["a.parquet", "b.parquet"]
    assert open_table(uri("wine"), tmp_path / "cache").column("x").tolist() == [1, 2, 3]
    before = fingerprint(uri("wine"))
    assert fingerprint(uri("wine").replace("key:secret", "key:another")) == before
    assert real_files(uri("wine").replace("key:secret", "key:another")) > real_files(uri("wine/a.parquet"))
    objects["wine/a.parquet"] = write(tmp_path / "longer.parquet", list(range(100))).read_bytes()
    assert fingerprint(uri("wine")) != before


def test_a_file_in_a_bucket_is_read_and_a_missing_one_named(tmp_path, bucket):
    uri, objects = bucket
    objects["x.parquet"] = write(tmp_path / "x.parquet", [4, 5]).read_bytes()
    assert open_table(uri("x.parquet"), tmp_path / "cache").column("x").tolist() == [4, 5]
    with pytest.raises(DataError, match="does not exist"):
        open_table(uri("y.parquet"), tmp_path / "cache")
