"""Files that a later step builds on carry a digest: whatever is changed in one is told, and nothing is built on it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from trainables.seal import sealed, unsealed


@given(st.dictionaries(st.text(), st.floats(allow_nan=False), min_size=1), st.sampled_from([None, 1]))
def test_what_was_sealed_comes_back_and_is_json_as_before(value: dict[str, object], indent: int | None) -> None:
    content = json.dumps(value, indent=indent).encode()
    assert unsealed(sealed(content), "x") == content
    assert json.loads(sealed(content)).items() >= {k: v for k, v in value.items() if k != "sha256"}.items()
