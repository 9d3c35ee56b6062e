"""Resolve (and, with ``--load``, load and write with) a model in a process of its own; prints one JSON object.

The Hub library reads its address and cache from the environment once, when imported; so each case is a process.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from engine.model.resolve import NotFetched, resolve
from engine.settings import EngineSettings
from storage.errors import ModelError


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--revision", default="")
    parser.add_argument("--pins", type=Path)
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--look", action="store_true", help="fetch nothing")
    arguments = parser.parse_args()
    settings = EngineSettings(
        engine_model=arguments.model, engine_revision=arguments.revision, engine_device="cpu", engine_threads=1
    )
    steps: list[str] = []
    try:
        if not arguments.load:
            found = resolve(settings, pins=arguments.pins, tell=steps.append, fetch=not arguments.look)
            files = sorted(file.name for file in found.path.iterdir())
            print(json.dumps({"revision": found.revision, "files": files, "steps": steps}))
            return
        from engine.model.loading import load
        from engine.protocols import Row
        from tests.engine.model.listening import write

        model = load(settings, steps.append, pins=arguments.pins)
        text = write(model, [Row("Ana checked the invoice.", 8)]).ended[0].text
        print(json.dumps({"revision": model.info.revision, "label": model.info.label, "text": text, "steps": steps}))
    except ModelError as error:
        said = {"error": error.message, "hint": error.hint, "kind": type(error).__name__, "steps": steps}
        print(json.dumps({**said, "bytes": error.total_bytes if isinstance(error, NotFetched) else None}))


if __name__ == "__main__":
    main()
