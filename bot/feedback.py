"""What people in chats say to summaries: corrections, thumbs, decisions on corrections, and their wish to be left out.

The rules are :mod:`engine.learning`'s; here is what a chat adds: doing it twice does it once, names that may decide
for a channel, and what a person is shown of what is stored about them. It knows no platform.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from bot import texts
from bot.chat import Place
from engine.learning import changes, corrections, erasure, pairs
from engine.learning.differences import difference
from engine.learning.settings import LearningSettings
from storage import chat_queries, pair_queries, queries
from storage.database import Database
from storage.errors import NotPermitted
from storage.pair_filters import PairFilter

#: Corrections and reviews shown at once.
_SHOWN = 10


def correct(
    database: Database,
    settings: LearningSettings,
    *,
    summary_id: str,
    person: str,
    name: str,
    text: str,
    blind: bool,
    about: str = "",
    builds_on: str = "",
    now: datetime | None = None,
) -> str:
    """Take a correction; what is there already, word for word by the same person, is not taken twice.

    Args:
        blind: whether it was written with the draft hidden; one that stands in the channel cannot be.

    Returns:
        A sentence for its author.

    Raises:
        CorrectionRefused: it cannot be taken as it is.
        StorageError: it could not be stored.
    """
    cleaned = corrections.clean(text, settings)
    with database.read() as session:
        before = corrections.corrections(session, summary_id)
        # A draft that stands in the channel is in sight, whatever the dialogue leaves out.
        in_sight = any(
            row.message and not row.private for row in chat_queries.answers_of(session=session, summary_id=summary_id)
        )
    if any((one.author_id, one.text, one.builds_on) == (person, cleaned, builds_on) for one in before):
        return texts.CORRECTED_ALREADY
    done = corrections.correct(
        database, settings, summary_id=summary_id, author_id=person, author=name, text=text,
        blind=blind and not in_sight, about=about, builds_on=builds_on, now=now,
    )  # fmt: skip
    return done.sentence


@dataclass(frozen=True, slots=True)
class Mine:
    """A correction of somebody's own: its text, of what, and what became of it. Whether they may see it is asked first.

    An edit says what a summary of that place said, and its author may have left there since.
    """

    place: Place
    text: str
    at: datetime
    state: str


def corrections_of(database: Database, person: str) -> list[Mine]:
    """Somebody's newest corrections and what became of them, newest first."""
    with database.read() as session:
        rows = chat_queries.corrections_by(session=session, person=person, limit=_SHOWN)
        found = []
        for row in rows:
            pair = pair_queries.get_pair(session=session, pair_id=row.pair_id) if row.pair_id else None
            of = chat_queries.conversation_of(session=session, summary_id=row.summary_id)
            place = Place(of.platform, of.workspace, of.channel, of.thread)
            used = pair is not None and chat_queries.used_in_a_run(session=session, pair_id=pair.id)
            state = texts.state_of_correction(pair.state if pair else "", used=used)
            found.append(Mine(place, row.text, row.created_at, state))
    return found


@dataclass(frozen=True, slots=True)
class Review:
    """A correction that waits for a decision, as it is shown to a reviewer.

    Attributes:
        mark: what the reviewer saw; a decision is refused where the pair has changed since.
        diff: from the draft, where the author had one; else the whole text as new.
    """

    pair_id: str
    mark: str
    channel: str
    author: str
    text: str
    diff: list[list[str]]
    at: datetime


class Reviews:
    """Decisions by the reviewers named for channels.

    Args:
        database: where pairs are.
        settings: of the learning loop.
        platform: whose channels these are.
        reviewers: people (``slack:U01``) by channel.
    """

    def __init__(
        self,
        database: Database,
        settings: LearningSettings,
        *,
        platform: str,
        reviewers: Mapping[str, frozenset[str]],
    ) -> None:
        self._database, self._settings = database, settings
        self._platform, self._reviewers = platform, reviewers

    def channels(self, person: str) -> list[str]:
        """The channels for which a person is named; whether they are in them is the platform's to ask."""
        return [channel for channel, people in self._reviewers.items() if person in people]

    def waiting(self, person: str, channel: str) -> list[Review]:
        """What waits in a channel for somebody who is no author of it, oldest first."""
        if person not in self._reviewers.get(channel, frozenset()):
            return []
        wanted = PairFilter(state="pending", platform=self._platform, channel=channel, newest=True)
        with self._database.read() as session:
            lines = pairs.list_pairs(session, wanted, limit=50)
            rows = [pair_queries.get_pair(session=session, pair_id=line.id) for line in reversed(lines)]
            found = []
            for row in rows:
                if row is None or person in (row.author_id, row.editor_id):
                    continue
                draft = (
                    queries.get_summary(session=session, summary_id=row.draft_summary_id)
                    if row.draft_summary_id
                    else None
                )
                diff = difference(draft.text, row.summary).diff if draft else [["insert", "", row.summary]]
                found.append(Review(row.id, pairs.mark_of(row), channel, row.author, row.summary, diff, row.created_at))
        return found[:_SHOWN]

    def channel_of(self, person: str, pair_id: str) -> str:
        """The channel of a pair on which a person may decide as far as names go.

        Raises:
            PairRefused: there is no such pair.
            NotPermitted: they are not named for its channel, or it is their own.
        """
        with self._database.read() as session:
            row = pairs.find(session, pair_id)
        if row.platform != self._platform or person not in self._reviewers.get(row.channel, frozenset()):
            raise NotPermitted(texts.NO_REVIEWER)
        if person == row.author_id:
            raise NotPermitted(texts.OWN_CORRECTION)
        return row.channel

    def approve(self, person: str, pair_id: str, seen: str) -> None:
        """Approve; see :func:`engine.learning.pairs.approve`."""
        self.channel_of(person, pair_id)
        pairs.approve(self._database, pair_ids=[pair_id], by=person, seen=seen)

    def reject(self, person: str, pair_id: str, seen: str, reason: str) -> None:
        """Reject; see :func:`engine.learning.pairs.reject`."""
        self.channel_of(person, pair_id)
        pairs.reject(self._database, pair_ids=[pair_id], by=person, reason=reason, seen=seen)

    def edit(self, person: str, pair_id: str, seen: str, text: str) -> None:
        """Put the reviewer's own version in its place; see :func:`engine.learning.pairs.edit_pair`."""
        self.channel_of(person, pair_id)
        pairs.edit_pair(self._database, self._settings, pair_id=pair_id, text=text, by=person, seen=seen)


def my_data(database: Database, person: str) -> str:
    """What is stored about a person, in a sentence."""
    return texts.my_data(erasure.preview(database, database.home, user=person).counts)


def opted_out(database: Database, person: str) -> bool:
    """Whether a person has opted out."""
    with database.read() as session:
        return person in chat_queries.opted_out(session=session, platform=person.partition(":")[0])


def opt_out(database: Database, person: str, *, now: datetime, names: Collection[str] = ()) -> str:
    """Leave a person out from now on; their messages leave what is stored. A sentence for them.

    Args:
        names: what the person is called; see :func:`engine.learning.changes.take_out_author`.

    Raises:
        StorageError: it could not be done.
    """
    with database.write() as session:
        chat_queries.save_opt_out(session=session, person=person, at=now)
    changes.take_out_author(database, person=person, now=now, names=names)
    return texts.OPTED_OUT_NOW


def opt_in(database: Database, person: str) -> str:
    """Take a person in again. A sentence for them."""
    with database.write() as session:
        was = chat_queries.delete_opt_out(session=session, person=person)
    return texts.OPTED_IN_NOW if was else texts.WAS_OPTED_IN
