"""Where a sweep keeps its files: a local folder or any `pyarrow.fs` URI (s3://, gs://, ...), behind the same few verbs.

    <storage>/trials/<trial id>/    what one trial made; shared by every sweep that has this trial
    <storage>/sweeps/<name>/        what one sweep did: its plan, its journal
Names given to these functions are relative to the root and use `/`.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from pyarrow import fs


class Storage:
    """Whole files, written atomically. A reader sees the old content or the new, never a part of either."""

    def __init__(self, uri: str) -> None:
        """`uri`: a path (made absolute, `~` expanded) or a URI that `pyarrow.fs` knows. Raises ValueError otherwise."""
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        try:
            self._fs, self.root = fs.FileSystem.from_uri(self.uri)
        except (OSError, ValueError, NotImplementedError) as error:
            raise ValueError(
                f"storage {uri!r} is neither a path nor a URI that pyarrow.fs can open: {error}"
            ) from error
        self.is_local = isinstance(self._fs, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self._fs.get_file_info(self.path(name)).type != fs.FileType.NotFound)

    def names(self, folder: str) -> list[str]:
        """Names (not paths) of the files and folders directly in `folder`, sorted; empty if there is no such folder."""
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        return sorted(info.base_name for info in self._fs.get_file_info(selector))

    def read(self, name: str) -> bytes:
        """The whole file. Raises FileNotFoundError."""
        with self._fs.open_input_stream(self.path(name)) as stream:
            content: bytes = stream.read()
        return content

    def write(self, name: str, content: bytes) -> None:
        """Replace the whole file, atomically; on a local disk it has reached the disk when this returns."""
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

    def append_lines(self, name: str, lines: Iterable[str]) -> None:
        """Add lines to a log that one process writes. Where files cannot grow, each call adds a numbered part.

        A line that a crash tore is cut off before the next one is written.
        """
        content = "".join(f"{line}\n" for line in lines).encode()
        if not content:
            return
        if not self.is_local:
            folder, base = os.path.split(name)
            count = sum(entry.startswith(f"{base}.part") for entry in self.names(folder))
            self.write(f"{name}.part{count:08d}", content)
            return
        Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True)
        with open(self.path(name), "a+b") as file:
            file.seek(0)
            existing = file.read()
            if existing and not existing.endswith(b"\n"):
                file.truncate(existing.rfind(b"\n") + 1)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def read_lines(self, name: str) -> list[str]:
        """All whole lines of a log, in the order of writing; empty if there is none. A torn last line is left out."""
        folder, base = os.path.split(name)
        parts = [entry for entry in self.names(folder) if entry == base or entry.startswith(f"{base}.part")]
        content = b"".join(self.read(f"{folder}/{part}" if folder else part) for part in parts)
        return content[: content.rfind(b"\n") + 1].decode().splitlines()

    def fetch(self, name: str, destination: Path) -> Path:
        """A local path with the file's content: the file itself if it is local, else a copy at `destination`."""
        if self.is_local:
            return Path(self.path(name))
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = destination.with_name(f"{destination.name}.{uuid.uuid4().hex}.tmp")
        with self._fs.open_input_stream(self.path(name)) as source, open(temporary, "wb") as target:
            shutil.copyfileobj(source, target)
        os.replace(temporary, destination)
        return destination


def trial_file(trial: str, name: str) -> str:
    """The name, within a storage, of one of a trial's files."""
    return f"trials/{trial}/{name}"


def sweep_file(sweep: str, name: str) -> str:
    """The name, within a storage, of one of a sweep's files."""
    return f"sweeps/{sweep}/{name}"
