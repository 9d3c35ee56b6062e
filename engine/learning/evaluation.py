"""Evaluating an adapter: base, active and candidate write of the same held-out conversations, and the gate judges.

It reads the pairs, asks the engine, stores the figures as a row (no text of anybody's), the texts beside the run for
its report, and the verdict with the adapter. What decides is in :mod:`engine.scoring`; who promotes, elsewhere.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.learning import registry
from engine.learning.bases import settings_of
from engine.learning.evaluation_files import Texts, write_texts
from engine.learning.heldout import Held, held_out, references_of
from engine.learning.ledger import recorded
from engine.learning.pointers import BASE, base_of, label_of
from engine.learning.writing import Pause, Writer, Written
from engine.scoring.gate import Against, GateReport, judge
from engine.scoring.measuring import System, measure
from engine.scoring.metrics import house_stems, trivial_extract
from storage.erasure_queries import missing_pairs
from storage.errors import EngineError, InputError
from storage.learning_tables import AdapterRow, EvaluationRow

if TYPE_CHECKING:
    from engine.learning.settings import LearningSettings
    from engine.protocols import EngineClient
    from engine.settings import EngineSettings
    from storage.database import Database

#: Newest training pairs whose references help to tell the house style; more change nothing and cost time.
_HOUSE_PAIRS = 1_000

#: What systems are called in progress and errors.
_NAMES: dict[System, str] = {"base": "the base", "active": "what is active", "candidate": "the candidate"}


@dataclass(frozen=True, slots=True)
class _Task:
    """What is to be measured, as the database had it in one transaction."""

    adapter: AdapterRow
    active: AdapterRow | None
    held: list[Held]
    house: frozenset[str]


async def evaluate(
    database: Database,
    client: EngineClient,
    settings: LearningSettings,
    *,
    adapter_id: str,
    by: str = "redraft",
    now: datetime | None = None,
    tell: Callable[[str], None] | None = None,
    elsewhere: Callable[[AdapterRow], EngineClient] | None = None,
    pause: Pause = asyncio.sleep,
) -> EvaluationRow:
    """Measure an adapter on its scope's held-out pairs against what would serve that scope today.

    What would serve it is the adapter in service for the scope itself or, where there is none, for the next wider one;
    the base where nothing is. With fewer held-out conversations than a verdict takes, all is measured and the verdict
    is inconclusive.

    Args:
        client: the engine; it must be able to serve adapters by their ids. It is not closed.
        adapter_id: of a recorded adapter.
        by: who asked for it, for the ledger.
        now: the time of the evaluation.
        tell: hears sentences on how far it is.
        elsewhere: makes an engine with the base that an adapter belongs to, for one that ``client`` cannot serve: when
            the configured base changes, the candidate on the new one is held against the adapter on the old one. It is
            closed after use; see :func:`engines_of_their_own`.
        pause: waits for so many seconds before a busy or lost engine is asked again.

    Returns:
        The stored row.

    Raises:
        InputError: there is no such adapter.
        EngineError: too many summaries failed, no engine answers, or none has the base that an adapter belongs to.
        StorageError: the figures or texts cannot be stored.
    """
    began = time.monotonic()
    task = _task(database, settings, adapter_id)
    systems: dict[System, str] = {"base": BASE, "candidate": task.adapter.id}
    if task.active is not None and task.active.id != task.adapter.id:
        systems["active"] = task.active.id
    against: Against = "active" if "active" in systems else "base"
    engines = _Engines(client, elsewhere, tell, pause)
    try:
        held, written = await _written(task, systems, engines)
    finally:
        await engines.close()
    summaries: dict[System, list[str]] = {system: found.texts for system, found in written.items()}
    summaries["trivial"] = [trivial_extract(one.dialogue) for one in held]
    if tell is not None:
        tell("Comparing the summaries.")
    report = await asyncio.to_thread(_judged, held, summaries, task.house, against)
    extra = {
        "systems": {**systems, "trivial": ""},
        "failed": {system: found.failed for system, found in written.items()},
        "left_out": len(task.held) - len(held),
        "seconds": round(time.monotonic() - began, 1),
    }
    row = EvaluationRow(
        id=uuid.uuid4().hex,
        adapter_id=task.adapter.id,
        scope=task.adapter.scope,
        against=systems[against],
        run_id=task.adapter.run_id,
        at=(now or datetime.now(UTC)).astimezone(UTC),
        verdict=report.verdict,
        blind_references=report.blind.references,
        report={**report.as_json(), "evaluation": extra},
    )
    _store(database, row, Texts(row.id, held, summaries), by)
    return row


def engines_of_their_own(settings: EngineSettings, database: Database) -> Callable[[AdapterRow], EngineClient]:
    """What :func:`evaluate` takes as ``elsewhere``: an engine in this process with an adapter's own base.

    Args:
        settings: of the engine; the model is replaced by the adapter's base. What comes back raises an EngineError for
            a base that is not on this machine any more.
    """

    def make(adapter: AdapterRow) -> EngineClient:
        from engine.local import LocalClient

        with database.read() as session:
            own = settings_of(session, adapter, settings)
        if own is None:
            raise EngineError(
                f"The adapter {adapter.id} belongs to {label_of(*base_of(adapter))}, which is not on this machine.",
                f"Bring that model back, or take the adapter out: redraft adapters retire {adapter.id}",
            )
        return LocalClient(own, database.home, adapters=registry.RegistrySource(database, database.home))

    return make


class _Engines:
    """The engine that was handed in, and at most one more for the adapter whose base that one has not."""

    def __init__(
        self,
        client: EngineClient,
        elsewhere: Callable[[AdapterRow], EngineClient] | None,
        tell: Callable[[str], None] | None,
        pause: Pause,
    ) -> None:
        self._client = client
        self._elsewhere = elsewhere
        self._tell, self._pause = tell, pause
        self._writers: dict[tuple[str, str], Writer] = {}
        self._opened: EngineClient | None = None

    async def writer(self, adapter: AdapterRow) -> Writer:
        """A writer whose engine has an adapter's base."""
        base = base_of(adapter)
        if base not in self._writers:
            self._writers[base] = Writer(await self._engine(adapter), tell=self._tell, pause=self._pause)
        return self._writers[base]

    async def _engine(self, adapter: AdapterRow) -> EngineClient:
        from engine.client import settled

        label = label_of(*base_of(adapter))
        # One that has loaded nothing yet loads what is configured, which is what candidates are made from.
        # A running one has perhaps just been given its memory back, and loads whatever serves, which is to be seen.
        model = (await settled(self._client, self._pause)).model
        if not self._writers and (model is None or model.label == label):
            return self._client
        if self._writers and model is not None and model.label == label:
            return self._client
        if self._elsewhere is None:
            raise EngineError(
                f"The adapter {adapter.id} belongs to the base {label}, and the engine has another.",
                f"Measure it where both can be loaded: redraft evaluate {adapter.id}",
            )
        await self.close()
        self._opened = self._elsewhere(adapter)
        return self._opened

    async def close(self) -> None:
        """Close the engine that was opened here, if any."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()


async def _written(
    task: _Task, systems: dict[System, str], engines: _Engines
) -> tuple[list[Held], dict[System, Written]]:
    """The conversations that can be measured on, and what every system wrote of them."""
    held, written = task.held, dict[System, Written]()
    order: tuple[System, ...] = ("base", "candidate", "active")
    for system in order:
        if system not in systems:
            continue
        adapter = task.active if system == "active" and task.active is not None else task.adapter
        writer = await engines.writer(adapter)
        written[system] = await writer.write(held, adapter=systems[system], name=_NAMES[system])
        if system == "base" and written[system].refused:
            # The model of today cannot be asked for these at all, so they measure nothing.
            held = [one for at, one in enumerate(held) if at not in written[system].refused]
            written[system] = await writer.write(held, adapter=BASE, name=_NAMES[system])
    return held, written


def directory_name(adapter: AdapterRow) -> str:
    """Under which name in ``runs/`` an adapter's evaluation lies: its run's or, for one without a run, its own."""
    return adapter.run_id or adapter.id


def _judged(
    held: Sequence[Held], summaries: dict[System, list[str]], house: frozenset[str], against: Against
) -> GateReport:
    items = [one.item for one in held]
    return judge(measure(items, summaries, house), measure(items, summaries, house, kind="edited"), against=against)


def _task(database: Database, settings: LearningSettings, adapter_id: str) -> _Task:
    from engine.learning import selection

    with database.read() as session:
        adapter = session.get(AdapterRow, adapter_id)
        if adapter is None:
            raise InputError(f"There is no adapter {adapter_id[:40]!r}.", "`redraft adapters list` shows them.")
        serving = registry.in_service(session, adapter.scope)
        active = session.get(AdapterRow, serving) if serving != BASE else None
        pairs = selection.heldout_pairs(session, adapter.scope, settings)
        held = held_out(pairs, most=settings.gate_max_conversations)
        trained = selection.training_pairs(session, adapter.scope, settings).pairs
        newest = sorted(trained, key=lambda pair: (pair.created_at, pair.id))[-_HOUSE_PAIRS:]
        texts = [text for pair in newest for text in references_of(pair)]
    texts += [text for one in held for text in (*one.blind, *one.edited)]
    return _Task(adapter, active, held, house_stems(texts))


def _store(database: Database, row: EvaluationRow, texts: Texts, by: str) -> None:
    """Store figures, verdict and texts.

    The texts are written within the transaction, without what was erased while it was being measured: an erasure that
    comes before finds its words gone from here, one that comes after finds the file.
    """
    with recorded(database) as (session, ledger):
        adapter = session.get(AdapterRow, row.adapter_id, with_for_update=True)
        if adapter is None:
            raise InputError("The adapter went while it was being evaluated.", "`redraft adapters list` shows them.")
        adapter.verdict = row.verdict
        session.add(row)
        session.flush()
        ledger.append(
            "adapter.evaluated",
            by=by,
            subject=row.adapter_id,
            details={"evaluation": row.id, "verdict": row.verdict, "against": row.against, "scope": row.scope},
            now=row.at,
        )
        shown = {pair for one in texts.held for pair in one.pairs}
        erased = missing_pairs(session=session, pairs=shown)
        write_texts(database.home, directory_name(adapter), texts.without((), erased))
