"""Make the generated parts of the documentation: ``make docs`` (``--check`` only compares, and fails on a difference).

Generated are: every table of figures (from ``benchmarks/results/*.json``), the demo's output in the README (from
``docs/demo.txt``), the command line's reference (``docs/cli.md``, from ``--help``), the settings' reference
(``docs/settings.md``) and ``.env.example`` (from the settings classes), and the tree in ``docs/architecture.md`` (from
each package's own contract). A block stands between ``<!-- made:NAME -->`` and ``<!-- /made:NAME -->``; everything
else is written by hand. A test runs the check.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from docs import blocks, reference

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"(<!-- made:(?P<name>[\w-]+) -->\n).*?(<!-- /made:(?P=name) -->)", re.DOTALL)

#: Files that are generated whole.
WHOLE: dict[str, Callable[[], str]] = {
    ".env.example": reference.env_example,
    "docs/cli.md": reference.command_line,
    "docs/settings.md": reference.settings,
}
#: Blocks within hand-written files; ``bench-NAME`` is a benchmark's tables.
BLOCKS: dict[str, Callable[[], str]] = {
    "demo": blocks.demo,
    "tree": blocks.tree,
    **{f"bench-{name}": partial(blocks.benchmark, name) for name in blocks.BENCHMARKS},
}


def fill(text: str) -> str:
    """Put every block of ``text`` anew; an unknown name is an error."""

    def make(match: re.Match[str]) -> str:
        return f"{match[1]}{BLOCKS[match['name']]().rstrip()}\n{match[3]}"

    return _BLOCK.sub(make, text)


def build() -> dict[Path, str]:
    """Every generated file's path and what it should hold."""
    made = {ROOT / name: make() for name, make in WHOLE.items()}
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        if path not in made:
            made[path] = fill(path.read_text(encoding="utf-8"))
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if something differs")
    check = parser.parse_args().check
    stale = [
        (path, text) for path, text in build().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        print(f"{'differs' if check else 'wrote'}: {path.relative_to(ROOT)}", file=sys.stderr)
        if not check:
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
