"""What an app may send by the gateway: fields by opcode, and intents."""

from __future__ import annotations

from tests.discord_server.values import (
    Check,
    anything,
    either,
    exactly,
    flag,
    integer,
    items,
    nothing,
    nullable,
    number,
    shaped,
    snowflake,
    text,
)  # fmt: skip

GUILDS, GUILD_MEMBERS, PRESENCES, GUILD_MESSAGES, GUILD_REACTIONS, DIRECT_MESSAGES, MESSAGE_CONTENT = (
    1 << 0, 1 << 1, 1 << 8, 1 << 9, 1 << 10, 1 << 12, 1 << 15,
)  # fmt: skip
#: All intents that there are.
KNOWN = sum(1 << bit for bit in (*range(17), 20, 21, 24, 25))
#: Flags of an app whose privileged intents are on: approved or, in fewer than 100 guilds, just switched on.
APP_FLAGS = {PRESENCES: (1 << 12, 1 << 13), GUILD_MEMBERS: (1 << 14, 1 << 15), MESSAGE_CONTENT: (1 << 18, 1 << 19)}

_PRESENCE: dict[str, Check] = {
    "since!": nullable(number), "activities": items(anything), "afk!": flag,
    "status!": either(nothing, exactly("online", "dnd", "idle", "invisible", "offline")),
    # What discord.py writes of an activity when it identifies; Discord takes it.
    "game": anything,
}  # fmt: skip

#: Fields of each opcode's data; None: a sequence number, or nothing.
PAYLOADS: dict[int, dict[str, Check] | None] = {
    1: None,
    2: {
        "token!": text(1), "intents!": integer(0, 2**53), "compress": flag, "large_threshold": integer(50, 250),
        "shard": items(integer(0), 2, 2), "presence": shaped("presence", _PRESENCE),
        "properties!": shaped("properties", {"os!": text(1), "browser!": text(1), "device!": text(1)}),
    },
    3: _PRESENCE,
    6: {"token!": text(1), "session_id!": text(1), "seq!": integer(0)},
    8: {
        "guild_id!": snowflake, "query": text(), "limit!": integer(0, 100), "presences": flag,
        "user_ids": items(snowflake, 100), "nonce": text(0, 32),
    },
}  # fmt: skip
