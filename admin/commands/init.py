"""``redraft init``: look at the machine, ask, check each answer, and write the ``.env``.

Nothing is written before every answer has been checked; lines of an existing file that it does not ask about stay as
they are. Tokens are typed unseen and written to a file that only its owner can read.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from storage.errors import InputError, ModelError, RedraftError, SettingsError

if TYPE_CHECKING:
    from engine.model.probe import Probe

_TOKENS = {
    "SLACK_BOT_TOKEN": "Slack bot token (xoxb-…), empty for no Slack",
    "SLACK_APP_TOKEN": "Slack app-level token (xapp-…)",
    "DISCORD_BOT_TOKEN": "Discord bot token, empty for no Discord",
}


def register(app: typer.Typer) -> None:
    """Add ``init`` to the application."""

    @app.command()
    def init(
        file: Path = typer.Option(Path(".env"), "--file", help="The settings file to write."),
        model: str = typer.Option("", "--model", help="Hugging Face id, directory or `starter`; empty asks."),
        yes: bool = typer.Option(False, "--yes", help="Ask nothing: take the model given or proposed, and no chats."),
    ) -> None:
        """Write the settings file: find the GPU, propose a model that fits, ask for the chats' tokens."""
        if not yes and not sys.stdin.isatty():
            raise InputError(
                "`redraft init` asks questions, and this is no terminal.", "Add --yes to take its proposals."
            )
        if file.is_dir():
            raise InputError(f"{file} is a directory.", "Name the settings file itself, e.g. .env.")
        typer.echo("Looking at this machine ...")
        answers = _ask_model(model, yes=yes)
        if not yes:
            answers |= _ask_tokens()
        _write(file, answers)
        typer.echo(f"\nWrote {file}: {', '.join(answers)}.")
        typer.echo("Next: `redraft doctor` checks everything, `redraft up` starts the engine and the bot.")


def _ask_model(given: str, *, yes: bool) -> dict[str, str]:
    """The model's settings, checked; asks again until an answer is usable or the given one is not."""
    from admin.doctor import machine_memory
    from engine.catalogue import MODELS, propose
    from engine.model.probe import probe

    found = probe()
    memory = machine_memory()
    # The engine loads on the first device.
    gpu = found.gpus[0] if found.gpus else None
    for line in _describe_machine(found, memory):
        typer.echo(line)
    budget = gpu.total_bytes if gpu else memory
    proposed = propose(gpu_bytes=gpu.total_bytes if gpu else 0, memory_bytes=memory)
    if not (given or yes):
        typer.echo("\nModels that suit the job (memory in NF4, estimated):")
        for number, known in enumerate(MODELS, start=1):
            fit = (
                "fits"
                if known.training_bytes <= budget * 0.95
                else ("serves, but is too big to train here" if known.serving_bytes <= budget * 0.95 else "too big")
            )
            fit += "; slow without a GPU" if known.wants_gpu and not gpu else ""
            fit += "; asks for an accepted licence and a Hub token" if known.gated else ""
            mark = "*" if known is proposed else " "
            typer.echo(
                f" {mark}{number}. {known.name:<34} serve {known.serving_bytes / 1e9:4.1f} GB, "
                f"train {known.training_bytes / 1e9:4.1f} GB: {fit}. {known.note}."
            )
    while True:
        answer = given or (
            proposed.name
            if yes
            else typer.prompt("\nModel: a number, a Hugging Face id, or a directory carried in by hand", proposed.name)
        )
        if answer.isdecimal() and 1 <= int(answer) <= len(MODELS):
            answer = MODELS[int(answer) - 1].name
        try:
            return _check_model(answer, budget)
        except RedraftError as error:
            if given:
                raise
            typer.echo(f"  {error}", err=True)
            if yes:
                typer.echo("  Taking the starter model instead.", err=True)
                return _check_model("starter", budget)


def _describe_machine(found: Probe, memory: int) -> list[str]:
    lines = [f"  Memory: {memory / 1e9:.0f} GB."]
    if found.error:
        return [*lines, f"  The model libraries do not load: {found.error}. `redraft doctor` says more."]
    lines += [
        f"  GPU: {gpu.name}, {gpu.total_bytes / 1e9:.0f} GB ({gpu.free_bytes / 1e9:.0f} GB free)." for gpu in found.gpus
    ]
    if not found.gpus:
        lines.append("  GPU: none that CUDA sees; models run on the CPU.")
    return lines


def _check_model(name: str, memory: int) -> dict[str, str]:
    """Look a model up as the engine would, without loading or fetching it, and pin what the Hub has now.

    Args:
        name: Hugging Face id, directory or ``starter``.
        memory: bytes of the GPU, or of the machine without one.
    """
    from engine.model.checkpoint import check_family, read_checkpoint
    from engine.model.resolve import NotFetched, gigabytes, resolve
    from engine.settings import EngineSettings

    directory = Path(name).expanduser()
    if directory.is_dir():
        name = str(directory.resolve())
    try:
        resolved = resolve(EngineSettings.load(engine_model=name, engine_revision=""), fetch=False)
    except NotFetched as found:
        typer.echo(f"  {name}: found, pinned to revision {found.revision[:12]}; fetched when the engine first starts.")
        return {"ENGINE_MODEL": name, "ENGINE_REVISION": found.revision}
    checkpoint = read_checkpoint(resolved.path, resolved.name)
    check_family(checkpoint)
    if (needed := checkpoint.bytes_needed("nf4", 4)) > memory:
        raise ModelError(
            f"The model {name} needs {gigabytes(needed)}, and there are {gigabytes(memory)} in all.",
            "Choose a smaller one.",
        )
    typer.echo(f"  {name}: found" + (f", pinned to revision {resolved.revision[:12]}." if resolved.revision else "."))
    return {"ENGINE_MODEL": name, "ENGINE_REVISION": resolved.revision}


def _ask_tokens() -> dict[str, str]:
    """The chat platforms' tokens that were given, each checked by the bot's own settings before the next is asked."""
    from admin.bot_checks import refusal

    typer.echo("\nChats (tokens are typed unseen; leave one empty to do without):")
    answers: dict[str, str] = {}
    for name, question in _TOKENS.items():
        if name == "SLACK_APP_TOKEN" and "SLACK_BOT_TOKEN" not in answers:
            continue
        while True:
            token = typer.prompt(f"  {question}", default="", hide_input=True, show_default=False).strip()
            if not token and name == "SLACK_APP_TOKEN":
                typer.echo("  Slack needs both tokens; without this one, Slack is left out.", err=True)
                answers.pop("SLACK_BOT_TOKEN")
            if not token:
                break
            refused = refusal({name: token})
            if not refused:
                answers[name] = token
                break
            typer.echo(f"  {refused}", err=True)
    return answers


def _write(file: Path, answers: dict[str, str]) -> None:
    """Set the answers in the file and leave the rest of it alone; readable by its owner only."""
    from dotenv import dotenv_values, set_key, unset_key

    try:
        file.touch(mode=0o600, exist_ok=True)
        file.chmod(0o600)
        for name, value in answers.items():
            if value:
                set_key(file, name, value, quote_mode="auto")
            elif name in dotenv_values(file):
                unset_key(file, name)
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be written ({error.strerror}).", "Choose another place with --file."
        ) from error
