"""The storage of a sweep: a local folder or any `pyarrow.fs` URI (s3://, gs://, ...), with the same operations.

    <storage>/trials/<trial id>/    the files of one trial; shared by every sweep that has this trial
    <storage>/sweeps/<name>/        the files of one sweep: its plan, its journal
Names given to these functions are relative to the root and use `/`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, TypeVar

from pyarrow import fs

from trainables.error_text import first_line
from trainables.errors import InputError, ParetuneError
from trainables.redact import without_credentials
from trainables.seal import SEAL_BYTES, check_end, sealed, unsealed

T = TypeVar("T")
PART_BYTES = 256 * 1024  # size of a log's parts in an object store: few enough to read, small enough to rewrite


class StorageError(ParetuneError, OSError):
    """The storage cannot be read or written: it is full, read-only or unreachable. No trial is at fault."""

    def __init__(self, name: str, error: OSError) -> None:
        super().__init__(error.errno, without_credentials(error.strerror or first_line(error)))
        self.name = name

    def __str__(self) -> str:
        return f"the storage failed at {self.name}: {self.strerror}"


class Storage:
    """Whole files, written atomically. A reader sees the old content or the new, never a part of either."""

    def __init__(self, uri: str) -> None:
        """`uri`: a path (made absolute, `~` expanded) or a URI that `pyarrow.fs` knows. Raises InputError otherwise."""
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        try:
            self._fs, self.root = fs.FileSystem.from_uri(self.uri)
        except (OSError, ValueError, NotImplementedError) as error:
            raise InputError(
                f"storage {without_credentials(uri)!r} is neither a path nor a URI that pyarrow.fs can open: "
                f"{without_credentials(str(error))}"
            ) from error
        self.is_local = isinstance(self._fs, fs.LocalFileSystem)
        self._last_part: dict[str, tuple[int, bytes]] = {}  # of each log written here: number and content so far
        self._writer = uuid.uuid4().hex[:12]

    @property
    def label(self) -> str:
        """Its name in messages: the URI without user names and passwords."""
        return without_credentials(self.uri)

    @property
    def filesystem(self) -> fs.FileSystem:
        """The filesystem and the path in it, with all credentials."""
        return self._fs

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def display(self, name: str) -> str:
        """The name of a file in messages."""
        return within(self.label, name)

    def attempt(self, name: str, act: Callable[[], T]) -> T:
        """All reads and writes go through this context, which raises faults of the storage as StorageError."""
        try:
            return act()
        except (FileNotFoundError, StorageError):
            raise
        except OSError as error:
            raise StorageError(self.display(name), error) from error

    def exists(self, name: str) -> bool:
        return self.attempt(name, lambda: bool(self._fs.get_file_info(self.path(name)).type != fs.FileType.NotFound))

    def names(self, folder: str) -> list[str]:
        """Names (not paths) of the files and folders directly in `folder`, sorted; empty if there is no such folder."""
        if self.is_local:  # pyarrow raises if a folder is created during the listing
            with contextlib.suppress(FileNotFoundError):
                return self.attempt(folder, lambda: sorted(os.listdir(self.path(folder))))
            return []
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        return self.attempt(folder, lambda: sorted(info.base_name for info in self._fs.get_file_info(selector)))

    def times(self, folder: str) -> dict[str, float]:
        """Names of the files directly in `folder`, and when each was last written, in seconds by the store's clock."""
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        found = self.attempt(folder, lambda: self._fs.get_file_info(selector))
        return {info.base_name: info.mtime_ns / 1e9 for info in found if info.type == fs.FileType.File}

    def read(self, name: str) -> bytes:
        """The whole file. Raises FileNotFoundError."""

        def act() -> bytes:
            with self._fs.open_input_stream(self.path(name)) as stream:
                content: bytes = stream.read()
            return content

        return self.attempt(name, act)

    def write(self, name: str, content: bytes) -> None:
        """Replace the whole file, atomically; a local file is on the disk when this returns."""
        self.attempt(name, lambda: self._write(name, content))

    def _write(self, name: str, content: bytes) -> None:
        target = self.path(name)
        if not self.is_local:  # an object store shows an object only when it is complete
            with self._fs.open_output_stream(target) as stream:
                stream.write(content)
            return
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        temporary = f"{target}.{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def write_sealed(self, name: str, content: bytes) -> None:
        """Replace the whole file by a JSON object with its digest (see `seal`), atomically."""
        self.write(name, sealed(content))

    def read_sealed(self, name: str) -> bytes:
        """A sealed file, a JSON object without its digest. Raises FileNotFoundError, and DamagedFileError."""
        return unsealed(self.read(name), self.display(name))

    def check_end(self, name: str) -> None:
        """Read a sealed file's last bytes. Raises FileNotFoundError, and DamagedFileError if it was cut off."""

        def act() -> bytes:
            with self._fs.open_input_file(self.path(name)) as file:
                file.seek(max(0, file.size() - SEAL_BYTES))
                end: bytes = file.read()
            return end

        check_end(self.attempt(name, act), self.display(name))

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.attempt(name, lambda: self._fs.delete_file(self.path(name)))

    def append_lines(self, name: str, lines: Iterable[str]) -> None:
        """Add lines to a log that one process writes; the cost does not grow with the log.

        In a local log, a line that a crash left incomplete is removed before the next one is written. In an object
        store, where files cannot grow, the log is a series of numbered parts, and the last part is rewritten until it
        is full. A second process cannot be excluded there, so each process uses its own names for parts and never
        replaces another's.
        """
        content = "".join(f"{line}\n" for line in lines).encode()
        if not content:
            return
        if not self.is_local:
            self._append_to_parts(name, content)
            return
        self.attempt(name, lambda: self._append(name, content))

    def _append(self, name: str, content: bytes) -> None:
        """Append to a local file. After a partial write, it is continued after its last complete line."""
        Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True)
        with open(self.path(name), "a+b") as file:
            _cut_torn_line(file)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _append_to_parts(self, name: str, content: bytes) -> None:
        if name not in self._last_part:
            folder, base = os.path.split(name)
            self._last_part[name] = sum(entry.startswith(f"{base}.part") for entry in self.names(folder)), b""
        number, written = self._last_part[name]
        self.write(f"{name}.part{number:08d}-{self._writer}", written + content)
        full = len(written) + len(content) >= PART_BYTES
        self._last_part[name] = (number + 1, b"") if full else (number, written + content)

    def read_lines(self, name: str) -> list[str]:
        """All complete lines of a log, in the order of writing; empty if there is none. An incomplete last line is
        dropped.

        Bytes that are not valid text become surrogates; the caller, who knows the meaning of the lines, reports them.

        With several concurrent writers, each one's lines are in order, and after all lines that existed at its start.
        """
        folder, base = os.path.split(name)
        parts = [entry for entry in self.names(folder) if entry == base or entry.startswith(f"{base}.part")]
        content = b"".join(self.read(f"{folder}/{part}" if folder else part) for part in parts)
        whole = content[: content.rfind(b"\n") + 1].decode(errors="surrogateescape")
        return whole.split("\n")[:-1]  # not splitlines: a line may hold other characters that break lines

    def cut_last_line(self, name: str) -> None:
        """Remove the last complete line of a local log, and an incomplete one after it."""
        with open(self.path(name), "r+b") as file:
            _cut_torn_line(file)
            file.truncate(max(0, file.tell() - 1))  # its newline: now it is torn
            _cut_torn_line(file)

    def fetch(self, name: str, destination: Path) -> Path:
        """A local path with the file's content: the file itself if it is local, else a copy at `destination`."""
        if self.is_local:
            return Path(self.path(name))
        self.attempt(name, lambda: self._copy(name, destination))
        return destination

    def _copy(self, name: str, destination: Path) -> None:
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = destination.with_name(f"{destination.name}.{uuid.uuid4().hex}.tmp")
        with self._fs.open_input_stream(self.path(name)) as source, open(temporary, "wb") as target:
            shutil.copyfileobj(source, target)
        os.replace(temporary, destination)


def _cut_torn_line(file: BinaryIO) -> None:
    """Truncate after the last newline and stay at the end; reads backwards, so only the incomplete part."""
    end = file.seek(0, os.SEEK_END)
    position, tail = end, b""
    while position and b"\n" not in tail:
        position = max(0, position - 4096)
        file.seek(position)
        tail = file.read(4096)
    whole = position + tail.rfind(b"\n") + 1
    if whole < end:
        file.truncate(whole)
    file.seek(whole)


def within(storage: str, name: str) -> str:
    """A path within a storage; its URI may end with options, such as `s3://bucket/place?region=eu-west-1`."""
    place, mark, options = storage.partition("?") if "://" in storage else (storage, "", "")
    return f"{place.rstrip('/')}/{name}{mark}{options}"


def trial_file(trial: str, name: str) -> str:
    """The name, within a storage, of one of a trial's files."""
    return f"trials/{trial}/{name}"


def sweep_file(sweep: str, name: str) -> str:
    """The name, within a storage, of one of a sweep's files."""
    return f"sweeps/{sweep}/{name}"


def checkpoint_file(trial: str) -> str:
    """The checkpoint from which an interrupted trial resumes."""
    return trial_file(trial, "checkpoint.pt")


def division_file(checkpoint: str) -> str:
    """The file beside a checkpoint with the micro-batch size to try instead of the planned one."""
    return f"{checkpoint}.micro_batch_size"


def step_checkpoint_file(trial: str, number: int) -> str:
    """The checkpoint of one method of a variant's chain."""
    return trial_file(trial, f"step{number}.pt")


def remove_checkpoint(storage: Storage, checkpoint: str) -> None:
    """Remove the files that only an interrupted training needs."""
    storage.remove(checkpoint)
    storage.remove(division_file(checkpoint))
