"""The pictures in the documentation are what the console looks like, and each is on the page."""

from __future__ import annotations

import re

from admin.console.widgets.names import SCREENS
from docs.pictures import FOLDER, pictures


def test_pictures_of_the_console_are_current() -> None:
    drawn = pictures()
    assert {name.removesuffix(".svg") for name in drawn} >= {name.key for name in SCREENS}
    stale = [
        name for name, text in drawn.items() if not (FOLDER / name).exists() or (FOLDER / name).read_text() != text
    ]
    assert not stale, f"run `python -m docs.pictures`: {stale}"
    assert {path.name for path in FOLDER.glob("*.svg")} == set(drawn)


def test_every_picture_is_on_the_page_of_the_console() -> None:
    page = (FOLDER.parent / "console.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\(console/([\w-]+\.svg)\)", page))
    assert shown == {path.name for path in FOLDER.glob("*.svg")}
