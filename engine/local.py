"""The engine in this process: for one-off command line use when none runs, and for tests.

The model is loaded in a thread of its own when the first summary is asked for. The rest is
:class:`engine.service.EngineService`, as in the engine's process.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.protocols import AdapterSource, TextModel
from engine.requests import Event, Health, SummaryRequest
from engine.service import EngineService
from engine.settings import EngineSettings

if TYPE_CHECKING:
    from storage.home import Home


def load_model(
    settings: EngineSettings, home: Home | None = None, tell: Callable[[str], None] | None = None
) -> TextModel:
    """The configured model; imports torch, so call it in the thread that will own the model.

    Args:
        settings: which model, and how.
        home: the data directory, which remembers what revision a name was first resolved to.
        tell: hears a sentence before each step that takes time, in the calling thread.

    Raises:
        ModelError: it cannot be loaded.
    """
    from engine.model.loading import load

    return load(settings, tell, pins=home.models if home is not None else None)


class LocalClient:
    """An :class:`engine.protocols.EngineClient` in this process.

    Args:
        settings: the model and the limits.
        home: the data directory: its log takes the details of failures when this process has none of its own.
        adapters: which adapters serve whom; None serves the base only.
        load: loads the model, in its thread; by default the configured one.
        tell: hears a sentence before each step of loading that takes time, in that thread.
        service: further arguments of :class:`EngineService`.
    """

    def __init__(
        self,
        settings: EngineSettings,
        home: Home | None = None,
        *,
        adapters: AdapterSource | None = None,
        load: Callable[[], TextModel] | None = None,
        tell: Callable[[str], None] | None = None,
        **service: Any,
    ) -> None:
        self._service = EngineService(
            settings, load or (lambda: load_model(settings, home, tell)), adapters=adapters, **service
        )
        self._closed = False
        self._handler = _log_to(home.logs if home else None) if not logging.getLogger().handlers else None

    async def summarize(self, request: SummaryRequest) -> AsyncGenerator[Event, None]:
        """See :meth:`engine.protocols.EngineClient.summarize`."""
        async with aclosing(self._service.summarize(request)) as events:
            async for event in events:
                yield event

    async def health(self) -> Health:
        """See :meth:`engine.protocols.EngineClient.health`."""
        health = self._service.health()
        return replace(health, state="down") if self._closed else health

    async def close(self) -> None:
        """Let go of the model; what is under way ends as unavailable."""
        self._closed = True
        await self._service.close()
        if self._handler is not None:
            logging.getLogger("engine").removeHandler(self._handler)
            self._handler.close()
            self._handler = None


class _PrivateFile(logging.FileHandler):
    """A log of mode 0600, made when there is something to write."""

    def _open(self) -> TextIOWrapper:
        os.close(os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        return super()._open()


def _log_to(directory: Path | None) -> logging.Handler:
    """Keep failures of the engine out of a command's standard error, and in a file where there is a place for one."""
    handler: logging.Handler = logging.NullHandler()
    if directory is not None and directory.is_dir():
        handler = _PrivateFile(directory / "local.log", encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    handler.setLevel(logging.WARNING)
    logging.getLogger("engine").addHandler(handler)
    return handler
