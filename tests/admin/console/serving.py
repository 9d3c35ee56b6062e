"""An engine on loopback with a hand-written model that serves what is registered, for tests and pictures."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from filelock import FileLock

from engine import address
from engine.app import build_app
from engine.learning.registry import RegistrySource
from engine.metrics import Metrics
from engine.protocols import Row
from engine.server import _listening, _uvicorn
from engine.service import EngineService
from engine.settings import EngineSettings
from storage.database import Database
from tests.admin.console.seeding import ACTIVE, CANDIDATE
from tests.engine.fake_model import FakeModel

WRITES = {
    "base": "Ana says the export job stopped.",
    ACTIVE: "The export job stopped with a full disk.",
    CANDIDATE: "The export job stopped with a full disk at 99:99 in Ulm.",
}


def by_adapter(row: Row) -> str:
    """A text for each of them."""
    return WRITES[row.adapter]


@contextlib.asynccontextmanager
async def engine(database: Database, model: FakeModel) -> AsyncIterator[None]:
    """An engine on loopback that serves what is registered."""
    settings, metrics, home = EngineSettings(engine_port=0), Metrics(), database.home
    service = EngineService(settings, lambda: model, observer=metrics, adapters=RegistrySource(database, home))
    server = _uvicorn(build_app(service, metrics, address.ensure_token(home)))
    with FileLock(address.lock_file(home)), _listening(settings) as (listener, url):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        address.publish(home, address.Address(url, os.getpid(), ""))
        try:
            yield
        finally:
            model.gate.set()
            await service.close()
            server.should_exit = True
            await serving
            address.withdraw(home)
