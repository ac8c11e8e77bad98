"""Finds and masks passwords and keys, within addresses or by their names, so that they are never stored or printed."""

from __future__ import annotations

import re

# `user:password@`; "anonymous" is no secret, and asks for access without one. Azure's `container@account` has no user:
# there a password stands between the container and the account.
USER = re.compile(r"(?<=://)(?!anonymous@)(?<!abfs://)(?<!abfss://)(?:[^/@\s:]*(?::[^@\s]*)?@)+", re.IGNORECASE)
AZURE_PASSWORD = re.compile(r"(abfss?://)([^/@\s:]*):[^@\s]*@(?:[^/@\s]*@)*", re.IGNORECASE)

# `?sig=...&client_secret=...`: the value, but for the punctuation of the sentence that it may end.
SECRET_OPTION = re.compile(
    r"(?<=[?&;])([\w.%-]*(?:sig|signature|pass|passwd|password|pwd|secret|token|key|credential|sas)=)"
    r"""[^&#\s"]+?(?=['"),.:;]*(?:[&#\s"]|$))""",
    re.IGNORECASE,
)
BARE_NAME = re.compile(r"(?<=://)[^/@\s:]*@")
MASK = "***"

SECRET_WORDS = {"PASSWORD", "PASSWD", "PASS", "SECRET", "TOKEN", "CREDENTIAL", "CREDENTIALS", "KEY", "APIKEY"}
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def looks_secret(name: str, value: str) -> bool:
    """Whether a setting is a secret by its name: `api_key`, `accessToken`.

    An empty value is not a secret, and neither is the name of a variable that holds one: `api_key_env: MY_KEY`.
    """
    words = set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper().replace("-", "_").split("_"))
    names_a_variable = name.upper().endswith("_ENV") and VARIABLE.fullmatch(value) is not None
    return bool(value and words & SECRET_WORDS) and not names_a_variable


def has_secret(text: str) -> bool:
    """Whether the text has an address with a password or a secret option; a user name alone is not a secret."""
    return without_credentials(text) not in (text, BARE_NAME.sub("", text))


def without_credentials(text: str) -> str:
    """The text without the `user:password@` of any address, and with secret options masked; safe to store or print."""
    text = USER.sub("", text)
    text = AZURE_PASSWORD.sub(lambda found: found[1] + (found[2] and f"{found[2]}@"), text)
    return SECRET_OPTION.sub(rf"\g<1>{MASK}", text)
