"""What `redraft doctor` looks at: one finding and one fix a line, each check on its own so that none hides another.

A check makes nothing: no data directory, no database. Whatever goes wrong in one is its finding. It knows no rule of
the product: it asks the parts that do. The model libraries are asked in a child process, and so is the bot, which
this package may not import.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from storage.errors import RedraftError
from storage.settings import StorageSettings

if TYPE_CHECKING:
    from engine.model.probe import Probe

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's: what was looked at, how it is, and what to do where it is not well."""

    name: str
    status: Status
    finding: str
    fix: str = ""


def examine() -> Iterator[Finding]:
    """Every check's findings, as each comes."""
    for name, check in (
        ("Python", lambda: [_python()]),
        ("SQLite", lambda: [_sqlite()]),
        ("Model", _model_libraries),
        ("Settings", lambda: [_settings()]),
        ("Data directory", lambda: [_data_directory()]),
        ("Database", lambda: [_database()]),
        ("Disk", lambda: [_disk()]),
        ("Backup", lambda: [_backup()]),
        ("Base", lambda: [_base()]),
        ("Alerts", _alerts),
        ("Engine", lambda: [_engine()]),
        ("Chats", _bot),
    ):
        yield from _guarded(name, check)


def _guarded(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except RedraftError as error:
        yield Finding(name, "fail", error.message, error.hint)
    except OSError as error:
        yield Finding(name, "fail", f"could not be looked at ({error.strerror})", "Check its permissions.")
    except Exception as error:
        # A defect in one check must not hide the others from somebody who needs them.
        yield Finding(name, "fail", f"could not be looked at ({type(error).__name__})", "Please report this.")


def _python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    label = ".".join(str(part) for part in version)
    if version < (3, 11):
        return Finding("Python", "fail", label, "Install Python 3.11 or later.")
    return Finding("Python", "ok", label)


def _sqlite() -> Finding:
    from storage.connection import wal_is_safe

    version = sqlite3.sqlite_version
    if wal_is_safe(sqlite3.sqlite_version_info):
        return Finding("SQLite", "ok", f"{version}, write-ahead log")
    return Finding(
        "SQLite", "ok", f"{version}, rollback journal (this version lacks the WAL-reset fix; slower writes, as safe)"
    )


def _model_libraries() -> Iterator[Finding]:
    from engine.model.probe import probe

    found = probe()
    if found.error:
        yield Finding("torch", "fail", found.error, "Install Redraft again: `make demo` in its checkout, or its wheel.")
        return
    for name in ("torch", "transformers", "peft", "bitsandbytes"):
        version = getattr(found, name)
        status: Status = "ok" if version else "fail"
        fix = "" if version else f"Install it again: pip install --force-reinstall {name}."
        yield Finding(name, status, version or "does not import", fix)
    yield (
        Finding("4-bit kernels", "fail", found.nf4_error, "Reinstall bitsandbytes, or check the GPU's driver.")
        if (found.nf4_error)
        else Finding("4-bit kernels", "ok", "an NF4 round trip works")
    )
    if found.gpus:
        for gpu in found.gpus:
            size = f"{gpu.name}, {gpu.total_bytes / 1e9:.0f} GB, {gpu.free_bytes / 1e9:.0f} GB free"
            yield Finding("GPU", "ok", size)
    else:
        yield Finding("GPU", "ok", "none that CUDA sees; the model runs on the CPU")
    if found.transformers:
        yield from _guarded("Model", lambda: [_model(found)])


def _model(found: Probe) -> Finding:
    from engine.model.checkpoint import check_family, read_checkpoint
    from engine.model.resolve import NotFetched, gigabytes, resolve
    from engine.settings import EngineSettings
    from storage.home import Home

    settings = EngineSettings.load()
    on_gpu = bool(found.gpus) and settings.engine_device != "cpu"
    if settings.engine_device == "cuda" and not found.gpus:
        return Finding(
            "Model", "fail", "ENGINE_DEVICE=cuda, and CUDA sees no GPU", "Set it to auto, or mend the driver."
        )
    try:
        resolved = resolve(settings, pins=Home.at(StorageSettings.load()).models, fetch=False)
    except NotFetched as error:
        return Finding("Model", "warn", error.message, error.hint)
    checkpoint = read_checkpoint(resolved.path, resolved.name)
    check_family(checkpoint)
    needed = checkpoint.bytes_needed("nf4" if settings.engine_quantization == "nf4" else "full", 2 if on_gpu else 4)
    memory = found.gpus[0].total_bytes if on_gpu else machine_memory()
    if needed > memory:
        finding = f"{settings.engine_model} needs {gigabytes(needed)}, and there are {gigabytes(memory)} in all"
        return Finding("Model", "fail", finding, "Choose a smaller model: `redraft init` proposes one.")
    if settings.engine_model == "starter":
        return Finding("Model", "ok", "the starter model, a demonstration; `redraft init` chooses a real one")
    label = settings.engine_model + (f"@{resolved.revision[:12]}" if resolved.revision else "")
    if resolved.revision and not settings.engine_revision:
        fix = f"Set ENGINE_REVISION={resolved.revision}, so that every machine takes the same one."
        return Finding("Model", "warn", f"{label}, pinned on this machine only", fix)
    return Finding("Model", "ok", f"{label}, on the {'GPU' if on_gpu else 'CPU'}")


def machine_memory() -> int:
    """Memory of the machine in bytes."""
    import psutil

    return int(psutil.virtual_memory().total)


def _settings() -> Finding:
    from engine.settings import EngineSettings
    from storage.config import env_file

    path = env_file()
    EngineSettings.load()
    StorageSettings.load()
    if path is None:
        return Finding("Settings", "ok", "no .env; defaults and the environment (`redraft init` writes one)")
    if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Finding("Settings", "warn", f"{path} can be read by others", f"chmod 600 {path}")
    return Finding("Settings", "ok", str(path))


def _data_directory() -> Finding:
    from storage.home import Home

    root = Home.at(StorageSettings.load()).root
    if not root.exists():
        parent = next(one for one in root.parents if one.exists())
        if not os.access(parent, os.W_OK | os.X_OK):
            fix = "Set REDRAFT_HOME to a directory that can be made and written."
            return Finding("Data directory", "fail", f"{root} cannot be made: {parent} is not writable", fix)
        return Finding("Data directory", "ok", f"{root}, made when it is first needed")
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        return Finding("Data directory", "fail", f"{root} cannot be written", "Check who owns it, or set REDRAFT_HOME.")
    if (mode := stat.S_IMODE(root.stat().st_mode)) & 0o077:
        return Finding("Data directory", "fail", f"{root} is open to others (mode {mode:o})", f"chmod 700 {root}")
    return Finding("Data directory", "ok", str(root))


def _has_database(settings: StorageSettings) -> bool:
    from storage.home import Home

    return settings.postgresql_url is not None or Home.at(settings).database.exists()


def _database() -> Finding:
    from storage.database import Database

    settings = StorageSettings.load()
    if not _has_database(settings):
        return Finding("Database", "ok", "none yet; the first summary makes it")
    database = Database.open(settings)
    try:
        if problems := database.check():
            return Finding("Database", "fail", f"damaged: {problems}", "Run `redraft restore DIR` from a backup.")
        return Finding("Database", "ok", f"{database.where}: whole, schema current")
    finally:
        database.close()


def _disk() -> Finding:
    from engine.learning.alerts import LOW_DISK_BYTES
    from storage.home import Home

    root = Home.at(StorageSettings.load()).root
    free = shutil.disk_usage(next(one for one in (root, *root.parents) if one.exists())).free
    if free < LOW_DISK_BYTES:
        return Finding("Disk", "warn", f"{free / 1e9:.1f} GB free", "Free some space, or move REDRAFT_HOME.")
    return Finding("Disk", "ok", f"{free / 1e9:.0f} GB free")


def _backup() -> Finding:
    from storage.backup import last_backup
    from storage.database import Database

    settings = StorageSettings.load()
    if not _has_database(settings):
        return Finding("Backup", "ok", "nothing to back up yet")
    database = Database.open(settings)
    try:
        last = last_backup(database)
    finally:
        database.close()
    if last is None:
        return Finding("Backup", "warn", "never made", "Run `redraft backup DIR`, daily from a timer.")
    days = (datetime.now(UTC) - last).days
    if days > settings.backup_max_age_days:
        return Finding("Backup", "warn", f"{days} days old", "Run `redraft backup DIR`.")
    return Finding("Backup", "ok", f"{last:%Y-%m-%d %H:%M} UTC")


def _base() -> Finding:
    """What an engine loads, and which adapters are in service on it."""
    from engine.learning.bases import base_in_service
    from engine.learning.registry import list_adapters
    from engine.settings import EngineSettings
    from storage.database import Database

    settings = StorageSettings.load()
    if not _has_database(settings):
        return Finding("Base", "ok", "the configured one, without an adapter yet")
    database = Database.open(settings)
    try:
        found = base_in_service(database, EngineSettings.load())
        with database.read() as session:
            active = list_adapters(session, state="active")
    finally:
        database.close()
    if found.detail:
        return Finding("Base", "warn", found.detail, "`redraft adapters list` shows what is in service.")
    serving = ", ".join(f"{row.id} for {row.scope}" for row in active) or "no adapter in service"
    return Finding("Base", "ok", f"{found.label}; {serving}")


#: Checks of their own look at these, just now.
_OWN_CHECK = ("disk", "backup")


def _alerts() -> Iterator[Finding]:
    from engine.learning.alerts import open_alerts
    from storage.database import Database

    settings = StorageSettings.load()
    found = []
    if _has_database(settings):
        database = Database.open(settings)
        try:
            with database.read() as session:
                found = [row for row in open_alerts(session) if row.kind not in _OWN_CHECK]
        finally:
            database.close()
    for row in found:
        yield Finding("Alert", "warn", row.sentence, f"Run: {row.command}" if row.command else "")
    if not found:
        yield Finding("Alerts", "ok", "none")


def _engine() -> Finding:
    import asyncio

    from engine.address import supervised
    from engine.client import HttpClient
    from engine.requests import Health
    from storage.home import Home

    home = Home.at(StorageSettings.load())

    async def ask() -> Health:
        client = HttpClient(home)
        try:
            return await client.health()
        finally:
            await client.close()

    if not home.root.exists():
        return Finding("Engine", "ok", "not running; `redraft up` starts it, `redraft summarize` does without")
    health = asyncio.run(ask())
    if supervised(home):
        note = "" if health.state != "down" else health.detail
        if note:
            return Finding("Engine", "warn", note, "If it stays so, its log in the data directory says why.")
    if health.state == "down":
        return Finding("Engine", "ok", "not running; `redraft up` starts it, `redraft summarize` does without")
    told = f"{health.state}, {health.running} running, {health.waiting} waiting"
    if health.restarts:
        finding = f"{told}, started again {health.restarts} times. {health.detail}".strip()
        return Finding("Engine", "warn", finding, "Its log in the data directory says why it fell.")
    if health.detail:
        return Finding("Engine", "warn", f"{told}. {health.detail}", "Its log in the data directory says more.")
    return Finding("Engine", "ok", told)


def _bot() -> Iterator[Finding]:
    from admin.bot_checks import bot_checks

    for one in bot_checks():
        status: Status = "fail" if one["status"] == "fail" else "warn" if one["status"] == "warn" else "ok"
        yield Finding(one["name"], status, one["finding"], one["fix"])
