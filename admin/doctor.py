"""What `redraft doctor` looks at: one finding and one fix a line, each check on its own so that none hides another.

A check never raises and changes nothing. It knows no rule of the product: it asks the parts that do. The model
libraries are asked in a child process, and so is the bot, which this package may not import.
"""

from __future__ import annotations

import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from storage.errors import RedraftError
from storage.settings import StorageSettings

Status = Literal["ok", "warn", "fail"]
#: Free space under which a fine-tune's checkpoints and a backup no longer fit side by side.
_LOW_DISK_BYTES = 2 * 10**9


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's: what was looked at, how it is, and what to do where it is not well."""

    name: str
    status: Status
    finding: str
    fix: str = ""


def examine() -> Iterator[Finding]:
    """Every check's finding, as each comes."""
    yield _python()
    yield _sqlite()
    yield from _model_libraries()
    try:
        settings = StorageSettings.load()
    except RedraftError as error:
        yield Finding("Settings", "fail", error.message, error.hint)
        return
    yield _settings()
    for check in (_data_directory, _database, _disk, _backup):
        yield _guarded(check, settings)
    yield from _bot()


def _guarded(check: Callable[[StorageSettings], Finding], settings: StorageSettings) -> Finding:
    name = check.__name__.strip("_").replace("_", " ").capitalize()
    try:
        return check(settings)
    except RedraftError as error:
        return Finding(name, "fail", error.message, error.hint)
    except OSError as error:
        return Finding(name, "fail", f"could not be looked at ({error.strerror})", "Check its permissions.")


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
        yield Finding("torch", "fail", found.error, "Install again: pip install --constraint constraints.txt redraft.")
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
    yield _model(on_gpu=bool(found.gpus))


def _model(*, on_gpu: bool) -> Finding:
    from engine.model.checkpoint import check_family, read_checkpoint
    from engine.model.resolve import NotFetched, resolve
    from engine.settings import EngineSettings
    from storage.home import Home

    try:
        settings = EngineSettings.load()
        resolved = resolve(settings, pins=Home.at(StorageSettings.load()).root / "models.json", fetch=False)
        check_family(read_checkpoint(resolved.path, resolved.name))
    except NotFetched as error:
        return Finding("Model", "warn", error.message, error.hint)
    except RedraftError as error:
        return Finding("Model", "fail", error.message, error.hint)
    if settings.engine_model == "starter":
        return Finding("Model", "ok", "the starter model, a demonstration; `redraft init` chooses a real one")
    label = settings.engine_model + (f"@{resolved.revision[:12]}" if resolved.revision else "")
    if resolved.revision and not settings.engine_revision:
        fix = f"Set ENGINE_REVISION={resolved.revision}, so that every machine takes the same one."
        return Finding("Model", "warn", f"{label}, pinned on this machine only", fix)
    return Finding("Model", "ok", f"{label}, on the {'GPU' if on_gpu else 'CPU'}")


def _settings() -> Finding:
    from engine.settings import EngineSettings
    from storage.config import env_file

    path = env_file()
    try:
        EngineSettings.load()
    except RedraftError as error:
        return Finding("Settings", "fail", error.message, error.hint)
    if path is None:
        return Finding("Settings", "ok", "no .env; defaults and the environment (`redraft init` writes one)")
    if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Finding("Settings", "warn", f"{path} can be read by others", f"chmod 600 {path}")
    return Finding("Settings", "ok", str(path))


def _data_directory(settings: StorageSettings) -> Finding:
    from storage.home import Home

    root = Home.at(settings).root
    # Looked at before anything opens it: opening tightens the mode, and that it was open is worth knowing.
    if root.is_dir() and (mode := stat.S_IMODE(root.stat().st_mode)) & 0o077:
        return Finding("Data directory", "fail", f"{root} is open to others (mode {mode:o})", f"chmod 700 {root}")
    Home.create(settings)
    return Finding("Data directory", "ok", str(root))


def _database(settings: StorageSettings) -> Finding:
    from storage.database import Database

    database = Database.open(settings)
    try:
        return Finding("Database", "ok", f"{database.where}, schema current")
    finally:
        database.close()


def _disk(settings: StorageSettings) -> Finding:
    from storage.home import Home

    free = shutil.disk_usage(Home.create(settings).root).free
    if free < _LOW_DISK_BYTES:
        return Finding("Disk", "warn", f"{free / 1e9:.1f} GB free", "Free some space, or move REDRAFT_HOME.")
    return Finding("Disk", "ok", f"{free / 1e9:.0f} GB free")


def _backup(settings: StorageSettings) -> Finding:
    from storage.backup import last_backup
    from storage.database import Database

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


def _bot() -> Iterator[Finding]:
    from admin.bot_checks import bot_checks

    for one in bot_checks():
        status: Status = "fail" if one["status"] == "fail" else "warn" if one["status"] == "warn" else "ok"
        yield Finding(one["name"], status, one["finding"], one["fix"])
