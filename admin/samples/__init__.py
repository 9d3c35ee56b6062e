"""Ten sample conversations in the true shapes of the formats that Redraft reads, written for it.

All people, companies and addresses are invented. The first three are what ``redraft demo`` shows; all ten are for
tests and for the starter model's card. The files lie beside this one; those of the Slack export keep its layout,
because names and channels are files of their own there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample conversation.

    Attributes:
        file: path below this package, with ``/`` between its parts.
        format: what ``--format`` would call it.
        kind: what sort of conversation it is.
        description: one line for people.
    """

    file: str
    format: Literal["slack", "discord", "samsum", "text"]
    kind: Literal["incident", "support", "planning", "chat", "operations", "design"]
    description: str


SAMPLES: tuple[Sample, ...] = (
    Sample(
        "slack_export/incidents/2026-05-12.json",
        "slack",
        "incident",
        "An incident: checkout errors after a deploy (Slack export)",
    ),
    Sample(
        "slack_export/support-desk/2026-06-03.json",
        "slack",
        "support",
        "A support case: invoices that come out empty (Slack export)",
    ),
    Sample(
        "discord_planning_thread.json",
        "discord",
        "planning",
        "A planning thread: what offline mode is to do (Discord export)",
    ),
    Sample("flatmates_row.json", "samsum", "chat", "Flatmates with a cold boiler (SAMSum row)"),
    Sample("garden_chat.txt", "text", "planning", "A community garden buys a water tank (plain text with times)"),
    Sample("discord_bug_report.json", "discord", "support", "A bug is reported and traced (Discord export)"),
    Sample(
        "slack_export/data-platform/2026-09-17.json",
        "slack",
        "operations",
        "A channel's day: moving a data warehouse (Slack export, several threads)",
    ),
    Sample("translators_chat.txt", "text", "chat", "Translators settle a glossary (plain text, names in four scripts)"),
    Sample("clinic_row.jsonl", "samsum", "support", "An appointment for a limping dog (DialogSum row)"),
    Sample(
        "slack_api_thread.json",
        "slack",
        "design",
        "How an interface pages its lists (Slack thread, as the API gives it)",
    ),
)
