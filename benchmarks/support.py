"""How often support is judged right, on sentences labelled by hand.

Prints precision and recall of finding unsupported sentences and of naming source messages, beside two baselines (every
sentence is supported; a sentence is supported when half of its words stand in one message), as a table and one line of
JSON. `--development` runs on the sentences that thresholds were tuned on, `--errors` lists what went wrong, `--write`
keeps the figures in `benchmarks/results/support.json`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Table, finish
from engine.conversation import Message
from engine.requests import SummarySentence
from engine.text.support import SupportIndex
from engine.text.words import fold, words

LABELS = Path(__file__).parent.parent / "tests" / "engine" / "text"

Judge = Callable[[str], SummarySentence]


@dataclass(frozen=True)
class Labelled:
    conversation: str
    text: str
    kind: str
    sources: frozenset[str]

    @property
    def supported(self) -> bool:
        return self.kind in ("stated", "paraphrase")


def load(name: str) -> tuple[dict[str, list[Message]], list[Labelled]]:
    """The conversations and sentences of `support_<name>.json`."""
    data = json.loads((LABELS / f"support_{name}.json").read_text(encoding="utf-8"))
    conversations = {
        conversation["id"]: [Message(m["id"], m["author"], m["text"]) for m in conversation["messages"]]
        for conversation in data["conversations"]
    }
    sentences = [Labelled(s["conversation"], s["text"], s["kind"], frozenset(s["sources"])) for s in data["sentences"]]
    return conversations, sentences


def halved(messages: list[Message]) -> Judge:
    """The baseline: the message that shares most words, supported when it has half of the sentence's."""

    def judge(sentence: str) -> SummarySentence:
        wanted = set(map(fold, words(sentence)))
        shared = [(len(wanted & set(map(fold, words(f"{m.author} {m.text}")))), m.id) for m in messages]
        most, best = max(shared, key=lambda pair: pair[0])
        return SummarySentence(sentence, (best,) if most * 2 >= len(wanted) else (), most * 2 >= len(wanted))

    return judge


def everything(messages: list[Message]) -> Judge:
    """The baseline that believes all."""
    return lambda sentence: SummarySentence(sentence, tuple(m.id for m in messages))


def measure(
    make: Callable[[list[Message]], Judge], conversations: dict[str, list[Message]], sentences: list[Labelled]
) -> dict[str, Any]:
    """Precision and recall of both tasks, and per kind how many were judged right."""
    judges = {name: make(messages) for name, messages in conversations.items()}
    found = wrongly = named = right = expected = first = 0
    kinds: Counter[str] = Counter()
    good: Counter[str] = Counter()
    errors = []
    for labelled in sentences:
        judged = judges[labelled.conversation](labelled.text)
        kinds[labelled.kind] += 1
        good[labelled.kind] += judged.supported == labelled.supported
        if judged.supported != labelled.supported:
            errors.append(f"{labelled.kind}: {labelled.text}")
        found += not judged.supported and not labelled.supported
        wrongly += not judged.supported and labelled.supported
        if labelled.supported:
            expected += len(labelled.sources)
            named += len(judged.sources)
            right += len(labelled.sources.intersection(judged.sources))
            first += bool(judged.sources) and judged.sources[0] in labelled.sources
    unsupported = sum(not s.supported for s in sentences)
    return {
        "unsupported_recall": round(found / unsupported, 3),
        "unsupported_precision": round(found / max(1, found + wrongly), 3),
        "source_precision": round(right / max(1, named), 3),
        "source_recall": round(right / expected, 3),
        "first_source_right": round(first / sum(s.supported for s in sentences), 3),
        "right_by_kind": {kind: f"{good[kind]}/{count}" for kind, count in kinds.items()},
        "errors": errors,
    }


def run(name: str) -> dict[str, Any]:
    """All figures on one set of labels."""
    conversations, sentences = load(name)
    makers: dict[str, Callable[[list[Message]], Judge]] = {
        "support": lambda messages: SupportIndex(messages).judge,
        "half the words": halved,
        "believe all": everything,
    }
    return {
        "set": name,
        "sentences": len(sentences),
        "unsupported": sum(not s.supported for s in sentences),
        "judges": {label: measure(make, conversations, sentences) for label, make in makers.items()},
    }


def tables(figures: dict[str, Any]) -> list[Table]:
    """What was measured, for people."""
    columns = ("unsupported_recall", "unsupported_precision", "source_precision", "source_recall", "first_source_right")
    judged = [
        [label, *(f"{measured[column]:.0%}" for column in columns)] for label, measured in figures["judges"].items()
    ]
    kinds = figures["judges"]["support"]["right_by_kind"]
    return [
        Table(
            f"Support judged on {figures['sentences']} sentences, {figures['unsupported']} of them unsupported",
            ["judge", *(column.replace("_", " ") for column in columns)],
            judged,
        ),
        Table("Sentences judged right, by kind", list(kinds), [list(kinds.values())]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--development", action="store_true", help="measure on the sentences used for tuning")
    parser.add_argument("--errors", action="store_true", help="list the sentences judged wrongly")
    parser.add_argument("--write", action="store_true", help="keep the figures in benchmarks/results/support.json")
    options = parser.parse_args()
    if options.development and options.write:
        parser.error("only the measured sentences are kept")
    figures = run("development" if options.development else "labelled")
    errors, *_ = [measured.pop("errors") for measured in figures["judges"].values()]
    if options.errors:
        print(*errors, sep="\n")
    finish("support", tables(figures), figures, write=options.write)


if __name__ == "__main__":
    main()
