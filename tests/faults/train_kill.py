"""`redraft train`, whose process is killed with SIGKILL: while it trains, saves, publishes, records or measures.

In every other round the process is stopped the moment something unfinished lies on the disk, and killed where it still
lies there: that is inside a save. Afterwards no adapter is half there, every row has its files, the run is found to be
stopped, and going on with it, or another run, ends finished.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from engine.learning import registry, runs
from engine.learning.ledger_check import verify
from engine.model.adapter_files import MANIFEST, read_manifest
from engine.training.checkpoints import MARKER
from storage import run_queries as queries
from storage.database import Database
from storage.learning_tables import RunRow
from storage.settings import StorageSettings
from tests.engine.processes import PATIENCE_S, ROOT, redraft, wait_until
from tests.engine.training.people import QUICK_SETTINGS, take

FULL_ROUNDS = 20
#: About as long as a run takes from its first word to its end, in seconds, before one was measured.
_WHOLE_S = 8.0
_SETTINGS = {**QUICK_SETTINGS, "TRAIN_EPOCHS": "3", "TRAIN_CHECKPOINT_MINUTES": "0.0001"}


def run(rounds: int, seed: int) -> dict[str, object]:
    """Kill so many fine-tunes.

    Raises:
        AssertionError: something did not survive, or too few were killed inside a save.
    """
    from tests.engine.tiny import make

    chance, counted, took = random.Random(seed), Counter[str](), [_WHOLE_S]
    with tempfile.TemporaryDirectory() as folder:
        model = make("bart", Path(folder) / "tiny")
        settings = StorageSettings(redraft_home=Path(folder) / "home")
        database = Database.open(settings)
        try:
            take(database, Path(folder), train=6, heldout=1)
            for number in range(rounds):
                # Another seed is another fine-tune; the same would be refused.
                given = {
                    **_SETTINGS,
                    "ENGINE_MODEL": str(model),
                    "TRAIN_SEED": str(number),
                    "TRAIN_LOCK": str(Path(folder) / "train.lock"),
                }
                counted.update(_round(database, number, given, chance, took))
        finally:
            database.close()
    assert counted["killed_inside_save"] >= rounds // 4, counted
    return dict(counted)


def _round(
    database: Database, number: int, given: dict[str, str], chance: random.Random, took: list[float]
) -> list[str]:
    """One fine-tune killed, looked at, and brought to its end; what happened. ``took`` has how long the others took."""
    happened = []
    with redraft("train", home=database.home, **given) as command:
        row = _under_way(database)
        if number % 2 == 0:
            wanted = "adapter" if number % 6 == 4 else "checkpoint"
            inside = _kill_inside_save(database, row, wanted, chance)
            happened.append(f"killed_inside_save_of_{wanted}" if inside else "killed")
            happened += ["killed_inside_save"] * inside
        else:
            with suppress(AssertionError):
                wait_until(lambda: command.process.poll() is not None, "it has ended", chance.uniform(0, took[-1]))
            happened.append("killed" if _kill(row.pid) else "ended_before")
        code = command.ends()
    row = _row(database, row.id)
    if "ended_before" in happened or row.state == "finished":
        assert (row.state, code) == ("finished", 0), (row.state, code, command.said)
        _whole(database, tidy=True)
        return happened
    assert (row.state, code) == ("stopped", 1), (row.state, code, row.message, command.said)
    assert any(f"redraft train --resume {row.id}" in line for line in command.said), command.said
    _whole(database, tidy=chance.random() < 0.5)
    if number % 3 == 2:
        row = _begun_again(database, given)
        happened.append("then_another")
    else:
        happened.append("then_resumed")
    took.append(_ends_finished(database, row, given))
    return happened


def _under_way(database: Database) -> RunRow:
    """The run that was begun, once its process has said its first word."""
    found: list[RunRow] = []

    def claimed() -> bool:
        with database.read() as session:
            found[:] = [row for row in queries.open_runs(session=session) if row.pid]
        return bool(found)

    wait_until(claimed, "a fine-tune is under way")
    return found[0]


def _kill(pid: int) -> bool:
    """Kill the process of a run with whatever it has started; whether it was there."""
    try:
        assert os.getpgid(pid) == pid, "a run's process leads a group of its own"
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _kill_inside_save(database: Database, row: RunRow, wanted: str, chance: random.Random) -> bool:
    """Kill the process while something of that kind lies unfinished; whether it still did when it was dead."""
    adapters, checkpoints = database.home.adapters, database.home.runs / row.id / "checkpoints"
    unfinished: Callable[[], bool] = (
        (lambda: _any(adapters, lambda entry: entry.name.startswith(".")))
        if wanted == "adapter"
        else (lambda: _any(checkpoints, lambda entry: not (Path(entry.path) / MARKER).exists()))
    )
    to_skip = chance.randint(0, 2) if wanted == "checkpoint" else 0
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if not unfinished():
            if not Path(f"/proc/{row.pid}").exists():
                return False
            continue
        if to_skip:
            to_skip -= 1
            while unfinished():
                pass
            continue
        with suppress(ProcessLookupError):
            os.kill(row.pid, signal.SIGSTOP)
        if unfinished() or wanted == "adapter":
            # An adapter is published once: where that was missed, it dies between the files and their row.
            inside = unfinished()
            return _kill(row.pid) and inside
        with suppress(ProcessLookupError):
            os.kill(row.pid, signal.SIGCONT)
    raise AssertionError(f"no {wanted} was seen unfinished in {PATIENCE_S} s")


def _any(directory: Path, holds: Callable[[os.DirEntry[str]], bool]) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(holds(entry) for entry in entries)
    except FileNotFoundError:
        return False


def _whole(database: Database, *, tidy: bool) -> None:
    """Every adapter that can be seen is whole, and every row has one; tidied up, there is nothing else.

    Raises:
        AssertionError: it is not so.
    """
    home = database.home
    if tidy:
        done = registry.recover(database, home)
        assert not (done.missing or done.unknown), done
        assert not list(home.adapters.glob(".*")), "something unfinished was left"
    visible = {path.name: path for path in home.adapters.iterdir() if not path.name.startswith(".")}
    for name, path in visible.items():
        manifest = read_manifest(path)
        assert {entry.name for entry in path.iterdir()} == {*manifest.files, MANIFEST}, name
        for file, entry in manifest.files.items():
            data = (path / file).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (entry.size, entry.sha256), f"{name}: {file}"
    with database.read() as session:
        rows = {row.id for row in registry.list_adapters(session)}
    assert rows <= visible.keys(), f"rows without files: {rows - visible.keys()}"
    assert not tidy or rows == visible.keys(), f"files without rows: {visible.keys() - rows}"
    check = verify(database)
    assert not check.findings, [finding.sentence for finding in check.findings]


def _row(database: Database, run_id: str) -> RunRow:
    with database.read() as session:
        row = session.get(RunRow, run_id)
    assert row is not None
    return row


def _begun_again(database: Database, given: dict[str, str]) -> RunRow:
    """Another run of the same scope, as the schedule would begin it."""
    from engine.learning.settings import LearningSettings
    from engine.settings import EngineSettings

    values = {name.lower(): value for name, value in given.items()}
    return runs.start_run(
        database,
        database.home,
        settings=LearningSettings(**{n: v for n, v in values.items() if n.startswith("train_")}, train_dropout=0.1),  # type: ignore[arg-type]
        engine=EngineSettings(**{n: v for n, v in values.items() if n.startswith("engine_")}),  # type: ignore[arg-type]
        scope="default",
        cause="schedule",
        by="redraft",
    )


def _ends_finished(database: Database, row: RunRow, given: dict[str, str]) -> float:
    """Have a run done; how many seconds it took."""
    start = time.monotonic()
    environment = {**os.environ, **given, "REDRAFT_ENV_FILE": os.devnull, "PYTHONPATH": str(ROOT)}
    process = runs.spawn(database.home, row.id, environment=environment)
    assert process.wait(PATIENCE_S) == 0, (database.home.runs / row.id / "log.txt").read_text()[-2000:]
    ended = _row(database, row.id)
    assert (ended.state, ended.step) == ("finished", ended.steps), (ended.state, ended.message)
    assert ended.adapter_id
    assert not (database.home.runs / row.id / "checkpoints").exists()
    _whole(database, tidy=True)
    return time.monotonic() - start
