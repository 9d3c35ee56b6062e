"""An evaluation measures what would change, stores figures and no text, and says when it could not measure."""

from __future__ import annotations

import asyncio
import json
import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from sqlmodel import select

from engine.client import HttpClient
from engine.learning import report
from engine.learning.evaluation import evaluate
from engine.learning.evaluation_files import path_of, read_texts
from engine.learning.heldout import held_out
from engine.learning.report import forget_conversations, report_path, write_report
from engine.learning.report_page import Page
from engine.learning.settings import LearningSettings
from engine.learning.writing import CONCURRENT
from engine.requests import Coverage, Event, Finished, Health, ModelInfo, Queued, SummaryRequest, SummaryResult
from engine.scoring.gate import GateReport
from storage.database import Database
from storage.errors import AdapterError, EngineBusy, EngineError, EngineUnavailable, InputError, OptionNotHonoured
from storage.learning_tables import (
    AdapterRow,
    AuthorisationRow,
    EvaluationRow,
    LedgerRow,
    PairRow,
    RunProgressRow,
    RunRow,
)
from storage.settings import StorageSettings
from tests.engine.learning.making import START, candidate, serve
from tests.engine.scoring import invented

SETTINGS = LearningSettings()
Write = Callable[[SummaryRequest], str]


async def at_once(seconds: float) -> None:
    """A pause that takes no time."""
    await asyncio.sleep(0)


def info(name: str = "tiny") -> ModelInfo:
    return ModelInfo(name, "", "bart", True, False, 512, 64)


class Engine:
    """An engine client that writes what a function says, and counts."""

    def __init__(self, write: Write, *, base: str = "tiny") -> None:
        self.asked: Counter[str] = Counter()
        self.together = self.most = 0
        self.closed = False
        self._write = write
        self._info = info(base)

    async def summarize(self, request: SummaryRequest) -> AsyncIterator[Event]:
        assert request.adapter is not None
        self.asked[request.adapter] += 1
        self.together += 1
        self.most = max(self.most, self.together)
        try:
            yield Queued(0)
            await asyncio.sleep(0)
            yield Finished(
                SummaryResult(
                    self._write(request), (), Coverage(1, 0, 1, "", "", 1), "tiny", request.adapter, "2",
                    request.style, request.focus, 1, 1, 0.1,
                )
            )  # fmt: skip
        finally:
            self.together -= 1

    async def health(self) -> Health:
        return Health("up", model=self._info)

    async def close(self) -> None:
        self.closed = True


def pair(at: int, dialogue: str, summary: str, **given: object) -> PairRow:
    fields: dict[str, object] = {
        "id": f"{at:032x}", "content_hash": f"hash-{at}", "conversation_key": f"key-{at}", "dialogue": dialogue,
        "summary": summary, "origin": "imported", "platform": "file", "state": "approved", "split": "heldout",
        "created_at": START + timedelta(minutes=at),
    }  # fmt: skip
    return PairRow(**{**fields, **given})


def add(database: Database, *pairs: PairRow) -> None:
    with database.write() as session:
        session.add_all(pairs)


def held(database: Database, count: int) -> None:
    add(
        database,
        *(
            pair(at, item.dialogue, item.blind[0], summaries=list(item.blind[1:]))
            for at, item in enumerate(invented.items(count))
        ),
    )


def said(request: SummaryRequest, *which: int) -> str:
    return " ".join(request.conversation.messages[at].text for at in which)


def learned(request: SummaryRequest) -> str:
    """An extract by the base, what people would write by anybody else."""
    if request.adapter == "base":
        return said(request, 0, 1)
    first, second = said(request, 2).removesuffix("."), said(request, 3).split("Please ", 1)[1]
    return f"Customer is complaining that {first.lower()}. Agent asks to {second}"


@pytest.fixture
def sqlite(make_settings: Callable[..., StorageSettings]) -> Database:
    return Database.open(make_settings("sqlite"))


# What is measured ---------------------------------------------------------------------------------------------------


async def test_a_better_candidate_is_found_and_its_verdict_stands_with_it_in_rows_ledger_and_file(database: Database):
    held(database, 70)
    row = candidate(database)
    told: list[str] = []
    found = await evaluate(
        database, Engine(learned), SETTINGS, adapter_id=row.id, by="local:ana", now=START, tell=told.append
    )
    assert (found.verdict, found.against, found.run_id, found.at) == ("better", "base", row.run_id, START)
    assert found.blind_references == 210
    assert told[-1] == "Comparing the summaries."
    assert "Summaries by the candidate: 70 of 70." in told
    with database.read() as session:
        stored = session.get(EvaluationRow, found.id)
        assert stored is not None
        assert GateReport.from_json(stored.report).verdict == "better"
        adapter = session.get(AdapterRow, row.id)
        assert adapter is not None and adapter.verdict == "better"
        line = session.scalars(select(LedgerRow).where(LedgerRow.action == "adapter.evaluated")).one()  # type: ignore[arg-type]
        assert line.subject == row.id
        assert line.details["verdict"] == "better"
        everything = json.dumps([stored.report, line.details])
    assert "complaining" not in everything
    path = path_of(database.home, row.run_id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    texts = read_texts(database.home, row.run_id)
    assert texts is not None
    assert set(texts.summaries) == {"base", "candidate", "trivial"}
    assert texts.evaluation_id == found.id
    assert not list(path.parent.glob(".*"))


async def test_what_would_serve_the_scope_today_is_measured_against_the_next_wider_scopes_too(sqlite: Database):
    active = serve(sqlite, seed=1)
    row = candidate(sqlite, seed=2, scope="slack:T1")
    engine = Engine(learned)
    found = await evaluate(sqlite, engine, SETTINGS, adapter_id=row.id)
    assert found.against == active.id
    assert found.report["against"] == "active"


async def test_nobody_is_asked_twice_for_the_same_nor_for_too_much_at_once(sqlite: Database):
    held(sqlite, 40)
    active, row = serve(sqlite, seed=1), candidate(sqlite, seed=2)
    engine = Engine(learned)
    await evaluate(sqlite, engine, SETTINGS, adapter_id=row.id)
    assert engine.asked == {"base": 40, active.id: 40, row.id: 40}
    assert 1 < engine.most <= CONCURRENT


async def test_the_newest_conversations_are_taken_as_many_as_the_setting_says(sqlite: Database):
    held(sqlite, 70)
    row = candidate(sqlite)
    engine = Engine(learned)
    settings = LearningSettings(gate_max_conversations=62)
    found = await evaluate(sqlite, engine, settings, adapter_id=row.id)
    assert found.report["blind"]["conversations"] == 62
    texts = read_texts(sqlite.home, row.run_id)
    assert texts is not None
    assert [one.key for one in texts.held][:2] == ["key-69", "key-68"]


async def test_without_held_out_pairs_it_is_inconclusive_and_no_engine_is_needed(sqlite: Database):
    row = candidate(sqlite)
    engine = Engine(learned)
    found = await evaluate(sqlite, engine, SETTINGS, adapter_id=row.id)
    assert found.verdict == "inconclusive"
    assert found.report["missing"] == 60
    assert not engine.asked


async def test_pairs_that_are_not_approved_or_not_held_out_measure_nothing(sqlite: Database):
    held(sqlite, 3)
    add(
        sqlite,
        pair(10, "Ana: hi there", "x", state="pending"),
        pair(11, "Ana: hi there", "x", split="train"),
        pair(12, "Ana: hi there", "x", split="bridge"),
        pair(13, "Ana: hi there", "x", superseded_by="y"),
    )
    found = await evaluate(sqlite, Engine(learned), SETTINGS, adapter_id=candidate(sqlite).id)
    assert found.report["blind"]["conversations"] == 3


def test_references_of_one_conversation_go_together_and_edits_stand_apart():
    found = held_out(
        [
            pair(1, "Ana: hi", "first", conversation_key="k", summaries=["second", "", 7]),
            pair(2, "Ana: hi", "edit", conversation_key="k", origin="edited"),
            pair(3, "Ana: hi", "first", conversation_key="k", origin="blind"),
            pair(4, "Ana: hi", "saw one", conversation_key="k", origin="case", seen_draft=True),
            pair(5, "Ana: hi", "- an action", conversation_key="k", style="actions"),
        ],
        most=10,
    )
    (one,) = found
    assert one.blind == ("first", "second")
    assert one.edited == ("saw one", "edit")
    assert one.style == "standard"
    assert len(one.pairs) == 4


async def test_an_adapter_on_another_base_is_asked_of_an_engine_of_its_own(sqlite: Database):
    held(sqlite, 4)
    active, row = serve(sqlite, seed=1, base_model="old"), candidate(sqlite, seed=2, base_model="new")
    new, old = Engine(learned, base="new"), Engine(learned, base="old")
    wanted: list[str] = []

    def elsewhere(adapter: AdapterRow) -> Engine:
        wanted.append(adapter.base_model)
        return old

    found = await evaluate(sqlite, new, SETTINGS, adapter_id=row.id, elsewhere=elsewhere)
    assert found.against == active.id
    assert wanted == ["old"]
    assert new.asked == {"base": 4, row.id: 4}
    assert old.asked == {active.id: 4}
    assert old.closed and not new.closed
    with pytest.raises(EngineError, match="another"):
        await evaluate(sqlite, new, SETTINGS, adapter_id=row.id)


class Running(Engine, HttpClient):
    """One in another process, which loads its model anew and is up after so many looks."""

    def __init__(self, write: Write, *, base: str, states: Iterable[Literal["loading", "down"]]) -> None:
        super().__init__(write, base=base)
        self.states = list(states)

    async def health(self) -> Health:
        return Health(self.states.pop(0)) if self.states else await super().health()


async def test_a_running_engine_that_was_just_given_its_memory_back_is_waited_for_to_see_which_base_it_has(
    sqlite: Database,
):
    held(sqlite, 4)
    active, row = serve(sqlite, seed=1, base_model="old"), candidate(sqlite, seed=2, base_model="new")
    old = Running(learned, base="old", states=["loading", "down", "loading"])
    new = Engine(learned, base="new")
    found = await evaluate(sqlite, old, SETTINGS, adapter_id=row.id, elsewhere=lambda _: new, pause=at_once)
    assert found.against == active.id
    assert (new.asked, old.asked) == ({"base": 4, row.id: 4}, {active.id: 4})
    assert old.states == []
    assert new.closed and not old.closed


# What goes wrong ----------------------------------------------------------------------------------------------------


def failing(error: Exception, *, share: int, adapter: str = "") -> Write:
    """Fails for one in so many conversations."""
    counts: Counter[str] = Counter()

    def write(request: SummaryRequest) -> str:
        name = str(request.adapter)
        counts[name] += 1
        if counts[name] % share == 0 and (not adapter or name == adapter):
            raise error
        return learned(request)

    return write


async def test_a_summary_that_fails_alone_counts_as_empty_and_is_counted(sqlite: Database):
    held(sqlite, 40)
    row = candidate(sqlite)
    engine = Engine(failing(EngineError("It failed."), share=20, adapter=row.id))
    found = await evaluate(sqlite, engine, SETTINGS, adapter_id=row.id)
    assert found.report["evaluation"]["failed"] == {"base": 0, "candidate": 2}
    assert found.report["blind"]["systems"]["candidate"]["empty"]["mean"] == 5


async def test_many_failures_fail_the_evaluation_and_nothing_is_stored(sqlite: Database):
    held(sqlite, 40)
    row = candidate(sqlite)
    engine = Engine(failing(AdapterError("It has the wrong rank.", "Train again."), share=1, adapter=row.id))
    with pytest.raises(EngineError, match=r"summaries by the candidate failed.*wrong rank"):
        await evaluate(sqlite, engine, SETTINGS, adapter_id=row.id)
    with sqlite.read() as session:
        assert not session.scalars(select(EvaluationRow)).all()
        stored = session.get(AdapterRow, row.id)
        assert stored is not None and stored.verdict == ""
    assert not path_of(sqlite.home, row.run_id).exists()
    assert engine.together == 0


async def test_a_busy_engine_is_waited_for_and_a_lost_one_asked_again(sqlite: Database):
    held(sqlite, 10)
    row = candidate(sqlite)
    for error in (EngineBusy(3), EngineUnavailable("It went away.")):
        engine = Engine(failing(error, share=4))
        found = await evaluate(sqlite, engine, SETTINGS, adapter_id=row.id, pause=at_once)
        assert found.report["evaluation"]["failed"] == {"base": 0, "candidate": 0}


async def test_an_engine_that_stays_away_ends_it(sqlite: Database):
    held(sqlite, 3)
    row = candidate(sqlite)
    engine = Engine(failing(EngineUnavailable("No engine is running."), share=1))
    with pytest.raises(EngineUnavailable):
        await evaluate(sqlite, engine, SETTINGS, adapter_id=row.id, pause=at_once)


async def test_what_the_model_cannot_be_asked_for_measures_nothing(sqlite: Database):
    held(sqlite, 5)
    add(sqlite, pair(20, "Ana: hi there", "- Ben: rest", style="actions"))

    def write(request: SummaryRequest) -> str:
        if request.style == "actions":
            raise OptionNotHonoured("This model lists no actions.")
        return learned(request)

    found = await evaluate(sqlite, Engine(write), SETTINGS, adapter_id=candidate(sqlite).id)
    assert found.report["blind"]["conversations"] == 5
    assert found.report["evaluation"]["left_out"] == 1


async def test_what_is_erased_while_it_is_measured_is_not_written_down(database: Database):
    held(database, 4)
    row = candidate(database)

    def write(request: SummaryRequest) -> str:
        if request.adapter != "base" and request.conversation.id == "key-2":
            with database.write() as session:
                session.delete(session.get(PairRow, f"{2:032x}"))
        return learned(request)

    await evaluate(database, Engine(write), SETTINGS, adapter_id=row.id)
    texts = read_texts(database.home, row.run_id)
    assert texts is not None
    assert [one.key for one in texts.held] == ["key-3", "key-1", "key-0"]


def test_a_conversation_taken_out_while_the_report_is_written_is_not_in_it(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
):
    add(sqlite, pair(50, "Ana: the PLANTED word\nBen: a\nAna: b\nBen: Please rest", "Ana plants the PLANTED one."))
    row = asyncio.run(evaluated(sqlite))
    rendered = report.render

    def slowly(page: Page) -> str:
        monkeypatch.setattr(report, "render", rendered)
        forget_conversations(sqlite, sqlite.home, ["key-50"])
        return rendered(page)

    monkeypatch.setattr(report, "render", slowly)
    write_report(sqlite, sqlite.home, row.run_id)
    assert "PLANTED" not in everything(sqlite.home.runs)


async def test_an_adapter_that_is_not_there_is_refused(sqlite: Database):
    with pytest.raises(InputError, match="no adapter"):
        await evaluate(sqlite, Engine(learned), SETTINGS, adapter_id="a0")


# The report ---------------------------------------------------------------------------------------------------------


async def evaluated(database: Database, count: int = 5) -> AdapterRow:
    held(database, count)
    row = candidate(database)
    await evaluate(database, Engine(learned), SETTINGS, adapter_id=row.id)
    with database.write() as session:
        for step, loss in enumerate((5.0, 4.0, float("nan"), 3.5), start=1):
            if loss == loss:
                session.add(RunProgressRow(run_id=row.run_id, kind="train", step=step, at=START, epoch=0.1, loss=loss))
    return row


async def test_a_run_has_one_report_with_curves_figures_verdict_and_examples(sqlite: Database):
    row = await evaluated(sqlite)
    path = write_report(sqlite, sqlite.home, row.run_id)
    page = path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for expected in (
        "inconclusive",
        "<svg",
        "ROUGE-L",
        "content F1",
        "<ins>",
        "<del>",
        "Conversation",
        row.id,
        "55 are",
    ):
        assert expected in page
    assert path == report_path(sqlite.home, row.run_id)


async def test_a_forgotten_conversation_is_in_no_file_of_any_run(sqlite: Database):
    add(sqlite, pair(50, "Ana: the PLANTED word\nBen: a\nAna: b\nBen: Please rest", "Ana plants the PLANTED one."))
    row = await evaluated(sqlite)
    write_report(sqlite, sqlite.home, row.run_id)
    assert forget_conversations(sqlite, sqlite.home, ["nobody's"]) == []
    assert "PLANTED" in everything(sqlite.home.runs)
    assert forget_conversations(sqlite, sqlite.home, ["key-50"]) == [row.run_id]
    assert "PLANTED" not in everything(sqlite.home.runs)
    assert report_path(sqlite.home, row.run_id).exists()
    texts = read_texts(sqlite.home, row.run_id)
    assert texts is not None and len(texts.held) == 5
    assert forget_conversations(sqlite, sqlite.home, ["key-50"]) == []


async def test_a_private_conversation_is_in_the_figures_and_in_no_file_and_the_report_says_how_many_are_left_out(
    sqlite: Database,
):
    channel, told = "slack:T1/C1", "Ana: the SECRET word\nBen: a\nAna: b\nBen: Please rest"
    where = {"platform": "slack", "workspace": "T1", "channel": "C1", "origin": "blind"}
    with sqlite.write() as session:
        session.add(AuthorisationRow(platform="slack", authorised_at=START, authorised_by="Maria", basis="x"))
    add(
        sqlite,
        pair(50, told, "Ana said the SECRET.", **where),
        # Of a channel that was made private since; what people wrote of it before is private as well.
        pair(51, told, "Ben heard the SECRET.", **where, conversation_key="once", public=True, style="actions"),
        pair(52, told, "Ben knows the SECRET.", **where, conversation_key="once"),
        pair(53, "Ana: the OPEN word\nBen: a\nAna: b\nBen: Please rest", "Ana is OPEN.", **where, public=True),
    )
    row = candidate(sqlite, scope=channel)
    found = await evaluate(sqlite, Engine(learned), SETTINGS, adapter_id=row.id)
    assert found.report["blind"]["conversations"] == 3
    page = write_report(sqlite, sqlite.home, row.run_id).read_text(encoding="utf-8")
    assert "2 private conversations are in the figures and left out here" in page
    assert "1 of 1 held-out conversation" in page
    written = everything(sqlite.home.runs)
    assert "OPEN" in written
    assert "SECRET" not in written
    # An erasure that takes the rest leaves the count, and the page that holds no text still says it.
    forget_conversations(sqlite, sqlite.home, ["key-53"])
    page = report_path(sqlite.home, row.run_id).read_text(encoding="utf-8")
    assert "2 private conversations are in the figures" in page
    assert "changed most first" not in page


async def test_texts_of_a_version_that_wrote_private_conversations_down_are_not_shown(sqlite: Database):
    row = await evaluated(sqlite)
    path = path_of(sqlite.home, row.run_id)
    before = {**json.loads(path.read_text(encoding="utf-8")), "format": 1}
    path.write_text(json.dumps(before), encoding="utf-8")
    assert read_texts(sqlite.home, row.run_id) is None
    assert "Before and after" not in write_report(sqlite, sqlite.home, row.run_id).read_text(encoding="utf-8")


async def test_a_forgotten_pair_takes_its_conversation_with_it(sqlite: Database):
    row = await evaluated(sqlite)
    assert forget_conversations(sqlite, sqlite.home, [], [f"{3:032x}"]) == [row.run_id]
    texts = read_texts(sqlite.home, row.run_id)
    assert texts is not None and [one.key for one in texts.held] == ["key-4", "key-2", "key-1", "key-0"]


async def test_texts_that_cannot_be_read_go_whole(sqlite: Database):
    row = await evaluated(sqlite)
    write_report(sqlite, sqlite.home, row.run_id)
    path_of(sqlite.home, row.run_id).write_text('{"format": 1, "items": "PLANTED"')
    (sqlite.home.runs / row.run_id / ".evaluation.json.99.tmp").write_text("PLANTED")
    assert forget_conversations(sqlite, sqlite.home, ["key-1"]) == [row.run_id]
    assert "PLANTED" not in everything(sqlite.home.runs)
    assert not path_of(sqlite.home, row.run_id).exists()
    assert "Before and after" not in report_path(sqlite.home, row.run_id).read_text()


def everything(directory: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in directory.rglob("*") if path.is_file())


def test_a_run_without_an_evaluation_has_its_curves(sqlite: Database):
    with sqlite.write() as session:
        session.add(
            RunRow(id="r1", scope="default", state="failed", cause="manual", created_at=START, message="It failed.")
        )
    assert "Not evaluated yet" in write_report(sqlite, sqlite.home, "r1").read_text()
    with pytest.raises(InputError, match="no run"):
        write_report(sqlite, sqlite.home, "r2")
