"""The tables of the learning loop: corrections, training pairs, runs, adapters, evaluations, alerts, ledger, erasures.

As in :mod:`storage.tables`, keys are natural or our own. A pair holds its own copy of the dialogue, so that what a run
trained on stays what it was; rows that must outlive a pair (which run used it, what an evaluation found) hold its id
without a foreign key. No rule of the product is here: :mod:`engine.learning` decides what is written.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, text
from sqlalchemy.types import JSON
from sqlmodel import Field

from storage.base import Base
from storage.types import CleanText, UtcDateTime

_ACTIVE = text("state = 'active'")


def _in(column: str, *values: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


class CorrectionRow(Base, table=True):
    """A person's own text in place of a summary; what they changed is kept beside it, and none replaces another.

    Attributes:
        kind: ``edited`` where the author had the draft before them, ``blind`` where they wrote without it.
        text: the person's text, whole.
        distance: share of the draft's words that were changed, from 0 (none); above 1 where much was added.
        diff: the word differences, ``[["equal" | "delete" | "insert" | "replace", draft words, new words], …]``.
        about: what was wrong with the draft in the author's choice: ``missing``, ``wrong``, ``too long``, ``tone``.
        builds_on: the id of the correction that the author had before them in place of the summary, or empty.
        pair_id: the training pair that it made, or empty where it counts as feedback.
    """

    __tablename__ = "corrections"
    __table_args__ = (
        ForeignKeyConstraint(["summary_id"], ["summaries.id"], ondelete="CASCADE"),
        _in("kind", "edited", "blind"),
    )

    id: str = Field(primary_key=True, sa_type=CleanText)
    summary_id: str = Field(sa_type=CleanText, index=True)
    author_id: str = Field(sa_type=CleanText, index=True)
    author: str = Field(default="", sa_type=CleanText)
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
    kind: str = Field(sa_type=CleanText)
    text: str = Field(sa_type=CleanText)
    distance: float
    diff: list[Any] = Field(default_factory=list, sa_type=JSON)
    about: str = Field(default="", sa_type=CleanText)
    builds_on: str = Field(default="", sa_type=CleanText)
    pair_id: str = Field(default="", sa_type=CleanText)


class PairRow(Base, table=True):
    """A dialogue and a human-written summary of it.

    Attributes:
        id: 32 hexadecimal digits.
        name: the id that an imported row had in its file; the export writes it back.
        content_hash: SHA-256 over dialogue and summary, so that the same pair is stored once.
        conversation_key: what the split goes by: the conversation's id, or for imports a hash of the dialogue.
        conversation_id: the stored conversation, or None for imports.
        dialogue: ``Name: text`` lines, as a prompt has them.
        summary: the human text that is trained on.
        summaries: further human references of the same dialogue, for evaluation only.
        origin: ``edited``, ``blind``, ``imported`` or ``case`` (a support dialogue with its agent's summary).
        platform: ``file`` (imports, the command line), ``slack`` or ``discord``.
        split: ``train``, ``heldout``, or ``bridge`` for one that resembles both sides and is used for neither.
        author_id: who wrote the summary; ``editor_id`` changed it on review.
        draft_summary_id, draft_adapter: the draft that the author had before them, and which adapter wrote it.
        distance: see :class:`CorrectionRow`; None where there was no draft.
        supersedes: the pair that this one builds on, or empty.
        superseded_by: the approved pair that builds on this one, over however many, and is used in its place, or empty.
        source, licence: of imported rows, as their file or the importer says.
    """

    __tablename__ = "pairs"
    __table_args__ = (
        ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
        _in("origin", "edited", "blind", "imported", "case"),
        _in("state", "pending", "approved", "rejected"),
        _in("split", "train", "heldout", "bridge"),
        # `list` pages by the first two; `stats`, and whether a run is due, count by the third without reading the rows.
        Index(None, "created_at", "id"),
        Index(None, "state", "created_at", "id"),
        Index(
            "ix_pairs_counted",
            "platform", "workspace", "channel", "public", "direct", "state", "split", "origin", "superseded_by",
            "created_at",
        ),
    )  # fmt: skip

    id: str = Field(primary_key=True, sa_type=CleanText)
    name: str = Field(default="", sa_type=CleanText)
    content_hash: str = Field(sa_type=CleanText, unique=True)
    conversation_key: str = Field(sa_type=CleanText, index=True)
    conversation_id: str | None = Field(default=None, sa_type=CleanText, index=True)
    origin: str = Field(sa_type=CleanText)
    platform: str = Field(sa_type=CleanText)
    workspace: str = Field(default="", sa_type=CleanText)
    channel: str = Field(default="", sa_type=CleanText)
    public: bool = False
    direct: bool = False
    style: str = Field(default="standard", sa_type=CleanText)
    focus: str = Field(default="", sa_type=CleanText)
    output_language: str = Field(default="", sa_type=CleanText)
    state: str = Field(sa_type=CleanText)
    split: str = Field(sa_type=CleanText)
    author_id: str = Field(default="", sa_type=CleanText, index=True)
    author: str = Field(default="", sa_type=CleanText)
    editor_id: str = Field(default="", sa_type=CleanText, index=True)
    seen_draft: bool = False
    draft_summary_id: str = Field(default="", sa_type=CleanText)
    draft_adapter: str = Field(default="", sa_type=CleanText)
    distance: float | None = None
    supersedes: str = Field(default="", sa_type=CleanText, index=True)
    superseded_by: str = Field(default="", sa_type=CleanText, index=True)
    source: str = Field(default="", sa_type=CleanText, index=True)
    licence: str = Field(default="", sa_type=CleanText)
    created_at: datetime = Field(sa_type=UtcDateTime)
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    decided_by: str = Field(default="", sa_type=CleanText)
    reject_reason: str = Field(default="", sa_type=CleanText)
    # Last, because SQLite reads through long texts to whatever stands behind them.
    dialogue: str = Field(sa_type=CleanText)
    summary: str = Field(sa_type=CleanText)
    summaries: list[Any] = Field(default_factory=list, sa_type=JSON)


class SplitRow(Base, table=True):
    """On which side a conversation is, decided once when its first pair or correction arrives."""

    __tablename__ = "splits"
    __table_args__ = (_in("side", "train", "heldout", "bridge"),)

    conversation_key: str = Field(primary_key=True, sa_type=CleanText)
    side: str = Field(sa_type=CleanText)
    scope: str = Field(sa_type=CleanText, index=True)
    assigned_at: datetime = Field(sa_type=UtcDateTime)


class NearKeyRow(Base, table=True):
    """One band of a conversation's MinHash signature: conversations that share a band may be near-duplicates.

    A chat message that a conversation holds has a row here too. ``band`` begins with the side that the conversation is
    on, so that each side is looked up alone; one that is on neither has no rows.
    """

    __tablename__ = "near_keys"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy's own form

    band: str = Field(primary_key=True, sa_type=CleanText)
    conversation_key: str = Field(primary_key=True, sa_type=CleanText)


class AuthorisationRow(Base, table=True):
    """Who authorised training on a platform's messages, and on what basis; in force until it is revoked."""

    __tablename__ = "authorisations"
    __table_args__ = (_in("platform", "slack", "discord"),)

    platform: str = Field(primary_key=True, sa_type=CleanText)
    authorised_at: datetime = Field(primary_key=True, sa_type=UtcDateTime)
    authorised_by: str = Field(sa_type=CleanText)
    basis: str = Field(sa_type=CleanText)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_by: str = Field(default="", sa_type=CleanText)


class RunRow(Base, table=True):
    """One fine-tune: its data, settings, progress and result.

    Attributes:
        state: ``queued``, ``running``, ``stopped`` (resumable), ``finished``, ``failed`` or ``refused``.
        cause: ``manual``, ``schedule``, ``erasure`` or ``demo``.
        slot: the due time that started it, local date and time, or empty.
        left_out: how many pairs were not used, by reason.
        metrics: tokens a second, peak memory, losses, seconds; never text.
        message: one sentence on how it ended.
    """

    __tablename__ = "runs"
    __table_args__ = (
        _in("state", "queued", "running", "stopped", "finished", "failed", "refused"),
        _in("cause", "manual", "schedule", "erasure", "demo"),
        Index(None, "scope", "created_at"),
    )

    id: str = Field(primary_key=True, sa_type=CleanText)
    scope: str = Field(sa_type=CleanText)
    state: str = Field(sa_type=CleanText, index=True)
    cause: str = Field(sa_type=CleanText)
    slot: str = Field(default="", sa_type=CleanText)
    requested_by: str = Field(default="", sa_type=CleanText)
    created_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    pid: int = 0
    base_model: str = Field(default="", sa_type=CleanText)
    base_revision: str = Field(default="", sa_type=CleanText)
    prompt_version: str = Field(default="", sa_type=CleanText)
    settings: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    settings_hash: str = Field(default="", sa_type=CleanText)
    data_hash: str = Field(default="", sa_type=CleanText)
    train_pairs: int = 0
    validation_pairs: int = 0
    left_out: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    step: int = 0
    steps: int = 0
    resumed: int = 0
    adapter_id: str = Field(default="", sa_type=CleanText)
    metrics: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    message: str = Field(default="", sa_type=CleanText)


class RunProgressRow(Base, table=True):
    """One point of a run's curves; ``kind`` is ``train`` or ``validation``, losses are nats a target token."""

    __tablename__ = "run_progress"
    __table_args__ = (
        ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        _in("kind", "train", "validation"),
    )

    run_id: str = Field(primary_key=True, sa_type=CleanText)
    kind: str = Field(primary_key=True, sa_type=CleanText)
    step: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=UtcDateTime)
    epoch: float
    loss: float
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    memory_bytes: int | None = Field(default=None, sa_type=BigInteger)


class RunPairRow(Base, table=True):
    """Which pairs a run was made of; ``role`` is ``train`` or ``validation``. The pair itself may be gone."""

    __tablename__ = "run_pairs"
    __table_args__ = (
        ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        _in("role", "train", "validation"),
    )

    run_id: str = Field(primary_key=True, sa_type=CleanText)
    pair_id: str = Field(primary_key=True, sa_type=CleanText, index=True)
    role: str = Field(sa_type=CleanText)


class AdapterRow(Base, table=True):
    """One adapter whose files are in the data directory.

    Attributes:
        id: see :mod:`engine.model.adapter_files`; never reused.
        state: ``candidate``, ``active``, ``retired`` or ``rejected``; at most one is active in a scope.
        replaced: the adapter that served the scope before this one was made active, or ``base``.
        verdict: of its newest gate: ``better``, ``worse``, ``inconclusive``, or empty before one.
        reason: why it was rejected or retired.
        tainted_at: when somebody whose words it was trained on asked for their erasure.
        retire_by: when a tainted one is taken out of service at the latest.
    """

    __tablename__ = "adapters"
    __table_args__ = (
        _in("state", "candidate", "active", "retired", "rejected"),
        Index("uq_adapters_active", "scope", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
    )

    id: str = Field(primary_key=True, sa_type=CleanText)
    scope: str = Field(sa_type=CleanText, index=True)
    state: str = Field(sa_type=CleanText)
    state_since: datetime = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
    base_model: str = Field(sa_type=CleanText)
    base_revision: str = Field(default="", sa_type=CleanText)
    prompt_version: str = Field(sa_type=CleanText)
    run_id: str = Field(default="", sa_type=CleanText, index=True)
    data_hash: str = Field(default="", sa_type=CleanText)
    settings_hash: str = Field(default="", sa_type=CleanText)
    train_pairs: int = 0
    size_bytes: int = Field(default=0, sa_type=BigInteger)
    replaced: str = Field(default="base", sa_type=CleanText)
    verdict: str = Field(default="", sa_type=CleanText)
    reason: str = Field(default="", sa_type=CleanText)
    tainted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    retire_by: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PromotionRow(Base, table=True):
    """One change of what serves a scope, in order of time; ``base`` stands for no adapter.

    ``kind`` is ``promote``, ``rollback`` or ``retire``; the actor is a pseudonym of the ledger.
    """

    __tablename__ = "promotions"
    __table_args__ = (_in("kind", "promote", "rollback", "retire"), Index(None, "scope", "at"))

    id: str = Field(primary_key=True, sa_type=CleanText)
    scope: str = Field(sa_type=CleanText)
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str = Field(sa_type=CleanText)
    adapter: str = Field(sa_type=CleanText)
    replaced: str = Field(sa_type=CleanText)
    actor: str = Field(sa_type=CleanText)
    forced: bool = False
    reason: str = Field(default="", sa_type=CleanText)


class PromotionRequestRow(Base, table=True):
    """A promotion that waits for a second person, under the two-person setting.

    ``against`` is the adapter that served the scope when it was asked for, or ``base``; once another does, it is void.
    """

    __tablename__ = "promotion_requests"

    adapter_id: str = Field(primary_key=True, sa_type=CleanText)
    requested_at: datetime = Field(sa_type=UtcDateTime)
    requested_by: str = Field(sa_type=CleanText)
    against: str = Field(sa_type=CleanText)
    forced: bool = False
    reason: str = Field(default="", sa_type=CleanText)


class EvaluationRow(Base, table=True):
    """One gate: a candidate measured against what is active, the base and the trivial extract.

    ``report`` is what :mod:`engine.scoring.gate` says, as JSON: figures with intervals, and no text of anybody's.
    """

    __tablename__ = "evaluations"
    __table_args__ = (_in("verdict", "better", "worse", "inconclusive"),)

    id: str = Field(primary_key=True, sa_type=CleanText)
    adapter_id: str = Field(sa_type=CleanText, index=True)
    scope: str = Field(sa_type=CleanText)
    against: str = Field(sa_type=CleanText)
    run_id: str = Field(default="", sa_type=CleanText)
    at: datetime = Field(sa_type=UtcDateTime)
    verdict: str = Field(sa_type=CleanText)
    blind_references: int = 0
    report: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)


class AlertRow(Base, table=True):
    """Something that an administrator should act on; raised once, cleared once.

    ``key`` is its kind and what it is about; ``command`` is what to type.
    """

    __tablename__ = "alerts"

    key: str = Field(primary_key=True, sa_type=CleanText)
    kind: str = Field(sa_type=CleanText)
    subject: str = Field(default="", sa_type=CleanText)
    sentence: str = Field(sa_type=CleanText)
    command: str = Field(default="", sa_type=CleanText)
    raised_at: datetime = Field(sa_type=UtcDateTime)
    cleared_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LedgerRow(Base, table=True):
    """One line of the ledger; ``hash`` covers all the others and the hash of the line before."""

    __tablename__ = "ledger"

    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    actor: str = Field(sa_type=CleanText, index=True)
    action: str = Field(sa_type=CleanText, index=True)
    subject: str = Field(default="", sa_type=CleanText)
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    previous: str = Field(sa_type=CleanText)
    hash: str = Field(sa_type=CleanText)


class PersonKeyRow(Base, table=True):
    """The key that makes a person's pseudonym in the ledger; without it nobody can tell whose that was."""

    __tablename__ = "person_keys"

    person: str = Field(primary_key=True, sa_type=CleanText)
    key: str = Field(sa_type=CleanText)


class PlanRow(Base, table=True):
    """A schedule as administrators have changed it, in place of what the settings say; one row for each job.

    ``version`` goes up by one with every change, so that whoever changes it is told of somebody who was quicker;
    ``changed_by`` is a pseudonym of the ledger.
    """

    __tablename__ = "plans"

    job: str = Field(primary_key=True, sa_type=CleanText)
    expression: str = Field(sa_type=CleanText)
    timezone: str = Field(default="", sa_type=CleanText)
    min_new_pairs: int
    paused: bool = False
    version: int = 1
    changed_at: datetime = Field(sa_type=UtcDateTime)
    changed_by: str = Field(sa_type=CleanText)


class VoteRow(Base, table=True):
    """What a person preferred of several summaries of one conversation, which is not kept with it.

    Attributes:
        voter: a pseudonym of the ledger.
        blind: whether they voted before they were told which was whose.
        systems: what was compared: adapters' ids, and ``base``.
        preferred: one of those, or empty where none was better.
    """

    __tablename__ = "votes"

    id: str = Field(primary_key=True, sa_type=CleanText)
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    voter: str = Field(sa_type=CleanText)
    scope: str = Field(sa_type=CleanText)
    blind: bool
    systems: list[Any] = Field(default_factory=list, sa_type=JSON)
    preferred: str = Field(default="", sa_type=CleanText)


class ErasureRow(Base, table=True):
    """An erasure, so that it can be done again after a restore; whom it was about is a salted hash.

    ``kind`` is ``user`` or ``conversation``; ``counts`` says how many rows of each kind went; ``runs`` are the
    fine-tunes that were made of some of them. Erasures of the same subject have the same salt, and so the same digest.
    """

    __tablename__ = "erasures"
    __table_args__ = (_in("kind", "user", "conversation"),)

    id: str = Field(primary_key=True, sa_type=CleanText)
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str = Field(sa_type=CleanText)
    salt: str = Field(sa_type=CleanText)
    digest: str = Field(sa_type=CleanText)
    counts: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    runs: list[Any] = Field(default_factory=list, sa_type=JSON)
