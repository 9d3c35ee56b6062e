"""What an unexpected failure of the model means: what the log may hold of it, and whether the model survives it.

It imports no torch: what torch raises is told by its type's name and its words.
"""

from __future__ import annotations

from storage.errors import EngineError


class ModelLost(EngineError):
    """The model in memory is not what it was: nothing that it writes can be trusted until it is loaded anew."""

    def __init__(
        self, message: str, hint: str = "Try again in a minute; `redraft up` starts the engine again."
    ) -> None:
        super().__init__(message, hint)


def describe(error: Exception) -> str:
    """An unexpected error for the log: types and places; its text only where that cannot quote anybody's message."""
    from storage.logs import describe_exception  # structlog takes 150 ms to import

    reason = f"{error}\n"[:500] if isinstance(error, (RuntimeError, MemoryError, OSError)) else ""
    return reason + describe_exception(error)


def device_failed(error: BaseException) -> bool:
    """Whether the error, or what caused it, left nothing to go on with: later batches fail, or can't be trusted.

    So does a CUDA context that is unusable. Memory that ran out is no such failure: the next batch may well fit.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ModelLost):
            return True
        text = str(seen)
        of_torch = any(kind.__name__ == "AcceleratorError" for kind in type(seen).__mro__)
        if of_torch or (isinstance(seen, RuntimeError) and "CUDA error" in text):
            return "out of memory" not in text and "ALLOC_FAILED" not in text
        seen = seen.__cause__
    return False
