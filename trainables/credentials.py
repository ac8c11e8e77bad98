"""Names and passwords within addresses: they are used, and neither kept nor printed."""

from __future__ import annotations

import re


def without_credentials(text: str) -> str:
    """The text without the `user:password@` of any address in it: for what is kept or printed."""
    return re.sub(r"(?<=://)(?:[^/@\s:]*(?::[^@\s]*)?@)+", "", text)
