"""Logging of the long-running processes: JSON lines in the data directory, and on standard error.

One file a process, rotated; a line says what happened and to which ids, never what people wrote: message text, prompts
and summaries do not belong in a log. Configured by each entry point, never at import.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import traceback
from io import TextIOWrapper
from pathlib import Path

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

#: Bytes of one file before it is rotated, and how many rotated ones are kept.
_MAX_BYTES, _KEPT = 5_000_000, 4


def describe_exception(error: BaseException) -> str:
    """The frames and types of an exception and of what caused it, without their messages: those may quote people."""
    lines = []
    seen: BaseException | None = error
    while seen is not None:
        lines.append(f"{type(seen).__module__}.{type(seen).__qualname__}")
        lines += [
            f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(seen.__traceback__)
        ]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\n".join(lines)


def _exceptions(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = describe_exception(error)
    return event


class PrivateRotatingFileHandler(logging.handlers.RotatingFileHandler):
    """A rotated log of which every file, the first and each later one, is made readable by its owner only."""

    def _open(self) -> TextIOWrapper:
        file = open(  # noqa: SIM115 - the handler closes it
            self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=_open_private
        )
        assert isinstance(file, TextIOWrapper)
        return file


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def configure_logging(process: str, directory: Path) -> None:
    """Send structlog's and the standard library's records to ``directory/PROCESS.jsonl`` and to standard error.

    Args:
        process: ``engine``, ``bot``, ``up`` ...; the file's name.
        directory: an existing directory that only its owner can read.
    """
    path = directory / f"{process}.jsonl"
    file = PrivateRotatingFileHandler(path, maxBytes=_MAX_BYTES, backupCount=_KEPT, encoding="utf-8")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _exceptions,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    handlers: list[logging.Handler] = [file, logging.StreamHandler(sys.stderr)]
    for handler in handlers:
        handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = handlers
    root.setLevel(logging.INFO)
    # httpx logs every request's address, APScheduler every job: neither says anything that ours do not.
    for noisy in ("httpx", "httpcore", "apscheduler", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
