"""`redraft summarize` as a person uses it: the four kinds of input, the options, and everything that is no input."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin.samples import SAMPLES
from tests.admin.cli import redraft

_SAMPLES = Path(__file__).parent.parent.parent / "admin" / "samples"

_CHAT = """\
Amara: The export job failed again last night, same error as on Monday.
Tobias: Disk full on worker 3?
Amara: Yes. 120 GB of old temp files in /var/tmp.
Tobias: I will add a cleanup job today and raise the alert to 80%.
Amara: Thanks. I restarted the export, it should finish by 14:00.
"""


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    path = tmp_path / "chat.txt"
    path.write_text(_CHAT, encoding="utf-8")
    return path


def _stored(home: Path) -> tuple[int, int]:
    """Conversations and summaries in the database; (0, 0) where there is none."""
    found = list(home.glob("*.db"))
    if not found:
        return 0, 0
    with sqlite3.connect(found[0]) as connection:
        counts = tuple(
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("conversations", "summaries")
        )
    connection.close()
    return counts[0], counts[1]


@pytest.mark.parametrize("kind", sorted({sample.format for sample in SAMPLES}))
def test_each_kind_of_input_is_summarised_and_stored(kind: str, own_home: Path) -> None:
    sample = next(one for one in SAMPLES if one.format == kind)
    done = redraft("summarize", _SAMPLES / sample.file, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {
        "summary", "sources", "adapter", "model", "messages", "input_tokens", "output_tokens", "seconds",
    } <= set(document)  # fmt: skip
    assert document["summary"].strip()
    assert document["adapter"] == "base"
    assert document["demonstration"] is True
    assert " ".join(one["sentence"] for one in document["sources"]).split() == document["summary"].split()
    assert _stored(own_home) == (1, 1)


def test_people_see_the_text_its_sources_and_what_wrote_it(chat: Path) -> None:
    done = redraft("summarize", chat)
    assert done.returncode == 0, done.stderr
    assert "5 messages by 2 people" in done.stdout
    assert "starter" in done.stdout
    assert "demonstration" in done.stdout


def test_standard_input_is_read() -> None:
    done = redraft("summarize", "-", "--json", stdin=_CHAT.encode())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == 5


def test_the_same_file_twice_is_one_conversation_with_two_summaries(chat: Path, own_home: Path) -> None:
    texts = {json.loads(redraft("summarize", chat, "--json").stdout)["summary"] for _ in range(2)}
    assert len(texts) == 1
    assert _stored(own_home) == (1, 2)


@pytest.mark.parametrize(("option", "value"), [("--style", "actions"), ("--output-language", "German")])
def test_option_that_the_starter_cannot_honour_is_refused_by_name(
    option: str, value: str, chat: Path, own_home: Path
) -> None:
    done = redraft("summarize", chat, option, value)
    assert done.returncode == 1
    assert option.lstrip("-").replace("-", " ") in done.stderr.replace("-", " ").replace("_", " ")
    assert done.stdout == ""
    assert _stored(own_home) == (0, 0)


def test_brief_is_at_most_two_sentences(chat: Path) -> None:
    document = json.loads(redraft("summarize", chat, "--style", "brief", "--json").stdout)
    assert 1 <= len(document["sources"]) <= 2


def test_wrong_usage_exits_with_two(chat: Path) -> None:
    assert redraft("summarize").returncode == 2
    assert redraft("summarize", chat, "--style", "poem").returncode == 2


def _bad_inputs(directory: Path) -> dict[str, Path]:
    made: dict[str, bytes] = {
        "empty": b"",
        "binary": bytes(range(256)) * 64,
        "broken.json": b'[{"type": "message", "user": ',
        "truncated.json": b'{"guild": {"id": "1"}, "messages": [{"id": "2", "content": "hel',
        "wrong_shape.json": b'{"weather": "fine", "temperature": 21}',
        "deep.json": b"[" * 100_000 + b"]" * 100_000,
        "not_utf8.txt": b"Amara: caf\xe9 at noon?\nTobias: yes\n",
        "nul.txt": b"Amara: hello\x00\x00 there\nTobias: \x00\n" + b"\x00" * 100,
        "no_text.txt": b"   \n\n \t \n",
        "only_bots.json": json.dumps(
            [{"type": "message", "subtype": "bot_message", "bot_id": "B1", "username": "ci", "text": "build 7 failed",
              "ts": f"17000000{n:02}.000100"} for n in range(4)]
        ).encode(),
        "blank_messages.json": json.dumps(
            [{"type": "message", "user": "U1", "text": "", "ts": f"17000000{n:02}.000100"} for n in range(4)]
        ).encode(),
    }  # fmt: skip
    for name, content in made.items():
        (directory / name).write_bytes(content)
    (directory / "directory").mkdir()
    return {name: directory / name for name in [*made, "directory", "missing.txt"]}


_NAMES = [
    "empty", "binary", "broken.json", "truncated.json", "wrong_shape.json", "deep.json", "not_utf8.txt", "nul.txt",
    "no_text.txt", "only_bots.json", "blank_messages.json", "directory", "missing.txt",
]  # fmt: skip


@pytest.mark.parametrize("name", _NAMES)
def test_what_is_no_conversation_ends_in_a_clear_sentence_and_stores_nothing(
    name: str, tmp_path: Path, own_home: Path
) -> None:
    done = redraft("summarize", _bad_inputs(tmp_path)[name], "--json")
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    assert done.stderr.startswith("redraft: ")
    assert "Traceback" not in done.stderr
    assert "should not have" not in done.stderr
    assert _stored(own_home) == (0, 0)


def test_right_to_left_and_emoji_text_is_summarised(tmp_path: Path) -> None:
    path = tmp_path / "mixed.txt"
    path.write_text(
        "דנה: הפגישה עברה ליום שני 🎉\nסמי: מצוין, נתראה ב-10:00 👍👍🏽\nLea: 👩‍👩‍👧 ok\n", encoding="utf-8"
    )
    done = redraft("summarize", path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] == 3


def test_message_of_a_megabyte_is_summarised(tmp_path: Path) -> None:
    from tests.engine import tiny

    path = tmp_path / "long.txt"
    path.write_text("Amara: " + "the quarterly report is late again and we need it. " * 20_000 + "\n", encoding="utf-8")
    # A tiny model: what is shown here is that all of it is cut, read and merged, not how it reads.
    model = tiny.make("bart", tmp_path / "bart", max_position_embeddings=1024)
    done = redraft(
        "summarize", path, "--json", "--style", "brief", ENGINE_MODEL=str(model), ENGINE_MAX_NEW_TOKENS="16"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["summary"]
    assert document["parts"] > 100


def test_data_directory_that_cannot_be_written_is_told_before_the_model_is_loaded(chat: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the directory should be", encoding="utf-8")
    done = redraft("summarize", chat, REDRAFT_HOME=str(blocked / "home"))
    assert done.returncode == 1
    assert "data directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_full_disk_is_told_and_nothing_is_stored_by_halves(chat: Path, own_home: Path) -> None:
    assert redraft("summarize", chat, "--json").returncode == 0
    size = next(own_home.glob("*.db")).stat().st_size

    def no_more_room() -> None:
        # The database may not grow by a page: what a full disk does, without needing to be root to make one.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    other = chat.with_name("other.txt")
    other.write_text(_CHAT * 40, encoding="utf-8")
    import os
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "admin.cli", "summarize", str(other)],
        capture_output=True, text=True, timeout=240, check=False, preexec_fn=no_more_room, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("redraft: ")
    assert "Traceback" not in done.stderr
    assert _stored(own_home) == (1, 1)


def test_unexpected_failure_is_a_sentence_and_the_details_are_kept(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from admin import cli

    def broken() -> None:
        raise KeyError("the unexpected")

    monkeypatch.setattr(cli, "build_app", lambda: lambda prog_name: broken())
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "the unexpected" not in capsys.readouterr().err
    kept = (own_home / "logs" / "errors.log").read_text(encoding="utf-8")
    assert "KeyError" in kept
    assert "test_summarize.py" in kept
    # What an exception quotes may be what people wrote.
    assert "the unexpected" not in kept


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    import sys

    directory = tmp_path_factory.mktemp("wheel")
    source = directory / "source"
    root = Path(__file__).parent.parent.parent
    for name in ("bot", "engine", "admin", "storage"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", directory, source],
        check=True, timeout=280, capture_output=True,
    )  # fmt: skip
    yield next(directory.glob("*.whl"))


def test_wheel_carries_everything_it_needs(wheel: Path, tmp_path: Path) -> None:
    import os
    import sys
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    site = tmp_path / "site"
    assert (site / "engine" / "starter" / "weights" / "model.safetensors").exists()
    path = tmp_path / "chat.txt"
    path.write_text(_CHAT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); from admin.cli import main; main()",
         str(site), "summarize", str(path), "--json"],
        capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["summary"]
