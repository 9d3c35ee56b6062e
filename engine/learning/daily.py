"""What the loop has done once a day: deadlines of erasures, adapters and their files, the watch, alerts, old runs.

Each part stands alone, so that one which fails keeps no other from being done; whoever runs them decides what a failure
means. All are safe to repeat, and to do in two processes at once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from engine.learning.settings import LearningSettings
from storage.database import Database
from storage.home import Home
from storage.settings import StorageSettings

JOB = "daily"


def parts(
    database: Database, home: Home, storage: StorageSettings, settings: LearningSettings, now: datetime
) -> dict[str, Callable[[], object]]:
    """The parts by name, in the order in which they are to be done."""
    from engine.learning import alerts, erasure, registry, runs, watch

    return {
        "erasures": lambda: erasure.retire_overdue(database, home, settings, now=now),
        "adapters": lambda: registry.recover(database, home, now=now),
        "watch": lambda: watch.watch(database, settings, now=now),
        "alerts": lambda: alerts.refresh(database, home, storage, now),
        "runs": lambda: runs.prune(database, home, keep=settings.train_runs_kept),
    }
