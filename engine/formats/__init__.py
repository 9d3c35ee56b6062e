"""Reading conversations from files: Slack and Discord exports, SAMSum and DialogSum rows, plain text.

Bytes in, an :class:`engine.conversation.Conversation` out, or one :class:`storage.errors.InputError`. Nothing here
knows of models, databases or networks; ``slack_text`` is also for whoever reads Slack's messages over the network.
"""

from __future__ import annotations

from engine.formats.read import FORMATS, Format, read_bytes, read_conversation
from engine.formats.values import conversation_id

__all__ = ["FORMATS", "Format", "conversation_id", "read_bytes", "read_conversation"]
