"""The registry of adapters: which there are, in what state, where they come from, and what an engine is to serve.

A row is written once the files are in place, and never before, so that a row without files or files without a row tell
of a process that died or of a hand in the data directory; :func:`recover` sees to both. It moves no pointer but to take
out of service what is not there any more: promotions are :mod:`engine.learning.promotion`. It knows no model.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlmodel import Session

from engine import scopes
from engine.learning.alerts import clear_alert, raise_alert
from engine.learning.ledger import Ledger, recorded
from engine.learning.locks import held, run_lock
from engine.learning.pointers import BASE, label_of, moved, take_out
from engine.learning.tainted import has_lost_pairs
from engine.protocols import ServingTable
from storage import adapter_queries as queries
from storage.database import Database
from storage.errors import InputError, ModelError
from storage.home import Home
from storage.learning_tables import AdapterRow, EvaluationRow, PromotionRow, RunRow

if TYPE_CHECKING:
    from sqlalchemy import Row

    from engine.model.adapter_files import Manifest

#: So many adapters are tried in place of one that is refused.
_MOST_STAND_INS = 3


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where an adapter comes from and what became of it.

    Attributes:
        adapter: its row.
        run: the fine-tune that made it; None where that row is gone.
        pairs: pairs of that run that still stand, by origin; ``erased`` counts those that do not.
        evaluation: its newest gate, or None.
        promotions: the changes of its scope that it had a part in, oldest first.
        present: whether its files are on this machine.
    """

    adapter: AdapterRow
    run: RunRow | None
    pairs: dict[str, int]
    evaluation: EvaluationRow | None
    promotions: Sequence[PromotionRow]
    present: bool


@dataclass(frozen=True, slots=True)
class Recovered:
    """What :func:`recover` did, by adapter id or directory name; ``removed`` counts what was left unfinished."""

    removed: int = 0
    recorded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def record_candidate(
    session: Session, ledger: Ledger, manifest: Manifest, *, size_bytes: int, now: datetime | None = None
) -> AdapterRow:
    """Record an adapter whose files are in place; one that is recorded already is left as it is.

    Words that it was trained on may have been erased while its process was dead: then it is tainted, and overdue.

    Args:
        session: the writing transaction of ``ledger``.
        manifest: as it lies in the adapter's directory.
        size_bytes: of all its files.
    """
    known = session.get(AdapterRow, manifest.id)
    if known is not None:
        return known
    about, moment = manifest.about, (now or datetime.now(UTC)).astimezone(UTC)
    row = AdapterRow(
        id=manifest.id,
        scope=about.scope,
        state="candidate",
        state_since=moment,
        created_at=moment,
        base_model=about.base_model,
        base_revision=about.base_revision,
        prompt_version=about.prompt_version,
        run_id=about.run_id,
        data_hash=about.data_hash,
        settings_hash=about.settings_hash,
        train_pairs=about.train_pairs,
        size_bytes=size_bytes,
    )
    if has_lost_pairs(session, about.run_id):
        row.tainted_at = row.retire_by = moment
    session.add(row)
    run = session.get(RunRow, about.run_id)
    if run is not None and not run.adapter_id:
        run.adapter_id = manifest.id
    session.flush()
    details = {
        "scope": row.scope,
        "run": row.run_id,
        "base": label_of(row.base_model, row.base_revision),
        "pairs": row.train_pairs,
        "data": row.data_hash,
        "settings": row.settings_hash,
    }
    ledger.append("adapter.recorded", by="redraft", subject=row.id, details=details, now=moment)
    return row


def active_adapter(session: Session, scope: str) -> AdapterRow | None:
    """The adapter that a scope itself has in service; None where a wider scope or the base serves it."""
    return queries.active_of(session=session, scope=scope)


def in_service(session: Session, scope: str) -> str:
    """What serves a scope's conversations: the adapter of the narrowest scope that has one in service, or ``base``.

    It is what a candidate for the scope is measured against.

    Raises:
        InputError: it is no scope.
    """
    for one in scopes.serving(scopes.parse(scope)):
        row = active_adapter(session, one)
        if row is not None:
            return row.id
    return BASE


def list_adapters(session: Session, *, scope: str | None = None, state: str | None = None) -> Sequence[AdapterRow]:
    """The adapters, newest first."""
    return queries.adapters(session=session, scope=scope, state=state)


def find(session: Session, name: str) -> AdapterRow:
    """The adapter of that id, or the only one whose id begins so.

    Raises:
        InputError: there is none, or more than one.
    """
    row = session.get(AdapterRow, name)
    if row is not None:
        return row
    found = queries.adapters_named(session=session, beginning=name) if name else ()
    if len(found) == 1:
        return found[0]
    raise InputError(
        f"More than one adapter's id begins with {name[:40]}." if found else f"There is no adapter {name[:40]}.",
        "`redraft adapters list` shows them all.",
    )


def lineage(session: Session, home: Home, name: str) -> Lineage:
    """Where an adapter comes from: its pairs, run and base; and what became of it.

    Raises:
        InputError: there is no such adapter.
    """
    row = find(session, name)
    return Lineage(
        adapter=row,
        run=session.get(RunRow, row.run_id),
        pairs=queries.pairs_of_run(session=session, run_id=row.run_id),
        evaluation=queries.newest_evaluation(session=session, adapter_id=row.id),
        promotions=[
            one
            for one in reversed(queries.promotions_of(session=session, scope=row.scope))
            if row.id in (one.adapter, one.replaced)
        ],
        present=directory_of(home, row.id).is_dir(),
    )


def directory_of(home: Home, adapter_id: str) -> Path:
    """Where an adapter's files are on this machine."""
    return home.adapters / adapter_id


class RegistrySource:
    """An :class:`engine.protocols.AdapterSource` that reads the database: one small query, one look at a directory.

    What is active and not on this machine is left out, and the next wider scope serves in its place. Which adapters fit
    the loaded base is for the engine to check; where it refuses the active one, the one that served before stands in,
    unless that was rejected since, is tainted, belongs to another base, or is not on this machine.

    Args:
        database: the registry.
        home: where the adapters' files are.
    """

    def __init__(self, database: Database, home: Home) -> None:
        self._database = database
        self._home = home

    def serving(self) -> ServingTable:
        """See :meth:`engine.protocols.AdapterSource.serving`."""
        with self._database.read() as session:
            rows = queries.serving_rows(session=session)
        present = set(_present(self._home))
        available = {row.id: str(directory_of(self._home, row.id)) for row in rows if row.id in present}
        in_service = [row for row in rows if row.state == "active" and row.id in present]
        known = {row.id: row for row in rows}
        return ServingTable(
            active={row.scope: row.id for row in in_service},
            available=available,
            before={row.scope: _stand_ins(row, known, available) for row in in_service},
        )

    def report(self, refused: Mapping[str, str], attached: Collection[str]) -> None:
        """Raise the alert of an adapter that an engine refuses, and clear it once one could be attached.

        Of one that neither serves nor waits there is nothing to do, so nothing is told.

        Args:
            refused: a sentence by adapter.
            attached: adapters that can write.

        Raises:
            StorageError: the database cannot be used.
        """
        with self._database.read() as session:
            told = queries.open_of_kind(session=session, kind="adapter-refused")
            rows = queries.serving_rows(session=session)
        known = {row.id for row in rows if row.state in ("active", "candidate")}
        new = {adapter: why for adapter, why in refused.items() if adapter in known and adapter not in told}
        well = [adapter for adapter in attached if adapter in told and adapter not in refused]
        if not new and not well:
            return
        with self._database.write() as session:
            for adapter, why in new.items():
                command = f"redraft adapters show {adapter}"
                raise_alert(session, kind="adapter-refused", subject=adapter, sentence=why, command=command)
            for adapter in well:
                clear_alert(session, kind="adapter-refused", subject=adapter)


def _stand_ins(active: Row[Any], known: Mapping[str, Row[Any]], available: Collection[str]) -> list[str]:
    """The adapters that served a scope before its active one and may again, the latest first."""
    found: list[str] = []
    seen, name = {active.id}, active.replaced
    while name in known and name not in seen and len(found) < _MOST_STAND_INS:
        seen.add(name)
        row, name = known[name], known[name].replaced
        sound = row.state == "retired" and row.tainted_at is None and row.id in available
        if sound and (row.base_model, row.base_revision) == (active.base_model, active.base_revision):
            found.append(row.id)
    return found


def recover(database: Database, home: Home, *, now: datetime | None = None) -> Recovered:
    """Bring rows and files together again after a process that died, or a hand in the data directory.

    - A complete adapter without a row whose run is known becomes the candidate that it would have become.
    - What a publisher that died left unfinished (a name that begins with a dot) goes.
    - An adapter whose directory is gone is told by an alert. With an SQLite database, which has one machine, an active
      one is also taken out of service. Where several machines share a PostgreSQL database, another may well have it:
      there it is not served on this machine (:class:`RegistrySource`), and what is active is left to an administrator.

    Raises:
        StorageError: the database cannot be used, or the directory of the adapters cannot be written.
    """
    from engine.model.adapter_publishing import discard_unfinished

    moment = (now or datetime.now(UTC)).astimezone(UTC)
    done = Recovered(removed=discard_unfinished(home.adapters))
    with database.read() as session:
        rows = {row.id: row for row in queries.adapters(session=session)}
    present = set(_present(home))
    for name in sorted(present - rows.keys()):
        _adopt(database, home, name, moment, done)
    gone = [row for row in rows.values() if row.state in ("active", "candidate") and row.id not in present]
    back = [row for row in rows.values() if row.id in present]
    with database.read() as session:
        open_ones = queries.open_of_kind(session=session, kind="adapter-missing")
    told = [row for row in back if row.id in open_ones]
    if not gone and not told:
        return done
    with recorded(database) as (session, ledger):
        for row in told:
            clear_alert(session, kind="adapter-missing", subject=row.id, now=moment)
        for row in gone:
            _tell_missing(session, ledger, home, row.id, alone=database.kind == "sqlite", now=moment)
            done.missing.append(row.id)
    return done


def _present(home: Home) -> Iterator[str]:
    """Ids whose directory is there and whole; a link is nobody's adapter."""
    with contextlib.suppress(FileNotFoundError), os.scandir(home.adapters) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                yield entry.name


def _adopt(database: Database, home: Home, name: str, now: datetime, done: Recovered) -> None:
    """Record a directory without a row, if it is an adapter that one of our runs made and whose process is dead."""
    from engine.model.adapter_files import read_manifest

    directory = directory_of(home, name)
    try:
        manifest = read_manifest(directory)
    except ModelError:
        done.unknown.append(name)
        return
    if held(run_lock(home, manifest.about.run_id)):
        return  # it is about to record it itself, or to find that it may not
    size = sum(one.stat().st_size for one in directory.iterdir() if one.is_file())
    with recorded(database) as (session, ledger):
        if manifest.id != name or session.get(RunRow, manifest.about.run_id) is None:
            done.unknown.append(name)
            return
        record_candidate(session, ledger, manifest, size_bytes=size, now=now)
    done.recorded.append(name)


def _tell_missing(session: Session, ledger: Ledger, home: Home, adapter_id: str, *, alone: bool, now: datetime) -> None:
    row = next((one for one in queries.lock_adapters(session=session) if one.id == adapter_id), None)
    if row is None or directory_of(home, adapter_id).is_dir():
        return
    what = f"The files of adapter {row.id} are not in {home.adapters}"
    if row.state == "active" and alone:
        reason = "Its files are gone."
        details = {"scope": row.scope, "served": True, "reason": reason}
        line = ledger.append("adapter.retired", by="redraft", subject=row.id, details=details, now=now)
        take_out(session, row, "retired", reason, now)
        moved(session, line, row.scope, "retire", BASE, row.id, reason, now)
        what += f"; it was taken out of service for {row.scope}"
    elif row.state == "active":
        what += f"; this machine serves {row.scope} without it"
    elif row.state == "candidate":
        what += "; it cannot be promoted"
    else:
        return
    raise_alert(
        session,
        kind="adapter-missing",
        subject=row.id,
        sentence=what + ".",
        command=f"redraft adapters show {row.id}",
        now=now,
    )
