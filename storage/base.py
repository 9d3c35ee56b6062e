"""What all tables share: one metadata, with a rule for the names of constraints. It knows no table."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import MetaData
from sqlmodel import SQLModel

#: Constraints get names by rule, because a migration can only alter what has a name.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(SQLModel):
    """What all tables share: one metadata with the naming rule."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMING)
