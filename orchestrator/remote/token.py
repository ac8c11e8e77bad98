"""The token that a cluster requires. Imports nothing that a broken installation might lack."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from trainables.errors import ParetuneError


class ClusterError(ParetuneError):
    """A problem between this machine and the cluster; the message names the way out."""


def auth_token(environment: Mapping[str, str] = os.environ) -> str | None:
    """The cluster's token, read where Ray reads it: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token.

    None if there is none, or with RAY_AUTH_MODE=disabled. Raises ClusterError if the named file cannot be read.
    """
    if environment.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return None
    if token := environment.get("RAY_AUTH_TOKEN", "").strip():
        return token
    named = environment.get("RAY_AUTH_TOKEN_PATH")
    try:
        path = Path(named or "~/.ray/auth_token").expanduser()
        token = path.read_text().strip()
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no known home
        if named is None:
            return None
        why = error.strerror if isinstance(error, OSError) else error
        raise ClusterError(f"the token file {named} (RAY_AUTH_TOKEN_PATH) cannot be read: {why}") from error
    if named and not token:
        raise ClusterError(f"the token file {named} (RAY_AUTH_TOKEN_PATH) is empty")
    return token or None
