"""Run by Alembic: migrations go through the connection that :mod:`storage.migrate` hands in.

It opens nothing and begins no transaction: that connection is locked, copied and already in one.
"""

from typing import Any, Literal

from alembic import context

from storage.tables import Base
from storage.types import CleanText, UtcDateTime


def render_item(kind: str, item: Any, _autogenerate: Any) -> str | Literal[False]:
    """Write our column types as what they are in the database: a migration stands on no code that may change."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return "sa.Text()" if kind == "type" and isinstance(item, CleanText) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    render_item=render_item,
)
with context.begin_transaction():
    context.run_migrations()
