"""The generated parts of the documentation are what the code and the committed results make of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import reference
from docs.build import BLOCKS, ROOT, build

_WRITTEN = sorted(path for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def test_every_generated_part_is_current() -> None:
    stale = [
        str(path.relative_to(ROOT))
        for path, text in build().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, f"run `make docs`: {stale}"


def test_env_example_names_every_setting_once_and_holds_no_secret() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    for cls in reference.CLASSES:
        for name, field in cls.model_fields.items():
            lines = [line for line in text.splitlines() if line.startswith(f"#{name.upper()}=")]
            assert len(lines) == 1, name
            if reference.is_secret(field):
                assert lines[0] == f"#{name.upper()}="


def test_every_setting_has_a_sentence() -> None:
    missing = [name for cls in reference.CLASSES for name, field in cls.model_fields.items() if not field.description]
    assert not missing


def test_env_example_uncommented_is_accepted_by_every_settings_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = re.sub(r"^#(?=[A-Z_]+=)", "", (ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.MULTILINE)
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    monkeypatch.setenv("REDRAFT_ENV_FILE", str(tmp_path / ".env"))
    for cls in reference.CLASSES:
        assert cls.load()


@pytest.mark.parametrize("path", _WRITTEN, ids=lambda path: path.name)
def test_links_between_our_own_pages_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", _WRITTEN, ids=lambda path: path.name)
def test_every_block_is_known_and_closed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    opened = re.findall(r"<!-- made:([\w-]+) -->", text)
    assert opened == re.findall(r"<!-- /made:([\w-]+) -->", text)
    assert set(opened) <= set(BLOCKS)
