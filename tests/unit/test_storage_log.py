"""Logs that grow by lines: what was written is read, whatever a crash tore, and an append does not read the log."""

from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.storage import PART_BYTES, Storage

LINES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=200), max_size=8)


def test_a_log_that_does_not_exist_is_empty(tmp_path):
    assert Storage(str(tmp_path)).read_lines("sweeps/a/journal.jsonl") == []


@settings(deadline=None)  # it writes files
@given(first=LINES, torn=st.text("abc", min_size=1, max_size=20_000), second=LINES)
def test_a_torn_line_is_cut_off_and_all_others_stay(tmp_path_factory, first, torn, second):
    storage = Storage(str(tmp_path_factory.mktemp("log")))
    storage.append_lines("log", ["start", *first])
    with open(storage.path("log"), "a") as file:
        file.write(torn)
    assert storage.read_lines("log") == ["start", *first]
    storage.append_lines("log", ["again", *second])
    assert storage.read_lines("log") == ["start", *first, "again", *second]


def test_a_log_of_one_torn_line_becomes_empty(tmp_path):
    storage = Storage(str(tmp_path))
    (tmp_path / "log").write_text("x" * 10_000)
    storage.append_lines("log", ["whole"])
    assert storage.read_lines("log") == ["whole"]


def test_an_append_reads_no_more_than_the_end_of_the_log(tmp_path):
    storage = Storage(str(tmp_path))
    storage.append_lines("log", ["x" * 1000] * 5000)
    before = _bytes_read()
    for _ in range(100):
        storage.append_lines("log", ["y"])
    assert _bytes_read() - before < 100 * 10_000  # the whole log is 5 MB


def _bytes_read() -> int:
    with open("/proc/self/io") as file:
        return int(next(line for line in file if line.startswith("rchar")).split()[1])


def test_without_growing_files_a_log_is_a_row_of_full_parts():
    storage = Storage("mock://")  # files in memory, which like an object store's can only be replaced
    lines = [f"{number:05d} {'x' * 1000}" for number in range(600)]
    for line in lines[:300]:
        storage.append_lines("log", [line])
    reopened = Storage("mock://")
    reopened._fs = storage._fs
    for line in lines[300:]:
        reopened.append_lines("log", [line])
    assert reopened.read_lines("log") == lines
    assert len(reopened.names("")) <= len(lines) * 1007 / PART_BYTES + 2  # the reopening left a part that is not full
