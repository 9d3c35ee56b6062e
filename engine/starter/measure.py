"""Measure the starter: `python -m engine.starter.measure --data ../shared/data`, into `figures.json` and the card.

Scores the weights and four trivial extracts on the three validation sets, none of which is trained on. Decoding is
what `generation_config.json` says unless an option of this script changes it (how the settings were chosen).
"""

from __future__ import annotations

import argparse
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from engine.starter import card, scores, text
from engine.starter.export import WEIGHTS
from engine.starter.text import Conversation, Turn

SETS = ("tweetsumm.valid", "convosumm_email.val", "qmsum_span.val")
FIGURES = Path(__file__).parent / "figures.json"
LONGEST = 512
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True)
class Reader:
    """A loaded model with its tokenizer and the decoding options that differ from its own."""

    model: Any
    tokenizer: Any
    options: dict[str, Any]


def load(weights: Path, options: dict[str, Any]) -> Reader:
    """The weights in single precision, on whatever device there is."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForSeq2SeqLM.from_pretrained(weights, dtype=torch.float32).to(device).eval()
    return Reader(model, AutoTokenizer.from_pretrained(weights), options)


def fitted(conversation: Conversation, tokenizer: Any) -> str:
    """The input, cut to what fits: from the start, or, with a query, the stretch of turns that answers it best."""
    turns, query = list(conversation.turns), conversation.query
    room = LONGEST - 4 - len(tokenizer.tokenize(f"Focus: {query}")) if query else LONGEST - 2
    sizes = [len(tokenizer.tokenize(f"{who}: {said}")) + 1 for who, said in turns]
    start = 0
    if query and sum(sizes) > room:
        wanted = text.content(query)
        start = max(range(len(turns)), key=lambda i: (_overlap(turns, sizes, i, room, wanted), -i))
    return text.rendered(turns[start:], query)


def _overlap(turns: list[Turn], sizes: list[int], start: int, room: int, wanted: set[str]) -> int:
    found, used = 0, 0
    for (who, said), size in zip(turns[start:], sizes[start:], strict=True):
        used += size
        if used > room:
            break
        found += len(wanted & text.content(f"{who} {said}"))
    return found


@torch.inference_mode()
def summaries(reader: Reader, conversations: list[Conversation], batch_size: int = 8) -> list[str]:
    """One summary of each conversation, in order; rows of similar length are generated together."""
    inputs = [fitted(c, reader.tokenizer) for c in conversations]
    order = sorted(range(len(inputs)), key=lambda i: len(inputs[i]))
    written = [""] * len(inputs)
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        encoded = reader.tokenizer(
            [inputs[i] for i in rows], truncation=True, max_length=LONGEST, padding=True, return_tensors="pt"
        ).to(reader.model.device)
        ids = reader.model.generate(
            input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"], **reader.options
        )
        for i, summary in zip(rows, reader.tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True):
            written[i] = summary.strip()
    return written


def extracts(conversation: Conversation) -> dict[str, str]:
    """The trivial summaries that any model must beat."""
    said = [s for _, s in conversation.turns]
    return {
        "lead-2": " ".join(said[:2]),
        "lead-3": " ".join(said[:3]),
        "first 60 words": " ".join(" ".join(said).split()[:60]),
        "longest turn": max(said, key=lambda s: len(s.split())),
    }


def faithful(written: list[str], conversations: list[Conversation]) -> dict[str, float]:
    """Share of the numbers, and of those named as speaking, that the conversations have; 100 where there are none."""
    numbers = numbers_there = named = named_there = 0
    for summary, conversation in zip(written, conversations, strict=True):
        there = " ".join(f"{who}: {said}" for who, said in conversation.turns).lower() + conversation.query.lower()
        for number in _NUMBER.findall(summary):
            numbers += 1
            numbers_there += number in there
        squeezed = {re.sub(r"\W", "", who.lower()) for who in conversation.people}
        for sentence in re.split(r"(?<=[.!?]) ", summary):
            subject = re.match(r"(.{1,60}?) (?:also )?(?:says|asks)\b", sentence)
            if subject:
                named += 1
                named_there += re.sub(r"\W", "", subject.group(1).lower()) in squeezed
    return {
        "numbers_there": round(100.0 * numbers_there / numbers, 1) if numbers else 100.0,
        "speakers_there": round(100.0 * named_there / named, 1) if named else 100.0,
    }


def measure(reader: Reader, data: Path, limit: int, samples: Path | None) -> dict[str, Any]:
    """The figures of all sets."""
    found: dict[str, Any] = {}
    for name in SETS:
        conversations = text.read(data, name)[: limit or None]
        references = [c.summaries for c in conversations]
        sources = [text.rendered(c.turns) for c in conversations]
        systems: dict[str, list[str]] = {}
        for conversation in conversations:
            for system, extract in extracts(conversation).items():
                systems.setdefault(system, []).append(extract)
        began = time.monotonic()
        written = summaries(reader, conversations)
        seconds = (time.monotonic() - began) / len(conversations)
        figures = {system: scores.score(rows, references, sources) for system, rows in systems.items()}
        figures["starter"] = scores.score(written, references, sources) | faithful(written, conversations)
        found[name] = {"rows": len(conversations), "systems": figures}
        print(name, json.dumps(figures["starter"]), f"{seconds:.2f} s each", flush=True)
        if samples:
            lines = (json.dumps({"in": s, "out": w}) + "\n" for s, w in zip(sources, written, strict=True))
            samples.with_name(f"{samples.name}.{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return found


def main() -> None:
    """Measure; without options that change decoding, write the figures and the card's tables."""
    parser = argparse.ArgumentParser(description="Measure the starter model on the validation sets.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--limit", type=int, default=0, help="only so many rows of each set")
    parser.add_argument("--samples", type=Path, help="also write every input and summary beside this path")
    parser.add_argument("--options", default="{}", help="decoding options as JSON, to compare settings")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    options: dict[str, Any] = json.loads(arguments.options)
    reader = load(arguments.weights, options)
    sets = measure(reader, arguments.data, arguments.limit, arguments.samples)
    if options or arguments.limit or arguments.weights != WEIGHTS:
        return
    decoding = json.loads((WEIGHTS / "generation_config.json").read_text())
    names = ("max_length", "min_length", "no_repeat_ngram_size", "num_beams")
    figures = {
        "sets": sets,
        "parameters": reader.model.num_parameters(),
        "bytes": (WEIGHTS / "model.safetensors").stat().st_size,
        "decoding": {n: decoding[n] for n in names if n in decoding},
    }
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    card.update(figures)


if __name__ == "__main__":
    main()
