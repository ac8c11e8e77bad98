"""Logs that grow by lines: what was written is read, whatever a crash tore, and an append does not read the log."""

from itertools import chain

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
    reopened = another(storage)
    for line in lines[300:]:
        reopened.append_lines("log", [line])
    assert reopened.read_lines("log") == lines
    assert len(reopened.names("")) <= len(lines) * 1007 / PART_BYTES + 2  # the reopening left a part that is not full


def another(storage: Storage) -> Storage:
    """Another process's, on the same files in memory."""
    other = Storage("mock://")
    other._fs = storage._fs
    return other


def test_two_writers_at_one_time_do_not_overwrite_each_other():
    """As when one sweep is run twice on a bucket, where no lock keeps the drivers apart."""
    first = Storage("mock://")
    lines = {name: [f"{name} {number} {'x' * 5000}" for number in range(120)] for name in ("before", "first", "second")}
    first.append_lines("log", lines["before"])
    second = another(first)
    for own, others in zip(lines["first"], lines["second"], strict=True):
        first.append_lines("log", [own])
        second.append_lines("log", [others])
    found = another(first).read_lines("log")
    assert sorted(found) == sorted(chain(*lines.values()))
    for name, own in lines.items():
        assert [line for line in found if line.startswith(name)] == own
    assert found[:120] == lines["before"]
    third = another(first)
    third.append_lines("log", ["last"])
    assert third.read_lines("log") == [*found, "last"]


def test_parts_of_an_earlier_version_are_read_before_new_ones():
    storage = Storage("mock://")
    storage.write("log.part00000000", b"a\nb\n")
    storage.write("log.part00000001", b"c\n")
    storage.append_lines("log", ["d"])
    assert another(storage).read_lines("log") == ["a", "b", "c", "d"]
