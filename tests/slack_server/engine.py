"""``python -m tests.slack_server.engine``: a real engine server with a hand-written model that repeats what it reads.

It writes the last messages of its prompt as sentences, so that a test can tell what was read; with ``SLOW_ENGINE`` it
takes its time. It runs until SIGTERM.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

from engine.protocols import Row
from engine.server import serve
from engine.settings import EngineSettings
from storage.home import Home
from storage.settings import StorageSettings
from tests.engine.fake_model import INFO, FakeModel


def write(row: Row) -> str:
    """The last lines of the prompt, as sentences of up to twelve words."""
    time.sleep(float(os.environ.get("SLOW_ENGINE", "0")))
    lines = [line.strip() for line in row.prompt.splitlines() if ": " in line][-6:]
    said = [
        f"{name} said {' '.join(words.split()[:12]).rstrip('.')}."
        for name, _, words in (line.partition(": ") for line in lines)
    ]
    return " ".join(said) or "Nobody said anything."


if __name__ == "__main__":
    home = Home.create(StorageSettings.load())
    info = replace(INFO, context_tokens=4096, max_new_tokens=512)
    serve(EngineSettings.load(engine_port=0), home, lambda: FakeModel(info, write=write))
