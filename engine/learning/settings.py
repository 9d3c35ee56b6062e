"""The learning loop's settings; see :class:`storage.config.ProjectSettings` for where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from storage.config import ProjectSettings


class LearningSettings(ProjectSettings):
    """Corrections, training pairs, fine-tunes, promotions and erasures."""

    pairs_policy: Literal["manual", "trusted-authors"] = Field(
        default="manual",
        description="Who approves pairs: `manual`, an administrator each; `trusted-authors`, those of the authors in "
        "PAIRS_TRUSTED_AUTHORS are approved as they come.",
    )
    pairs_trusted_authors: str = Field(
        default="", description="Authors trusted by that policy, with commas between: `slack:U01AB,local:maria`."
    )
    pairs_min_change: float = Field(
        default=0.15,
        ge=0.15,
        le=1.0,
        description="Share of a draft's words that an edit must change to be a pair; below it, it is feedback.",
    )
    pairs_max_characters: int = Field(
        default=20_000, ge=500, le=200_000, description="Longest correction that is taken, in characters."
    )
    train_min_new_pairs: int = Field(
        default=25, ge=1, description="A scheduled fine-tune starts once so many new approved pairs came in its scope."
    )
    train_default_takes_workspaces: bool = Field(
        default=False, description="Train the scope `default` on public pairs of all workspaces too."
    )
    train_schedule: str = Field(
        default="30 2 * * *",
        description="When a fine-tune may start: minute, hour, day, month, weekday as in cron (0 and 7 are Sunday); "
        "empty never.",
    )
    train_timezone: str = Field(
        default="", description="Time zone of TRAIN_SCHEDULE, such as Europe/Berlin; empty is the machine's own."
    )
    train_rank: int = Field(default=16, ge=1, le=256, description="Rank of the LoRA matrices.")
    train_alpha: int = Field(default=32, ge=1, le=512, description="LoRA's alpha; the update is scaled by alpha/rank.")
    train_dropout: float = Field(default=0.05, ge=0, lt=1, description="Dropout in front of the LoRA matrices.")
    train_learning_rate: float = Field(default=1e-3, gt=0, le=0.1, description="Highest learning rate.")
    train_epochs: float = Field(default=4.0, gt=0, le=100, description="Most passes over the pairs.")
    train_warmup: float = Field(default=0.06, ge=0, lt=1, description="Share of the steps in which the rate rises.")
    train_batch: int = Field(default=8, ge=1, le=1024, description="Pairs in one step of the optimiser.")
    train_accumulation: int = Field(
        default=1, ge=1, le=256, description="Forward passes that make up one step; more take less memory."
    )
    train_validation: float = Field(
        default=0.1, gt=0, lt=0.5, description="Share of the training pairs kept for deciding when to stop."
    )
    train_patience: int = Field(
        default=3,
        ge=1,
        description="Looks at the validation pairs in a row without a lower loss or better summaries that end a run.",
    )
    train_judged: int = Field(
        default=32,
        ge=0,
        le=1000,
        description="Most validation pairs that it writes summaries of at each look; the weights that write best "
        "are kept, with 0 those of the lowest loss.",
    )
    train_seed: int = Field(default=7, ge=0, description="Seed of everything that is drawn.")
    train_threads: int = Field(default=0, ge=0, description="CPU threads of a fine-tune; 0 is the library's choice.")
    train_checkpoint_minutes: float = Field(
        default=5.0, gt=0, description="Minutes between checkpoints that a fine-tune can go on from."
    )
    train_beside_serving: Literal["beside", "unload"] = Field(
        default="beside",
        description="On a machine whose engine serves meanwhile: train `beside` it, or have the engine `unload` its "
        "model until the fine-tune has ended (requests wait and are told so).",
    )
    train_lock: Path | None = Field(
        default=None,
        description="Lock file for one fine-tune at a time on this machine; empty is one that all its users share.",
    )
    train_runs_kept: int = Field(default=20, ge=1, description="Newest runs whose directories are kept.")
    gate_max_conversations: int = Field(
        default=200, ge=60, le=10_000, description="Most held-out conversations that a gate measures on, newest first."
    )
    promotion_two_person: bool = Field(
        default=False, description="A promotion takes two administrators: one asks for it, another confirms."
    )
    watch_min_summaries: int = Field(
        default=20, ge=5, description="Summaries by a promoted adapter before it is compared with the one before."
    )
    erasure_deadline_days: int = Field(
        default=30,
        ge=0,
        le=365,
        description="Days after which an adapter trained on erased text is taken out at the latest.",
    )

    @field_validator("train_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value:
            try:
                ZoneInfo(value)
            except (ValueError, OSError) as error:
                raise ValueError("is no time zone of the tz database") from error
        return value

    @field_validator("train_schedule")
    @classmethod
    def _cron(cls, value: str) -> str:
        # Imported here: most commands load these settings and never look at the time.
        from engine.learning.schedule import checked

        return checked(value)

    @property
    def trusted_authors(self) -> frozenset[str]:
        """The ids that PAIRS_TRUSTED_AUTHORS names."""
        return frozenset(filter(None, (name.strip() for name in self.pairs_trusted_authors.split(","))))
