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
from trainables.data.formats import count_rows
from trainables.data.selection import Selection
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
        ("/nowhere/train-*.parquet", "train-*.parquet' matches no data file; data files end in"),
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


def test_a_pattern_in_a_bucket_stands_for_the_files_that_fit(tmp_path, bucket):
    uri, objects = bucket
    for name, values in [("hub/train-1.parquet", [2]), ("hub/train-0.parquet", [1]), ("hub/test-0.parquet", [9])]:
        objects[name] = write(tmp_path / name, values).read_bytes()
    assert open_table(uri("hub/train-*.parquet"), tmp_path / "cache").column("x").tolist() == [1, 2]
    assert open_table(uri("**/test-*"), tmp_path / "cache").column("x").tolist() == [9]
    with pytest.raises(DataError, match="matches no data file"):
        list_files(uri("hub/validation-*.parquet"))


# -- patterns, lists and folders as others write them -----------------------------------------------------------------


def rows_of(source, tmp_path):
    return open_table(absolute_source(source, tmp_path), tmp_path / "cache").column("x").tolist()


def test_a_pattern_stands_for_the_files_that_fit_in_the_order_of_their_names(tmp_path):
    for name, values in [("train-00001-of-00002", [3]), ("train-00000-of-00002", [1, 2]), ("test-00000-of-00001", [9])]:
        write(tmp_path / "data" / f"{name}.parquet", values)
    (tmp_path / "data" / "train-notes.md").write_text("notes")
    write(tmp_path / "data" / "deep" / "part-0.parquet", [7])
    assert rows_of("data/train-*.parquet", tmp_path) == [1, 2, 3]
    assert rows_of("data/train-*", tmp_path) == [1, 2, 3]
    assert rows_of("data/**/part-*", tmp_path) == [7]
    assert rows_of("data/dee?", tmp_path) == [7]  # a folder stands for what is in it
    write(tmp_path / "data" / "train-00002-of-00002.parquet", [4])
    assert rows_of("data/train-*.parquet", tmp_path) == [1, 2, 3, 4]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    write(tmp_path / "x[1].parquet", [1])
    write(tmp_path / "x1.parquet", [2])
    assert rows_of("x[1].parquet", tmp_path) == [1]


def test_several_sources_are_read_one_after_the_other_and_their_content_is_the_identity(tmp_path):
    write(tmp_path / "b.parquet", [1])
    write(tmp_path / "a" / "x.parquet", [2])
    several = ["b.parquet", Path("a")]
    assert rows_of(several, tmp_path) == [1, 2]
    source = absolute_source(several, tmp_path)
    before = fingerprint(source, tmp_path / "cache")
    assert count_rows(source) == 2
    assert real_files(source) == {str(tmp_path / "b.parquet"), str(tmp_path / "a" / "x.parquet")}
    assert fingerprint(absolute_source(several[::-1], tmp_path), tmp_path / "cache") != before
    write(tmp_path / "a" / "x.parquet", [3, 4])
    assert fingerprint(source, tmp_path / "cache") != before


def test_a_file_that_is_named_twice_is_refused(tmp_path):
    write(tmp_path / "a.parquet", [1])
    with pytest.raises(DataError, match="twice; its rows would count twice"):
        list_files(absolute_source(["a.parquet", "*.parquet"], tmp_path))


def test_what_spark_writes_is_one_table(tmp_path):
    folder = tmp_path / "spark"
    folder.mkdir()
    for part, nullable in enumerate((True, False)):
        element = pa.list_(pa.field("element", pa.float32(), nullable=nullable))
        schema = pa.schema([pa.field("x", pa.int64(), nullable=nullable), pa.field("v", element, nullable=nullable)])
        content = pa.table({"x": [part], "v": [[0.5, 1.5]]}, schema=schema)
        pq.write_table(content, folder / f"part-0000{part}-c000.snappy.parquet")
    pq.write_metadata(content.schema, folder / "_metadata")
    pq.write_metadata(content.schema, folder / "_common_metadata")
    for name in ("_SUCCESS", "._SUCCESS.crc", ".part-00000-c000.snappy.parquet.crc"):
        (folder / name).touch()
    assert rows_of("spark", tmp_path) == [0, 1]
    assert rows_of("spark/*", tmp_path) == [0, 1]


def test_of_a_folder_that_datasets_saved_only_its_own_files_are_read(tmp_path):
    folder = tmp_path / "saved" / "train"
    folder.mkdir(parents=True)
    for name, values in (("data-00000-of-00001.arrow", [1, 2]), ("cache-1b2f.arrow", [7])):
        with pa.ipc.new_stream(str(folder / name), pa.schema({"x": pa.int64()})) as writer:
            writer.write_table(pa.table({"x": values}))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    assert rows_of("saved/train", tmp_path) == [1, 2]
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    with pytest.raises(
        DataError, match=r"holds several sets \(train, test\): name the folder of one, such as .*saved/train"
    ):
        list_files(str(tmp_path / "saved"))


# -- CSV --------------------------------------------------------------------------------------------------------------


def test_a_csv_has_the_types_that_all_of_it_has(tmp_path):
    rows = [f"{number},{number},yes" for number in range(200_000)]
    (tmp_path / "x.csv").write_text("\n".join(["x,late,city", *rows, "7,0.5,no"]))
    (tmp_path / "y.tsv").write_text("x\tlate\n8\t1.5\n")
    table = open_table(str(tmp_path / "x.csv"), tmp_path / "cache", Selection.of(["x", "late"]))
    assert count_rows(str(tmp_path / "x.csv")) == table.n_rows == 200_001
    assert (table.column("x")[-1].item(), table.column("late")[-1].item()) == (7, 0.5)
    assert str(table.columns["x"][0]) == "torch.int64"
    assert list(table.left_out) == ["city"]
    assert rows_of("y.tsv", tmp_path) == [8]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,y\n1,2\n3\n", r"x\.csv' cannot be read: CSV parse error: Expected 2 columns, got 1"),
        ("x\n1\n\n2\nNA\n", r"column 'x' of .*x\.csv holds 1 null values"),
        ("x\n1\ntwo\n", r"column 'x' of .*x\.csv is of type string"),
    ],
)
def test_a_csv_that_is_no_table_of_numbers_says_why(tmp_path, text, words):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        open_table(str(tmp_path / "x.csv"), tmp_path / "cache")
