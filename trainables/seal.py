"""A digest at the end of a file, which therefore reaches the storage together with the file.

A disk, a network or a user may change a file that a later step uses, and torch does not check the checksums of its own
archives. So stored files are *sealed*: they end with the SHA-256 of everything before, in a place that their format
allows. Programs that know the format, but not the seal, can still read them.

    a JSON object    its last key, "sha256"
    a zip archive    its comment: torch's checkpoints, weights and exported models are such archives
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from pathlib import Path
from typing import BinaryIO

from trainables.errors import ParetuneError

_DIGITS = 64  # hexadecimal digits of a SHA-256
_KEY, _BRACE = b',"sha256":"', b'"}'
_COMMENT = (len(b"sha256:") + _DIGITS).to_bytes(2, "little") + b"sha256:"  # a zip archive ends: length, comment
_NO_COMMENT, _ARCHIVE_END_BYTES = b"\0\0", 22  # of an archive without one: its last bytes; its closing record
_SEAL = re.compile(rb"(%s|%s)([0-9a-f]{64})(%s|)\Z" % tuple(map(re.escape, (_KEY, _COMMENT, _BRACE))), re.DOTALL)
SEAL_BYTES = len(_KEY) + _DIGITS + len(_BRACE)  # of the longer of the two
_CHUNK_BYTES = 1 << 20


class DamagedFileError(ParetuneError):
    """A file differs from what was written; the message begins with its name."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name} is damaged: {what}")
        self.name, self.what = name, what


def sealed(content: bytes) -> bytes:
    """A JSON object or a zip archive, with its digest. Raises ValueError for anything else."""
    file = io.BytesIO(content)
    seal(file)
    return file.getvalue()


def seal(file: BinaryIO) -> None:
    """Add its digest to a JSON object or a zip archive that is open for reading and writing. Raises ValueError."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _ARCHIVE_END_BYTES))
    end = file.read()
    if end.startswith(b"PK\x05\x06") and end.endswith(_NO_COMMENT):
        start, before, after = size - len(_NO_COMMENT), _COMMENT, b""
    elif end.endswith(b"}"):
        start, before, after = size - 1, _KEY, _BRACE
    else:
        raise ValueError("only a JSON object, or a zip archive without a comment, can be sealed")
    file.seek(start)
    file.write(before)
    digest = _digest(file, start + len(before))
    file.write(digest + after)


def seal_file(path: Path) -> None:
    """Add its digest to a file that is not yet in use. Raises ValueError unless it is a JSON object or a zip
    archive.
    """
    with open(path, "r+b") as file:
        seal(file)


def unsealed(content: bytes, name: str) -> bytes:
    """The content of a sealed file: a JSON object without the seal; an archive as it is.

    Raises DamagedFileError with `name`, the file's name in messages.
    """
    found = _checked(io.BytesIO(content), name)
    return content[: -len(found[0])] + b"}" if found[1] == _KEY else content


def sealed_line(text: str) -> str:
    """A JSON object on one line, with its digest."""
    return sealed(text.encode()).decode()


def unsealed_line(line: str, name: str) -> str:
    """The text that was given to `sealed_line`. Raises DamagedFileError."""
    return unsealed(line.encode(errors="surrogateescape"), name).decode()


def check_seal(path: Path, name: str | None = None) -> None:
    """Raises DamagedFileError unless the file is bitwise what was sealed. `name`: the file's name in messages."""
    with open(path, "rb") as file:
        _checked(file, name or str(path))


def check_end(end: bytes, name: str) -> re.Match[bytes]:
    """Check the seal in a file's last `SEAL_BYTES`: it shows that the file is complete, but not that it is unchanged.

    Raises DamagedFileError.
    """
    found = _SEAL.search(end)
    if found is None or (found[1] == _KEY) != (found[3] == _BRACE):
        raise DamagedFileError(name, "it does not end with a digest: it was truncated, changed or not sealed")
    return found


def _checked(file: BinaryIO, name: str) -> re.Match[bytes]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - SEAL_BYTES))
    found = check_end(file.read(), name)
    if _digest(file, size - len(found[2]) - len(found[3])) != found[2]:
        raise DamagedFileError(
            name, "its content does not match the digest at its end, so it was changed after writing"
        )
    return found


def _digest(file: BinaryIO, size: int) -> bytes:
    """Of the first `size` bytes; leaves the file behind them."""
    file.seek(0)
    sha256, left = hashlib.sha256(), size
    while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
        sha256.update(chunk)
        left -= len(chunk)
    return sha256.hexdigest().encode()
