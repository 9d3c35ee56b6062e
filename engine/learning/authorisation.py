"""Who authorised training on a chat platform's messages, and on what basis; without it no pair from there is used.

The platforms' terms restrict training on messages (``docs/privacy.md``), so that a person has to answer for it. It is
asked for by platform, stands in the ledger, and holds until it is revoked. It judges no basis.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlmodel import Session

from engine.learning.ledger import pseudonym, recorded
from engine.text.safety import visible
from storage import pair_queries as queries
from storage.database import Database
from storage.errors import InputError
from storage.learning_tables import AuthorisationRow

PLATFORMS = ("slack", "discord")
_LONGEST = 2_000


def authorised(session: Session) -> frozenset[str]:
    """The platforms whose messages may be trained on today."""
    return frozenset(row.platform for row in queries.authorisations(session=session, in_force=True))


def authorisations(session: Session) -> Sequence[AuthorisationRow]:
    """Every authorisation there was, newest first."""
    return queries.authorisations(session=session)


def authorise(
    database: Database, *, platform: str, authorised_by: str, basis: str, by: str, now: datetime | None = None
) -> AuthorisationRow:
    """Record that training on a platform's messages is authorised.

    Args:
        authorised_by: the name of whoever answers for it, as they are known.
        basis: on what ground, in their words: an agreement with the platform, a consent, a policy.
        by: who records it, for the ledger.

    Raises:
        InputError: the platform is unknown, a name or a basis is missing, or it is authorised already.
        StorageError: it could not be recorded.
    """
    _known(platform)
    name = _line(authorised_by, "Who authorises it is missing.", "Name them with --by.")
    ground = _line(basis, "The basis is missing.", "Say with --basis what makes it lawful and within the terms.")
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with recorded(database) as (session, ledger):
        if platform in authorised(session):
            raise InputError(
                f"Training on {platform}'s messages is authorised already.",
                f"`redraft training show` says by whom; `redraft training revoke {platform}` ends it.",
            )
        row = AuthorisationRow(platform=platform, authorised_at=moment, authorised_by=name, basis=ground)
        session.add(row)
        details = {"basis": ground, "authorised_by": pseudonym(session, f"name:{name}")}
        ledger.append("training.authorised", by=by, subject=platform, details=details, now=moment)
    return row


def revoke(database: Database, *, platform: str, by: str, now: datetime | None = None) -> AuthorisationRow:
    """Take an authorisation back: from now on no run takes a pair of that platform. Adapters stay as they are.

    Raises:
        InputError: the platform is unknown or not authorised.
        StorageError: it could not be recorded.
    """
    _known(platform)
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with recorded(database) as (session, ledger):
        rows = queries.authorisations(session=session, platform=platform, in_force=True)
        if not rows:
            raise InputError(
                f"Training on {platform}'s messages is not authorised.", "`redraft training show` says what is."
            )
        for row in rows:
            row.revoked_at, row.revoked_by = moment, by
            session.add(row)
        ledger.append("training.revoked", by=by, subject=platform, now=moment)
    return rows[0]


def _known(platform: str) -> None:
    if platform not in PLATFORMS:
        raise InputError(f"{platform[:40]!r} is no chat platform.", "Name slack or discord.")


def _line(text: str, missing: str, hint: str) -> str:
    line = " ".join(visible(text, keep_newlines=False).split())
    if not line:
        raise InputError(missing, hint)
    if len(line) > _LONGEST:
        raise InputError(f"That is longer than {_LONGEST:,} characters.", "Say it in a sentence or two.")
    return line
