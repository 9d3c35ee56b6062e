"""The bot's process: how it starts and ends, and what its exit code tells a supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: What a supervisor says to its children; the number need not be an open file for a process that only fails.
SUPERVISED = {"REDRAFT_READY_FD": "99"}
HALF_OF_SLACK = {"SLACK_BOT_TOKEN": "xoxb-12-34-abcdef"}
NO_DATABASE = {"DATABASE_URL": "postgresql+psycopg://ana:secret@127.0.0.1:9/redraft", "DATABASE_WAIT_SECONDS": "1"}


def bot(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(arguments or ("-m", "bot"))],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_bot_process_runs_with_no_chat_platform_and_ends_on_sigterm(own_home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bot"],
        env={**os.environ, "REDRAFT_HOME": str(own_home)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "started" in line:
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("wrong", "supervisor", "code"),
    [(HALF_OF_SLACK, SUPERVISED, 78), (HALF_OF_SLACK, {}, 1), (NO_DATABASE, SUPERVISED, 1), (NO_DATABASE, {}, 1)],
)
def test_only_what_a_person_has_to_change_is_for_good_and_only_to_a_supervisor(
    wrong: dict[str, str], supervisor: dict[str, str], code: int
) -> None:
    done = bot(**wrong, **supervisor)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("redraft: ")
    assert ("SLACK_APP_TOKEN" if wrong is HALF_OF_SLACK else "127.0.0.1") in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failure_after_the_start_is_one_sentence_and_its_place_is_in_the_log(own_home: Path) -> None:
    code = (
        "import sys, bot.__main__ as process\n"
        "async def serve(*given): raise KeyError('what Priya wrote')\n"
        "process.serve = serve\n"
        "sys.exit(process.main())"
    )
    done = bot("-c", code)
    assert done.returncode == 1
    log = own_home / "logs" / "bot.jsonl"
    sentences = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert sentences == [
        f"redraft: The bot ended by a failure of its own (KeyError). The details are in {log}; please report them."
    ]
    assert "builtins.KeyError" in log.read_text()
    assert "Priya" not in log.read_text() + done.stderr
