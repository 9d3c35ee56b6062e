"""The bot's process (``python -m bot``): wires settings, database and scheduler, and ends in good order on a signal.

``python -m bot --check`` starts nothing, asks the configured platforms whether they take us, and prints what it found
as JSON, for `redraft doctor`; with ``--check-settings`` it looks at the settings alone.

The one place in this process where things are put together. With no chat platform configured it still runs the
scheduled jobs. It refuses to know the model: no torch comes near this process. A platform's library is imported where
that platform is configured.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import structlog

from bot.announcing import Announcer
from bot.chats import Chats, Service
from bot.check import checks
from bot.fine_tunes import FineTunes
from bot.health import HealthServer
from bot.jobs import Intake
from bot.scheduler import Scheduler
from bot.settings import BotSettings
from engine.client import HttpClient
from engine.learning.settings import LearningSettings
from engine.protocols import EngineClient
from engine.settings import EngineSettings
from storage.database import Database
from storage.errors import OptionNotHonoured, RedraftError, SchemaError, SettingsError
from storage.home import Home
from storage.logs import configure_logging
from storage.settings import StorageSettings

#: Tells a supervisor that starting again cannot mend the failure (a bad setting, a schema of another version).
EXIT_PERMANENT = 78
_THREADS = 32


async def serve(
    settings: BotSettings,
    storage: StorageSettings,
    learning: LearningSettings,
    engine: EngineSettings,
    database: Database,
) -> None:
    """Run until SIGTERM or SIGINT."""
    log = structlog.get_logger("bot")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # asyncio's own number goes by cores; these wait for the database, and a click must not wait behind them.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="bot"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    scheduler = Scheduler(
        database=database,
        storage=storage,
        learning=learning,
        daily_job_time=settings.daily_job_time,
        fine_tunes=FineTunes(database, database.home, learning, engine),
    )
    await scheduler.start()
    log.info("started", slack=bool(settings.slack_bot_token), discord=bool(settings.discord_bot_token))
    client = HttpClient(database.home)
    waiting: list[asyncio.Task[object]] = [asyncio.create_task(_until(stop))]
    if settings.slack_bot_token or settings.discord_bot_token:
        waiting.append(asyncio.create_task(_chats(settings, learning, database, client)))
    else:
        waiting.append(asyncio.create_task(Announcer(database.home, dict).run()))
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await client.close()
        await scheduler.stop()
        log.info("stopped")


async def _until(stop: asyncio.Event) -> object:
    return await stop.wait()


async def _chats(settings: BotSettings, learning: LearningSettings, database: Database, client: EngineClient) -> object:
    """Serve the chat platforms that are configured.

    Raises:
        SettingsError: a platform refuses its token.
    """

    def services(intake: Intake) -> dict[str, Service]:
        found: dict[str, Service] = {}
        if settings.slack_bot_token:
            from bot.slack.service import SlackService

            found["slack"] = SlackService(settings, learning, database, intake, client)
        if settings.discord_bot_token:
            from bot.discord.service import DiscordService

            found["discord"] = DiscordService(settings, learning, database, intake, client)
        return found

    chats = Chats(database, services, at_once=settings.chat_summaries_at_once)
    health = HealthServer(chats.figures, lambda: chats.jobs_running)
    announcing = asyncio.create_task(Announcer(database.home, chats.figures).run())
    try:
        if settings.bot_port:
            await health.start(settings.bot_port)
        await chats.run()
    except OSError as error:
        raise SettingsError(f"Port {settings.bot_port} is taken.", "Set BOT_PORT to another one, or to 0.") from error
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)
        await health.stop()
    return None


def run() -> int:
    """Wire the process and serve; the exit code of one that was told to end or that broke.

    Raises:
        RedraftError: a setting, the data directory or the database cannot be used.
    """
    settings, storage = BotSettings.load(), StorageSettings.load()
    learning, engine = LearningSettings.load(), EngineSettings.load()
    if missing := settings.missing_slack_token:
        raise SettingsError(f"Slack needs both of its tokens, and {missing} is not set.", f"Set {missing} in the .env.")
    home = Home.create(storage)
    configure_logging("bot", home.logs)
    database = Database.open(storage)
    try:
        asyncio.run(serve(settings, storage, learning, engine, database))
    except RedraftError:
        raise
    except Exception as error:
        structlog.get_logger("bot").exception("ended by a failure")
        name, log = type(error).__name__, home.logs / "bot.jsonl"
        _say(f"The bot ended by a failure of its own ({name}). The details are in {log}; please report them.")
        return 1
    finally:
        database.close()
    return 0


def main() -> int:
    """Start the process; a failure is one sentence on standard error and an exit code."""
    if sys.argv[1:] in (["--check"], ["--check-settings"]):
        print(json.dumps(checks(connect=sys.argv[1] == "--check")))  # noqa: T201
        return 0
    try:
        return run()
    except RedraftError as error:
        _say(str(error))
        # A supervisor sets the variable, and starts again whatever may work later: a database that is busy or down.
        permanent = isinstance(error, SettingsError | SchemaError | OptionNotHonoured)
        return EXIT_PERMANENT if permanent and "REDRAFT_READY_FD" in os.environ else error.exit_code


def _say(sentence: str) -> None:
    print(f"redraft: {sentence}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
