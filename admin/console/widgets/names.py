"""The console's screens by name and number, in the order of their keys; nothing else."""

from __future__ import annotations

from typing import NamedTuple


class Name(NamedTuple):
    """A screen: how code calls it, its digit, what people read, and what the command palette says of it."""

    key: str
    number: str
    title: str
    about: str


SCREENS = (
    Name("overview", "1", "Overview", "Engine, queue, reception of summaries, what serves, alerts"),
    Name("adapters", "2", "Adapters", "Candidates and what serves; promote, roll back, reject, retire"),
    Name("corrections", "3", "Corrections", "Review what people corrected: approve, reject, edit"),
    Name("runs", "4", "Runs", "Fine-tunes: curves, progress, log; start, stop, resume"),
    Name("compare", "5", "Compare", "Base, active and candidate side by side; blind votes"),
    Name("conversations", "6", "Conversations", "Browse and search what is stored; write a summary; forget"),
    Name("schedule", "7", "Schedule", "When fine-tunes run and what they wait for"),
    Name("ledger", "8", "Ledger", "Who did what and when; verify"),
    Name("health", "9", "Health", "What `redraft doctor` says, and the settings in force"),
)
