"""The second half of ``redraft demo``: the learning loop on sample corrections, in a data directory that goes with it.

It calls what every surface calls, so that what it shows is what happens: pairs are imported and approved, an adapter is
trained on the CPU or GPU at hand, the gate measures it, it is promoted by force with a reason, and rolled back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import rich.console

    from engine.conversation import Conversation
    from engine.learning.settings import LearningSettings
    from engine.settings import EngineSettings
    from storage.database import Database
    from storage.learning_tables import RunRow

#: So few pairs want more passes than hundreds would; about a minute on two cores. Two or three validation pairs are too
#: few to judge by what the model writes of them.
_TRAINING = {"train_epochs": 12.0, "train_batch": 8, "train_patience": 12, "train_judged": 0}
_REASON = "A demonstration: 60 blind references are more than its samples have."


def show_loop(out: rich.console.Console, engine: EngineSettings) -> None:
    """Import, train, measure, promote by force, summarise, roll back; nothing of it stays.

    Raises:
        RedraftError: a step was refused, or the fine-tune failed; the sentence says which and why.
    """
    from engine.learning.settings import LearningSettings

    # The machine's lock stands: a fine-tune under way is not to be disturbed by a demonstration.
    settings = LearningSettings.load(**_TRAINING)
    with _own_database() as database:
        _import(out, database)
        run = _train(out, database, engine, settings)
        conversation = _measured(out, database, run)
        _served(out, database, engine, settings, run.adapter_id, conversation)


@contextmanager
def _own_database() -> Iterator[Database]:
    from tempfile import TemporaryDirectory

    from storage.database import Database
    from storage.settings import StorageSettings

    with TemporaryDirectory(prefix="redraft-demo-") as folder:
        database = Database.open(StorageSettings.load(redraft_home=Path(folder) / "home", database_url=None))
        try:
            yield database
        finally:
            database.close()


def _import(out: rich.console.Console, database: Database) -> None:
    from importlib.resources import as_file, files

    from admin.person import person
    from engine.learning.importing import Options, import_pairs

    with as_file(files("admin.samples") / "corrections.jsonl") as path:
        done = import_pairs(database, path, Options(source="samples", approve=True), by=person())
    out.print("The learning loop, on sample corrections", style="bold")
    out.print(
        f"{done.added} dialogues with summaries that people wrote: {done.splits.get('train', 0)} to train on, "
        f"{done.splits.get('heldout', 0)} held out to measure with."
    )


def _train(out: rich.console.Console, database: Database, engine: EngineSettings, settings: LearningSettings) -> RunRow:
    from admin.commands.train import follow
    from admin.person import person
    from engine.learning.runs import spawn, start_run
    from storage.errors import EngineError
    from storage.learning_tables import RunRow

    row = start_run(
        database,
        database.home,
        settings=settings,
        engine=engine,
        scope="default",
        cause="demo",
        by=person(),
    )
    process = spawn(database.home, row.id, environment=_environment(engine, settings))
    interrupted = follow(database, database.home, row.id, process)
    if interrupted:
        raise KeyboardInterrupt
    with database.read() as session:
        done = session.get(RunRow, row.id)
    assert done is not None, "a run's row stays"
    if done.state != "finished" or not done.adapter_id:
        raise EngineError(f"The fine-tune of the demonstration did not finish. {done.message}".strip())
    metrics = done.metrics
    out.print(
        f"An adapter was trained on them in {metrics['seconds']:.0f} s, {done.step} steps"
        + (
            f"; validation loss {metrics['validation_loss_before']:.2f} before, {metrics['validation_loss']:.2f} after."
            if "validation_loss" in metrics
            else "."
        )
    )
    out.print()
    return done


def _environment(*settings: Any) -> dict[str, str]:
    """This process's environment with the settings in hand, and nothing from a settings file or another database."""
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    kept["REDRAFT_ENV_FILE"] = os.devnull
    for each in settings:
        kept |= {name.upper(): str(value) for name, value in each.model_dump(exclude_none=True).items()}
    return kept


def _measured(out: rich.console.Console, database: Database, run: RunRow) -> Conversation:
    """Print the gate's table and, of the first held-out conversation, what was written before and after."""
    from admin.present import indented
    from admin.present_gate import print_gate
    from engine.learning.dialogues import conversation_of
    from engine.learning.evaluation_files import read_texts
    from engine.scoring.gate import GateReport
    from storage.adapter_queries import newest_evaluation
    from storage.errors import StorageError

    with database.read() as session:
        evaluation = newest_evaluation(session=session, adapter_id=run.adapter_id)
    texts = read_texts(database.home, run.id)
    if evaluation is None or texts is None or not texts.held:
        raise StorageError("The demonstration's evaluation was not stored.", "See its sentences above.")
    print_gate(GateReport.from_json(evaluation.report))
    out.print()
    first = texts.held[0]
    out.print("One of the held-out conversations", style="bold")
    out.print(indented(first.dialogue))
    for title, text in (
        ("Before (the base)", texts.summaries["base"][0]),
        ("After (the adapter)", texts.summaries["candidate"][0]),
        ("A person", first.blind[0] if first.blind else ""),
    ):
        out.print(title, style="bold")
        out.print(indented(text))
    out.print()
    return conversation_of(first.dialogue, key=first.key)


def _served(
    out: rich.console.Console,
    database: Database,
    engine: EngineSettings,
    settings: LearningSettings,
    adapter: str,
    conversation: Conversation,
) -> None:
    from admin.person import person
    from engine.learning import promotion
    from storage.errors import PromotionRefused

    who = person()
    try:
        promotion.promote(database, database.home, settings, adapter_id=adapter, by=who)
    except PromotionRefused as error:
        out.print(f"$ redraft adapters promote {adapter}", style="bold")
        out.print(f"  {error}")
    promotion.promote(database, database.home, settings, adapter_id=adapter, by=who, force=True, reason=_REASON)
    out.print(f'$ redraft adapters promote {adapter} --force --reason "…"', style="bold")
    out.print(f"  Now in service: {_writes(database, engine, conversation)}.")
    promotion.rollback(database, database.home, settings, scope="default", by=who, reason="The demonstration is over.")
    out.print("$ redraft adapters rollback", style="bold")
    out.print(f"  Now in service: {_writes(database, engine, conversation)}. The ledger has it all:")
    _print_ledger(out, database)


def _writes(database: Database, engine: EngineSettings, conversation: Conversation) -> str:
    """Which adapter an engine writes with now: asked by having it write."""
    from engine.learning.registry import RegistrySource
    from engine.local import LocalClient
    from engine.requests import Finished, SummaryRequest

    async def ask() -> str:
        client = LocalClient(engine, database.home, adapters=RegistrySource(database, database.home))
        try:
            async for event in client.summarize(SummaryRequest(conversation)):
                if isinstance(event, Finished):
                    adapter = event.result.adapter
            return "the base" if adapter == "base" else f"the adapter {adapter}"
        finally:
            await client.close()

    return asyncio.run(ask())


def _print_ledger(out: rich.console.Console, database: Database) -> None:
    from engine.learning.ledger_check import show

    for line in reversed(show(database).lines):
        out.print(f"  {line.seq:>3}  {line.action:<20} {line.subject}", style="dim")
