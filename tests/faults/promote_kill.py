"""A process killed while it promotes or rolls back: between its look at the files, the pointer and the ledger.

A child promotes and rolls back without a pause; it is killed from outside at a random moment, or kills itself at a
chosen step. Afterwards exactly one adapter is in service and its files are whole; the newest move says so; what was
begun is done whole or not at all; the ledger is a whole chain; and the next promotion goes through at once.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.learning import ledger, pointers, promotion
from engine.learning.ledger_check import verify
from engine.learning.registry import active_adapter, list_adapters, recover
from engine.learning.settings import LearningSettings
from storage import adapter_queries
from storage.database import Database
from storage.learning_tables import AdapterRow
from storage.settings import StorageSettings
from tests.engine.learning.making import candidate

FULL_ROUNDS = 50
_ROOT = Path(__file__).resolve().parent.parent.parent
_ADAPTERS = 4
#: What a move is made of, in order: `commit` is the last moment at which the database has not got it, `witness` the
#: first at which it has, and the ledger's head is not kept yet.
_STEPS = ("verify_files", "lock_adapters", "append", "take_out", "put_in", "moved", "commit", "witness")


def run(rounds: int, seed: int) -> dict[str, object]:
    """Half of the kills at a random moment, half at a chosen step.

    Raises:
        AssertionError: something did not survive.
    """
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    moves = 0
    with tempfile.TemporaryDirectory() as folder:
        settings = StorageSettings(redraft_home=Path(folder) / "home")
        database = Database.open(settings)
        try:
            for number in range(_ADAPTERS):
                candidate(database, seed=number)
            _promote_any(database, random.Random(0))
            for number in range(rounds):
                step = "" if number % 2 == 0 else _STEPS[(number // 2) % len(_STEPS)]
                before = _moves(database)
                ended = _killed(settings, step, chance)
                killed[ended if step else "random_moment"] += 1
                done = _moves(database) - before
                _whole(database)
                _promote_any(database, chance)
                _whole(database)
                moves += done
        finally:
            database.close()
    assert moves > rounds, "the children hardly did anything before they were killed"
    return {"kills": sum(killed.values()), "moves_by_the_killed": moves, **{f"at_{k}": n for k, n in killed.items()}}


def _killed(settings: StorageSettings, step: str, chance: random.Random) -> str:
    """Have a child move the pointer until it is dead; at which step it was."""
    calls = chance.randint(4, 9)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.promote_kill", str(settings.home), str(chance.random()), step, str(calls)],
        cwd=_ROOT,
        env={**os.environ, "REDRAFT_ENV_FILE": os.devnull},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n", "the child did not begin"
        if not step:
            with suppress(subprocess.TimeoutExpired):
                child.wait(chance.uniform(0.05, 0.6))
            child.kill()
        code = child.wait(60)
    assert code == -signal.SIGKILL, f"the child ended with {code}"
    return step


def _whole(database: Database) -> None:
    """Everything that has to hold, whatever happened.

    Raises:
        AssertionError: it does not.
    """
    with database.read() as session:
        rows = list_adapters(session)
        moves = adapter_queries.promotions_of(session=session, scope="default")
    active = [row for row in rows if row.state == "active"]
    assert len(active) == 1, f"{len(active)} adapters are in service"
    promotion.verify_files(database.home, active[0])
    assert moves[0].adapter == active[0].id, "the newest move is not to what serves"
    assert active[0].replaced == moves[0].replaced
    assert [move.replaced for move in moves[:-1]] == [move.adapter for move in moves[1:]], "the moves do not join"
    check = verify(database)
    assert not check.findings, [finding.sentence for finding in check.findings]
    done = recover(database, database.home)
    assert not (done.missing or done.recorded or done.unknown), done


def _moves(database: Database) -> int:
    with database.read() as session:
        return len(adapter_queries.promotions_of(session=session, scope="default"))


def _promote_any(database: Database, chance: random.Random) -> None:
    with database.read() as session:
        idle = [row.id for row in list_adapters(session) if row.state != "active"]
    promotion.promote(
        database, database.home, LearningSettings(), adapter_id=chance.choice(sorted(idle)), by="local:ana", force=True,
        reason="a fault test",
    )  # fmt: skip


# The child ----------------------------------------------------------------------------------------------------------


def _die_at(step: str, calls: int) -> None:
    """Have this process kill itself the so-manieth time that a step is done."""
    left = [calls]

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **given: Any) -> Any:
            result = real(*args, **given) if step not in ("commit", "witness") else None
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **given) if step in ("commit", "witness") else result

        return call

    if step == "append":
        ledger.Ledger.append = dying(ledger.Ledger.append)  # type: ignore[method-assign]
    elif step == "commit":
        from sqlmodel import Session

        Session.commit = dying(Session.commit)  # type: ignore[method-assign]
    elif step == "witness":
        ledger.witness = dying(ledger.witness)
    elif step == "lock_adapters":
        adapter_queries.lock_adapters = dying(adapter_queries.lock_adapters)
    else:
        setattr(promotion, step, dying(getattr(promotion, step)))
        assert hasattr(pointers, step) or step == "verify_files"


def main(arguments: list[str]) -> None:
    home, seed, step, calls = arguments
    database = Database.open(StorageSettings(redraft_home=Path(home)))
    chance = random.Random(float(seed))
    if step:
        _die_at(step, int(calls))
    print("begun", flush=True)
    while True:
        if chance.random() < 0.6 or not _can_go_back(database):
            _promote_any(database, chance)
        else:
            promotion.rollback(
                database, database.home, LearningSettings(), scope="default", by="local:ben", reason="a fault test"
            )


def _can_go_back(database: Database) -> bool:
    """Whether a rollback would find an adapter, so that one is always in service."""
    from engine.learning.promotion_rules import earlier

    with database.read() as session:
        left = active_adapter(session, "default")
        found: AdapterRow | None = next(earlier(session, "default", left), None) if left is not None else None
        return found is not None


if __name__ == "__main__":
    main(sys.argv[1:])
