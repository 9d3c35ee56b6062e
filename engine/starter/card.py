"""The model card's tables, made from `figures.json`; no figure in the card is written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CARD = Path(__file__).parent / "MODEL_CARD.md"
_COLUMNS = ("rouge1", "rouge2", "rougeL", "content_f1", "novelty", "words", "empty", "looping")
START, END = "<!-- figures:start -->", "<!-- figures:end -->"


def render(figures: dict[str, Any]) -> str:
    """The tables between the card's markers, as Markdown."""
    megabytes = figures["bytes"] / 1e6
    decoding = ", ".join(f"`{name}` {value}" for name, value in figures["decoding"].items())
    lines = [
        f"{figures['parameters']:,} parameters; `model.safetensors` is {megabytes:.1f} MB in fp16.",
        f"Decoding: {decoding}.",
        "",
        "| set | system | ROUGE-1 | ROUGE-2 | ROUGE-L | content F1 | novelty % | words | empty % | looping % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in figures["sets"].items():
        for system, s in found["systems"].items():
            shown = f"**{system}**" if system == "starter" else system
            cells = [f"{s[metric]:.1f}" for metric in _COLUMNS]
            lines.append(f"| {name} ({found['rows']}) | {shown} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| set | numbers in its summaries that the conversation has, % | people it says spoke who did, % |",
        "|---|---|---|",
    ]
    for name, found in figures["sets"].items():
        starter = found["systems"]["starter"]
        lines.append(f"| {name} | {starter['numbers_there']:.1f} | {starter['speakers_there']:.1f} |")
    return "\n".join(lines)


def tables(card: str) -> str:
    """What stands between the markers of a card."""
    return card.split(START, 1)[1].split(END, 1)[0].strip("\n")


def update(figures: dict[str, Any], card: Path = CARD) -> None:
    """Write the tables into the card."""
    whole = card.read_text(encoding="utf-8")
    before, rest = whole.split(START, 1)
    after = rest.split(END, 1)[1]
    card.write_text(f"{before}{START}\n{render(figures)}\n{END}{after}", encoding="utf-8")
