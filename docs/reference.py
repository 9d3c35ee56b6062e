"""References made from the code: the command line from ``--help``, the settings from their classes."""

from __future__ import annotations

import typing
from types import NoneType

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from admin.cli import build_app
from bot.settings import BotSettings
from engine.learning.settings import LearningSettings
from engine.settings import EngineSettings
from storage.config import ProjectSettings
from storage.settings import StorageSettings

#: In the order of a newcomer's questions: which model, where is the data, which chats.
CLASSES: tuple[type[ProjectSettings], ...] = (EngineSettings, StorageSettings, LearningSettings, BotSettings)


def is_secret(field: FieldInfo) -> bool:
    """Whether a setting holds a secret, which no file of ours gives an example of."""
    return SecretStr in (field.annotation, *typing.get_args(field.annotation))


def _type_name(field: FieldInfo) -> str:
    options = [option for option in typing.get_args(field.annotation) if option is not NoneType]
    if options and all(isinstance(option, str) for option in options):
        return ", ".join(f"`{option}`" for option in options)
    kind = options[0] if options else field.annotation
    names = {int: "whole number", float: "number", bool: "true or false", SecretStr: "secret"}
    return names.get(kind, "text")  # type: ignore[arg-type]


def _default(field: FieldInfo) -> str:
    value = field.default
    return "" if value is None or value == "" else str(value)


def env_example() -> str:
    """``.env.example``: every setting, its sentence and its default, all commented out."""
    lines = [
        "# Redraft's settings. Copy to `.env` (or run `redraft init`) and uncomment what you change; everything",
        "# has a default, and with none of it set the command line works with the starter model. Variables of the",
        "# environment win over this file. docs/settings.md says the same as a table.",
    ]
    for cls in CLASSES:
        lines += ["", f"# --- {(cls.__doc__ or '').strip().splitlines()[0]}"]
        for name, field in cls.model_fields.items():
            lines += ["", *_wrapped(field.description or ""), f"#{name.upper()}={_default(field)}"]
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 112, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def settings() -> str:
    """``docs/settings.md``: a table for each settings class."""
    lines = [
        "# Settings",
        "",
        "Made from the settings classes by `make docs`. They are read from the environment and from one `.env`: the",
        "file that `REDRAFT_ENV_FILE` names, else `.env` in the working directory, else `.env` in `REDRAFT_HOME`.",
        "The environment wins. A value that is malformed or still a placeholder is refused at start, by name.",
    ]
    for cls in CLASSES:
        lines += [
            "",
            f"## {cls.__module__.split('.', maxsplit=1)[0]}",
            "",
            (cls.__doc__ or "").strip().splitlines()[0],
        ]
        lines += ["", "| setting | takes | default | what it is |", "|---|---|---|---|"]
        for name, field in cls.model_fields.items():
            default = f"`{_default(field)}`" if _default(field) else ""
            lines.append(f"| `{name.upper()}` | {_type_name(field)} | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def command_line() -> str:
    """``docs/cli.md``: the help of every command."""
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})
    app = build_app()
    lines = [
        "# The command line",
        "",
        "Made from `--help` by `make docs`. Exit codes: 0 done, 1 refused or failed",
        "(one sentence on standard error), 2 wrong usage.",
    ]
    for words in _commands(typer.main.get_command(app)):
        output = runner.invoke(app, [*words, "--help"], prog_name="redraft").output
        body = "\n".join(line.rstrip() for line in output.strip().splitlines())
        lines += ["", f"## `{' '.join(['redraft', *words])}`", "", "```text", body, "```"]
    return "\n".join(lines) + "\n"


def _commands(command: typing.Any, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [words]
    for name, child in getattr(command, "commands", {}).items():
        found += _commands(child, (*words, name))
    return found
