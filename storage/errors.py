"""The project's one tree of errors.

Every error that a person may see is a :class:`RedraftError`: one sentence that says what happened and, where
there is one, a second that says what to do next. It lives here because ``storage`` is under every other package;
it imports nothing and knows nothing of databases, models or chat platforms.

Chat surfaces map an error to a text of their own; the command line prints ``message`` and ``hint`` on standard
error and exits with ``exit_code``.
"""

from __future__ import annotations


class RedraftError(Exception):
    """Something a person can understand and act on.

    Args:
        message: one sentence, fit to show, that says what happened.
        hint: one sentence that says what to do next, or an empty string.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class SettingsError(RedraftError):
    """A setting is missing, malformed, or still a placeholder."""


class InputError(RedraftError):
    """What was given to read is not a conversation."""


class OptionNotHonoured(RedraftError):
    """The model in hand cannot do what an option asks for; the option is named."""


class StorageError(RedraftError):
    """The database or the data directory cannot be used."""


class SchemaError(StorageError):
    """The database's schema is older or newer than this program's."""


class ModelError(RedraftError):
    """A model cannot be loaded: missing, unreachable, unknown, too big or unsafe."""


class ModelUnreachable(ModelError):
    """A model is not on this machine and cannot be fetched at the moment; later it may be."""


class AdapterError(ModelError):
    """An adapter cannot be used: damaged, unsafe, or made for another model."""


class EngineError(RedraftError):
    """The engine could not finish a request."""


class EngineUnavailable(EngineError):
    """No engine answers, or it went away in the middle of a request."""


class EngineBusy(EngineError):
    """The engine's queue is full.

    Args:
        ahead: how many requests were waiting or running when this one was refused.
    """

    def __init__(self, ahead: int) -> None:
        super().__init__(f"The engine is busy, {ahead} ahead of you.", "Please try again in a minute.")
        self.ahead = ahead


class NotPermitted(RedraftError):
    """The person asking may not do, or read, this."""


class PromotionRefused(RedraftError):
    """An adapter may not be put in service, taken out or rejected as asked."""


class CorrectionRefused(RedraftError):
    """A correction or a thumb cannot be taken as it is."""


class PairRefused(RedraftError):
    """A training pair cannot be decided on, changed or shown as asked."""
