"""The README shows the files as they are."""

from tests.readme import README, refreshed


def test_the_readme_shows_the_files_as_they_are() -> None:
    text = README.read_text()
    assert refreshed(text) == text, "refresh it with: python -m tests.readme"
