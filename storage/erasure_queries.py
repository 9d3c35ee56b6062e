"""What an erasure asks of the tables; whose words are where, and what goes, is decided in :mod:`engine.learning`.

Every function takes the session of the caller's transaction and keyword arguments only. A person is a platform
(``slack``, ``discord``, ``local``) and an account on it; rows name them as ``platform:account``, or by the account
alone where the row's conversation says which platform.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlmodel import Session, SQLModel, col

from storage.learning_tables import (
    AdapterRow,
    AuthorisationRow,
    CorrectionRow,
    ErasureRow,
    NearKeyRow,
    PairRow,
    PersonKeyRow,
    PromotionRequestRow,
    RunPairRow,
    RunRow,
    SplitRow,
)
from storage.tables import ConversationRow, FeedbackRow, MessageRow, SentenceRow, SourceRow, SummaryRow

#: Rows in one statement; SQLite takes 32,766 parameters in one, PostgreSQL 65,535.
_CHUNK = 500


def chunks(items: Iterable[str]) -> Iterator[list[str]]:
    """Values in parts that fit a statement, in order."""
    ordered = sorted(items)
    return (ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK))


def messages_of(platform: str, account: str) -> ColumnElement[bool]:
    """Whether a message is a person's."""
    return and_(col(MessageRow.author_id) == account, col(MessageRow.conversation_id).in_(_conversations_on(platform)))


def _conversations_on(platform: str) -> Any:
    return select(col(ConversationRow.id)).where(col(ConversationRow.platform) == platform)


def _summaries_on(platform: str) -> Any:
    return select(col(SummaryRow.id)).where(col(SummaryRow.conversation_id).in_(_conversations_on(platform)))


def named(column: Any, on_platform: ColumnElement[bool], *, platform: str, account: str) -> ColumnElement[bool]:
    """Whether a column names the person."""
    bare = column == account
    return or_(column == f"{platform}:{account}", bare if platform == "local" else and_(bare, on_platform))


#: Who did something that stands without them.
DOERS: tuple[tuple[type[SQLModel], str], ...] = (
    (PairRow, "decided_by"),
    (RunRow, "requested_by"),
    (PromotionRequestRow, "requested_by"),
    (AuthorisationRow, "authorised_by"),
    (AuthorisationRow, "revoked_by"),
)


# Finding ------------------------------------------------------------------------------------------------------------


def wrote_in(*, session: Session, platform: str, account: str) -> Sequence[tuple[str, str, str]]:
    """Where a person has messages: conversation, its workspace, and the name that they bear there."""
    query = (
        select(col(MessageRow.conversation_id), col(ConversationRow.workspace), col(MessageRow.author))
        .join(ConversationRow, col(ConversationRow.id) == col(MessageRow.conversation_id))
        .where(col(MessageRow.author_id) == account, col(ConversationRow.platform) == platform)
        .distinct()
    )
    return [(str(one[0]), str(one[1]), str(one[2])) for one in session.execute(query)]


def count_messages(*, session: Session, platform: str, account: str) -> int:
    """How many messages a person has here."""
    query = select(func.count()).select_from(MessageRow).where(messages_of(platform, account))
    return session.scalar(query) or 0


def count_messages_in(*, session: Session, conversations: Collection[str]) -> int:
    """How many messages conversations have."""
    return _count_in(session, MessageRow, col(MessageRow.conversation_id), conversations)


def count_feedback_on(*, session: Session, summaries: Collection[str]) -> int:
    """How many thumbs summaries have."""
    return _count_in(session, FeedbackRow, col(FeedbackRow.summary_id), summaries)


def _count_in(session: Session, table: type[Any], column: Any, values: Collection[str]) -> int:
    counted = (
        session.scalar(select(func.count()).select_from(table).where(column.in_(chunk))) for chunk in chunks(values)
    )
    return sum(count or 0 for count in counted)


def only_theirs(*, session: Session, conversations: Collection[str], account: str) -> set[str]:
    """Those of the conversations in which nobody else has a message."""
    others: set[str] = set()
    for chunk in chunks(conversations):
        query = select(col(MessageRow.conversation_id)).where(
            col(MessageRow.conversation_id).in_(chunk), col(MessageRow.author_id) != account
        )
        others.update(session.scalars(query.distinct()))
    return set(conversations) - others


def summaries_of(*, session: Session, conversations: Collection[str]) -> set[str]:
    """Ids of the summaries of conversations."""
    found: set[str] = set()
    for chunk in chunks(conversations):
        found.update(session.scalars(select(col(SummaryRow.id)).where(col(SummaryRow.conversation_id).in_(chunk))))
    return found


def summaries_of_what_is_gone(
    *, session: Session, platform: str, workspaces: Collection[str], names: Collection[str]
) -> set[str]:
    """Summaries that bear one of the names and rest on a message that is not in its conversation any more."""
    if not names or not workspaces:
        return set()
    # A supported sentence has had sources; they went with their messages.
    unsupported = exists(
        select(1)
        .select_from(SentenceRow)
        .where(
            col(SentenceRow.summary_id) == col(SummaryRow.id),
            col(SentenceRow.supported),
            ~exists(
                select(1)
                .select_from(SourceRow)
                .where(
                    col(SourceRow.summary_id) == col(SentenceRow.summary_id),
                    col(SourceRow.sentence) == col(SentenceRow.position),
                )
            ),
        )
    )
    query = (
        select(col(SummaryRow.id))
        .join(ConversationRow, col(ConversationRow.id) == col(SummaryRow.conversation_id))
        .where(
            col(ConversationRow.platform) == platform,
            col(ConversationRow.workspace).in_(sorted(workspaces)),
            or_(*(col(SummaryRow.text).contains(name, autoescape=True) for name in sorted(names))),
            unsupported,
        )
    )
    return set(session.scalars(query))


def asked_for(*, session: Session, platform: str, account: str) -> set[str]:
    """Ids of the summaries that a person asked for."""
    on_platform = col(SummaryRow.conversation_id).in_(_conversations_on(platform))
    who = named(col(SummaryRow.asked_by), on_platform, platform=platform, account=account)
    return set(session.scalars(select(col(SummaryRow.id)).where(who)))


def thumbs_by(*, session: Session, platform: str, account: str) -> list[tuple[str, str]]:
    """Keys of the feedback that a person gave."""
    on_platform = col(FeedbackRow.summary_id).in_(_summaries_on(platform))
    who = named(col(FeedbackRow.author_id), on_platform, platform=platform, account=account)
    query = select(col(FeedbackRow.summary_id), col(FeedbackRow.author_id)).where(who)
    return [(str(one[0]), str(one[1])) for one in session.execute(query)]


def corrections_by(*, session: Session, platform: str, account: str) -> set[str]:
    """Ids of the corrections that a person wrote."""
    on_platform = col(CorrectionRow.summary_id).in_(_summaries_on(platform))
    who = named(col(CorrectionRow.author_id), on_platform, platform=platform, account=account)
    return set(session.scalars(select(col(CorrectionRow.id)).where(who)))


def corrections_on(*, session: Session, summaries: Collection[str]) -> set[str]:
    """Ids of the corrections of summaries."""
    found: set[str] = set()
    for chunk in chunks(summaries):
        found.update(session.scalars(select(col(CorrectionRow.id)).where(col(CorrectionRow.summary_id).in_(chunk))))
    return found


def corrections_built_on(*, session: Session, corrections: Collection[str]) -> set[str]:
    """Ids of the corrections whose authors had one of these before them."""
    found: set[str] = set()
    for chunk in chunks(corrections):
        found.update(session.scalars(select(col(CorrectionRow.id)).where(col(CorrectionRow.builds_on).in_(chunk))))
    return found


def pairs_made_by(*, session: Session, corrections: Collection[str]) -> set[str]:
    """Ids of the pairs that corrections made and that are still there."""
    found: set[str] = set()
    for chunk in chunks(corrections):
        query = (
            select(col(PairRow.id))
            .join(CorrectionRow, col(CorrectionRow.pair_id) == col(PairRow.id))
            .where(col(CorrectionRow.id).in_(chunk))
        )
        found.update(session.scalars(query))
    return found


def pairs_by(*, session: Session, platform: str, account: str) -> set[str]:
    """Ids of the pairs that a person wrote, or changed on review."""
    on_platform = col(PairRow.platform) == platform
    who = [
        named(column, on_platform, platform=platform, account=account)
        for column in (col(PairRow.author_id), col(PairRow.editor_id))
    ]
    return set(session.scalars(select(col(PairRow.id)).where(or_(*who))))


def pairs_of(*, session: Session, conversations: Collection[str]) -> set[str]:
    """Ids of the pairs of conversations, by their row or by what the split goes by."""
    found: set[str] = set()
    for chunk in chunks(conversations):
        where = or_(col(PairRow.conversation_id).in_(chunk), col(PairRow.conversation_key).in_(chunk))
        found.update(session.scalars(select(col(PairRow.id)).where(where)))
    return found


def pairs_with_a_line_by(
    *, session: Session, platform: str, workspaces: Collection[str], name: str
) -> Sequence[tuple[str, str | None, str]]:
    """Pairs in whose dialogue somebody of this name seems to speak: id, conversation, dialogue."""
    dialogue = col(PairRow.dialogue)
    query = select(col(PairRow.id), col(PairRow.conversation_id), dialogue).where(
        col(PairRow.platform) == platform,
        col(PairRow.workspace).in_(sorted(workspaces)),
        or_(
            dialogue.startswith(f"{name}: ", autoescape=True),
            dialogue.contains(f"\n{name}: ", autoescape=True),
        ),
    )
    return [(str(one[0]), one[1], str(one[2])) for one in session.execute(query)]


def successors(*, session: Session, pairs: Collection[str]) -> set[str]:
    """Ids of the pairs that build on these."""
    found: set[str] = set()
    for chunk in chunks(pairs):
        found.update(session.scalars(select(col(PairRow.id)).where(col(PairRow.supersedes).in_(chunk))))
        query = select(col(PairRow.superseded_by)).where(col(PairRow.id).in_(chunk), col(PairRow.superseded_by) != "")
        found.update(session.scalars(query))
    return found


def keys_of(*, session: Session, pairs: Collection[str]) -> set[str]:
    """What the split of these pairs goes by."""
    found: set[str] = set()
    for chunk in chunks(pairs):
        found.update(session.scalars(select(col(PairRow.conversation_key)).where(col(PairRow.id).in_(chunk))))
    return found


def runs_of(*, session: Session, pairs: Collection[str]) -> set[str]:
    """Ids of the runs that were made of some of these pairs."""
    found: set[str] = set()
    for chunk in chunks(pairs):
        found.update(session.scalars(select(col(RunPairRow.run_id)).where(col(RunPairRow.pair_id).in_(chunk))))
    return found


def open_runs_among(*, session: Session, runs: Collection[str]) -> Sequence[RunRow]:
    """Those of the runs that have not ended, or that could go on."""
    found: list[RunRow] = []
    for chunk in chunks(runs):
        states = ("queued", "running", "stopped")
        found += session.scalars(select(RunRow).where(col(RunRow.id).in_(chunk), col(RunRow.state).in_(states)))
    return found


def adapters_of(*, session: Session, runs: Collection[str]) -> Sequence[AdapterRow]:
    """The adapters that runs made."""
    found: list[AdapterRow] = []
    for chunk in chunks(runs):
        found += session.scalars(select(AdapterRow).where(col(AdapterRow.run_id).in_(chunk)).order_by(AdapterRow.id))
    return found


def is_conversation(*, session: Session, name: str) -> bool:
    """Whether anything here goes by this conversation's id or key."""
    return any(
        session.scalar(select(func.count()).select_from(table).where(column == name))
        for table, column in (
            (ConversationRow, col(ConversationRow.id)),
            (PairRow, col(PairRow.conversation_key)),
            (SplitRow, col(SplitRow.conversation_key)),
        )
    )


def files_with_author(*, session: Session, name: str, limit: int) -> Sequence[str]:
    """Conversations from files in which somebody of this name writes."""
    query = (
        select(col(MessageRow.conversation_id))
        .join(ConversationRow, col(ConversationRow.id) == col(MessageRow.conversation_id))
        .where(col(MessageRow.author) == name, col(ConversationRow.platform) == "file")
        .distinct()
        .order_by(col(MessageRow.conversation_id))
        .limit(limit)
    )
    return session.scalars(query).all()


def key_of(*, session: Session, person: str) -> PersonKeyRow | None:
    """The key that makes a person's pseudonym."""
    return session.get(PersonKeyRow, person)


# Everybody ----------------------------------------------------------------------------------------------------------


def people(*, session: Session) -> set[tuple[str, str]]:
    """Everybody whom a row names: platform and account."""
    written = (
        select(col(ConversationRow.platform), col(MessageRow.author_id))
        .join(ConversationRow, col(ConversationRow.id) == col(MessageRow.conversation_id))
        .where(col(MessageRow.author_id) != "")
        .distinct()
    )
    found = {(str(platform), str(account)) for platform, account in session.execute(written)}
    of_pairs = col(PairRow.platform)
    asked = select(col(ConversationRow.platform), col(SummaryRow.asked_by)).join(
        SummaryRow, col(SummaryRow.conversation_id) == col(ConversationRow.id)
    )
    thumbs = (
        select(col(ConversationRow.platform), col(FeedbackRow.author_id))
        .join(SummaryRow, col(SummaryRow.conversation_id) == col(ConversationRow.id))
        .join(FeedbackRow, col(FeedbackRow.summary_id) == col(SummaryRow.id))
    )
    corrections = (
        select(col(ConversationRow.platform), col(CorrectionRow.author_id))
        .join(SummaryRow, col(SummaryRow.conversation_id) == col(ConversationRow.id))
        .join(CorrectionRow, col(CorrectionRow.summary_id) == col(SummaryRow.id))
    )
    queries = [
        asked,
        thumbs,
        corrections,
        select(of_pairs, col(PairRow.author_id)),
        select(of_pairs, col(PairRow.editor_id)),
    ]
    for query in queries:
        for platform, name in session.execute(query.distinct()):
            found |= _persons(str(platform), str(name))
    for column in (*(getattr(table, name) for table, name in DOERS), col(PersonKeyRow.person)):
        for name in session.scalars(select(column).distinct()):
            found |= _persons("", str(name))
    return found


def _persons(platform: str, name: str) -> set[tuple[str, str]]:
    """Whom a name may stand for: itself where it says the platform, else the row's platform, or a login name."""
    first, colon, rest = name.partition(":")
    if colon and first in ("slack", "discord", "local"):
        return {(first, rest)}
    return {(platform, name), ("local", name)} if name else set()


def conversations(*, session: Session) -> set[str]:
    """Everything that goes by a conversation's id or key."""
    found: set[str] = set()
    for column in (
        col(ConversationRow.id),
        col(PairRow.conversation_key),
        col(SplitRow.conversation_key),
        col(NearKeyRow.conversation_key),
    ):
        found.update(session.scalars(select(column).distinct()))
    return found


def erasures(*, session: Session) -> Sequence[ErasureRow]:
    """The erasures on record, oldest first."""
    return session.scalars(select(ErasureRow).order_by(col(ErasureRow.at), col(ErasureRow.id))).all()


def tainted(*, session: Session) -> Sequence[AdapterRow]:
    """Adapters that were trained on words erased since."""
    query = select(AdapterRow).where(col(AdapterRow.tainted_at).is_not(None)).order_by(col(AdapterRow.id))
    return session.scalars(query).all()


def runs_of_what_is_gone(*, session: Session, run_id: str | None = None) -> set[str]:
    """Runs that were made of pairs which are not there any more: all of them, or the one if it is such."""
    query = (
        select(col(RunPairRow.run_id))
        .outerjoin(PairRow, col(PairRow.id) == col(RunPairRow.pair_id))
        .where(col(PairRow.id).is_(None))
        .distinct()
    )
    if run_id is not None:
        query = query.where(col(RunPairRow.run_id) == run_id)
    return set(session.scalars(query))


def begun_since(*, session: Session, scope: str, moment: datetime) -> bool:
    """Whether a fine-tune of a scope was begun after a moment that has ended well, or may yet."""
    states = ("queued", "running", "stopped", "finished")
    query = select(func.count()).select_from(RunRow)
    query = query.where(col(RunRow.scope) == scope, col(RunRow.created_at) > moment, col(RunRow.state).in_(states))
    return bool(session.scalar(query))


def missing_pairs(*, session: Session, pairs: Collection[str]) -> set[str]:
    """Those of the pairs that are not there."""
    there: set[str] = set()
    for chunk in chunks(pairs):
        there.update(session.scalars(select(col(PairRow.id)).where(col(PairRow.id).in_(chunk))))
    return set(pairs) - there
