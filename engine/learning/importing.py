"""Importing pairs from a file: the whole file or nothing.

The file is read to its end, checked and put aside (:mod:`engine.learning.staging`), every row's side of the split is
decided there, and only then is the database written, in one transaction and without much to think about in it, so that
others wait seconds and not minutes. If somebody else has decided on a pair in between, the sides are decided again.

Imported summaries count as blind references. Rows without text, and those that are stored already, are passed over.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engine.formats.source import shown
from engine.learning import near, splits
from engine.learning.dialogues import content_hash
from engine.learning.ledger import recorded
from engine.learning.near import Side
from engine.learning.pair_rows import PairText, pair_of
from engine.learning.row_files import refused, rows_of
from engine.learning.staging import Staging, Waiting, staging
from engine.scopes import DEFAULT, parse
from engine.text.safety import visible
from storage import split_queries as queries
from storage.errors import InputError

if TYPE_CHECKING:
    from sqlmodel import Session

    from storage.database import Database

_BATCH = 500
#: Near-duplicates' keys in one statement.
_KEYS = 20_000
#: How often the sides are decided without keeping others from writing.
_TRIES = 3

Tell = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        rows: rows of the file.
        added: pairs that are new.
        duplicates: rows that were stored already or stood in the file before.
        empty: rows without a dialogue or a summary.
        splits: of the new pairs, how many are on each side: ``train``, ``heldout``, ``bridge``.
        moved: new pairs that are not on the side asked for, because they resemble what is on another.
    """

    rows: int
    added: int
    duplicates: int
    empty: int
    splits: dict[str, int]
    moved: int


@dataclass(frozen=True, slots=True)
class Options:
    """How a file's rows are taken.

    Attributes:
        scope: the scope that they train, see :mod:`engine.scopes`.
        source, licence: of all rows; empty takes what each row says.
        origin: of rows that name none: ``imported`` or ``case``.
        split: the side for all that resemble nothing; None draws.
        approve: approve them at once.
    """

    scope: str = DEFAULT
    source: str = ""
    licence: str = ""
    origin: str = "imported"
    split: Side | None = None
    approve: bool = False


def import_pairs(
    database: Database,
    path: Path,
    options: Options,
    *,
    by: str,
    now: datetime | None = None,
    tell: Tell | None = None,
) -> Imported:
    """Import the pairs of a file, or of standard input for ``-``.

    Args:
        by: who imports; they answer for its contents, and with ``approve`` for their use.
        tell: hears what is being done and how many rows it has been done for.

    Raises:
        InputError: the file is malformed, with the row and what is wrong with it, or the scope is none.
        StorageError: it could not be stored.
    """
    with rows_of(path) as rows:
        name = "standard input" if str(path) == "-" else shown(path.name)
        pairs = ((raw.number, pair_of(raw, file=name)) for raw in rows)
        return _import(database, pairs, options, by=by, now=now, tell=tell, name=name)


def add_case(
    database: Database,
    *,
    dialogue: str,
    summary: str,
    by: str,
    scope: str = DEFAULT,
    name: str = "",
    source: str = "",
    licence: str = "",
    approve: bool = False,
    now: datetime | None = None,
) -> Imported:
    """Take one resolved support case: its dialogue as ``Name: text`` lines, and its agent's own summary.

    A case whose dialogue is a stored conversation is taken by :func:`engine.learning.corrections.write_blind`.

    Raises:
        InputError: the dialogue has no line that says who speaks, one of both is empty, or the scope is none.
        StorageError: it could not be stored.
    """
    from engine.learning.row_files import Raw

    values = {"id": name, "dialogue": dialogue, "summary": summary, "source": source, "licence": licence}
    pair = pair_of(Raw(1, 1, {**values, "origin": "case"}), file="the case")
    if pair is None:
        raise InputError("A case needs a dialogue and a summary.", "Give both.")
    options = Options(scope=scope, approve=approve, origin="case")
    return _import(database, [(1, pair)], options, by=by, now=now, tell=None, name="the case")


def conversation_key(dialogue: str) -> str:
    """What the split goes by for a dialogue that is no stored conversation; the same for the same words."""
    return "i-" + hashlib.sha256(" ".join(dialogue.split()).encode("utf-8", "replace")).hexdigest()[:24]


def _import(
    database: Database,
    pairs: Iterable[tuple[int, PairText | None]],
    options: Options,
    *,
    by: str,
    now: datetime | None,
    tell: Tell | None,
    name: str,
) -> Imported:
    plan = _Plan(options, by, (now or datetime.now(UTC)).astimezone(UTC), tell or (lambda *_: None))
    with staging(database.home.root) as waiting:
        rows, empty = _read(waiting, pairs, plan)
        if not rows:
            raise refused(name, "has no rows", "Name a file with pairs in it.")
        for left in range(_TRIES, -1, -1):
            if left:
                with database.read() as session:
                    before = queries.state_of_splits(session=session)
                blocks = _Blocks(database)
                counts = _decide(waiting, blocks, plan)
            with recorded(database) as (session, ledger):
                if not left:
                    counts = _decide(waiting, _Held(session), plan)
                elif queries.state_of_splits(session=session) != before:
                    continue
                _store(session, waiting, plan)
                added = sum(counts.splits.values())
                done = Imported(rows, added, rows - empty - added, empty, dict(counts.splits), counts.moved)
                ledger.append("pairs.imported", by=by, details=_details(done, options), now=plan.now)
                return done
    raise AssertionError("the last try stores what it has")


@dataclass(frozen=True, slots=True)
class _Plan:
    options: Options
    by: str
    now: datetime
    tell: Tell

    @property
    def home(self) -> str:
        """The home scope of the pairs; imports into a channel count as private."""
        return str(parse(self.options.scope))

    @property
    def place(self) -> dict[str, Any]:
        scope = parse(self.options.scope)
        public = bool(scope.platform and not scope.channel)
        where = {"platform": scope.platform or "file", "workspace": scope.workspace, "channel": scope.channel}
        return {**where, "public": public}


@dataclass(slots=True)
class _Counts:
    splits: Counter[str]
    moved: int = 0


def _read(waiting: Staging, pairs: Iterable[tuple[int, PairText | None]], plan: _Plan) -> tuple[int, int]:
    """Put the rows aside; how many there are, and how many are empty."""
    options = plan.options
    parse(options.scope)
    source, licence = (" ".join(visible(t, keep_newlines=False).split()) for t in (options.source, options.licence))
    rows = empty = 0
    batch: list[Waiting] = []
    for number, pair in pairs:
        rows += 1
        if pair is None:
            empty += 1
            continue
        pair = replace(
            pair,
            origin=options.origin if pair.origin == "imported" else pair.origin,
            source=source or pair.source,
            licence=licence or pair.licence,
        )
        key = conversation_key(pair.dialogue)
        batch.append(Waiting(number, content_hash(pair.dialogue, pair.summary), key, pair))
        if len(batch) >= _BATCH:
            waiting.add(batch)
            batch.clear()
            plan.tell("Reading", rows)
    waiting.add(batch)
    return rows, empty


# The sides ----------------------------------------------------------------------------------------------------------


class _Held:
    """The database inside a transaction that keeps others from writing."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def __enter__(self) -> Session:
        return self.session

    def __exit__(self, *_: object) -> None:
        pass


class _Blocks:
    """The database in short reads, so that nobody who writes waits for the whole of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Session:
        self._open = self._database.read()
        return self._open.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)


class _Both:
    """What near-duplicates are looked for in: the rows that wait, and what is stored."""

    def __init__(self, waiting: Staging, session: Session, *, empty: bool) -> None:
        self._waiting = waiting
        self._session = session
        self._empty = empty

    def sharing(self, keys: Sequence[str], *, but: str, most: int) -> Sequence[str]:
        found = self._waiting.sharing(keys, but=but, most=most)
        if self._empty or len(found) >= most:
            return found
        stored = queries.near_sharing(session=self._session, keys=keys, but=but, most=most)
        return list(dict.fromkeys([*found, *stored]))[:most]

    def dialogues(self, conversation_key: str) -> Iterable[str]:
        yield from self._waiting.dialogues(conversation_key)
        if not self._empty:
            yield from queries.dialogues_of(session=self._session, conversation_key=conversation_key)


def _decide(waiting: Staging, reading: _Held | _Blocks, plan: _Plan) -> _Counts:
    """Decide on the side of every row that is not stored yet, in the order of the file."""
    waiting.forget_sides()
    counts = _Counts(Counter())
    blind: int | None = None
    done = 0
    for batch in waiting.batches(_BATCH):
        with reading as session:
            if blind is None:
                blind = splits.held_out(session, plan.home)
                empty = not queries.any_near_keys(session=session)
            stored = queries.stored_contents(session=session, hashes=[row.hash for row in batch])
            sides = queries.sides_of(session=session, keys=[row.key for row in batch])
            known = _Both(waiting, session, empty=empty)
            for row in batch:
                if row.hash in stored:
                    continue
                split = sides.get(row.key) or waiting.side_of(row.key)
                fresh = not split
                if fresh:
                    found = near.likeness(row.text.dialogue)
                    share = splits.share_held_out(blind)
                    split = splits.decide(known, found, key=row.key, wanted=plan.options.split, share=share)
                    if split == "heldout" and row.text.origin in splits.BLIND_ORIGINS:
                        blind += 1
                waiting.set_side(row, split, fresh=fresh)
                if fresh and split != "bridge":
                    waiting.keep_near(row, found, cast("Side", split))
                counts.splits[split] += 1
                counts.moved += plan.options.split not in (None, split)
        done += len(batch)
        plan.tell("Comparing", done)
    return counts


# Storing ------------------------------------------------------------------------------------------------------------


def _store(session: Session, waiting: Staging, plan: _Plan) -> None:
    place = plan.place
    decided = {"state": "approved", "decided_at": plan.now, "decided_by": plan.by} if plan.options.approve else {}
    done = 0
    for batch in waiting.decided(_BATCH):
        queries.add_splits(
            session=session,
            rows=[
                {
                    "conversation_key": row.key,
                    "side": split,
                    "scope": plan.home,
                    "assigned_at": plan.now,
                }
                for row, split, fresh in batch
                if fresh
            ],
        )
        queries.add_pairs(session=session, rows=[_row(row, split, plan, place, decided) for row, split, _ in batch])
        done += len(batch)
        plan.tell("Storing", done)
    for keys in waiting.near_keys(_KEYS):
        queries.add_fresh_near_keys(session=session, keys=keys)


def _row(row: Waiting, split: str, plan: _Plan, place: dict[str, Any], decided: dict[str, Any]) -> dict[str, Any]:
    text = row.text
    return {
        "id": uuid.uuid4().hex,
        "name": text.name,
        "content_hash": row.hash,
        "conversation_key": row.key,
        "origin": text.origin,
        "split": split,
        "state": "pending",
        "seen_draft": text.origin == "edited",
        "style": text.style,
        "focus": text.focus,
        "output_language": text.output_language,
        "source": text.source,
        "licence": text.licence,
        "dialogue": text.dialogue,
        "summary": text.summary,
        "summaries": list(text.summaries),
        "created_at": plan.now,
        **place,
        **decided,
    }


def _details(done: Imported, options: Options) -> dict[str, Any]:
    chosen = {"scope": options.scope, "origin": options.origin, "split": options.split or "auto"}
    named = {name: value for name, value in (("source", options.source), ("licence", options.licence)) if value}
    counts = {"rows": done.rows, "added": done.added, "duplicates": done.duplicates, "empty": done.empty}
    return {**counts, "splits": done.splits, "approved": options.approve, **chosen, **named}
