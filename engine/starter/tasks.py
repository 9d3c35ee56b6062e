"""What the starter is taught on: copying, then reports of conversations, then people's summaries.

Makes examples (token ids) from conversations; knows the tokenizer, and nothing of the model. Every batch is a
function of the seed, the stage and the step, so that a build that was cut off goes on with the same data.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import BertTokenizerFast

from engine.starter import report, text
from engine.starter.text import Conversation, Turn

CHAT = ("irc_ubuntu.train", "irc_newdomains")
HUMAN = ("qmsum_span.train", "convosumm_email.train", "crd3_c4o0.train")
HUMAN_SHARES = (0.5, 0.34, 0.16)
# Summaries of longer scenes and of whole meetings rest on more than an input holds.
LONGEST = 7_000
STAR_DIALOGUES = 400  # their agents' stock phrases repeat: a model given more recites them


@dataclass(frozen=True)
class Example:
    """Token ids of one source and target.

    supervised: which target tokens count in the loss. aligned: for each target token its position in the
    source where it is a copy of that place, else -1.
    """

    source: list[int]
    target: list[int]
    supervised: list[bool]
    aligned: list[int]


class Corpus:
    """Everything that may be trained on, read once."""

    def __init__(self, data: Path, tokenizer: BertTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.chats = [c for name in CHAT for c in text.read(data, name)]
        self.chats += random.Random(0).sample(text.read(data, "star"), STAR_DIALOGUES)
        self.by_people = [text.read(data, name, LONGEST) for name in HUMAN]
        self.summarised = [c for people in self.by_people for c in people]
        self.prose = text.paragraphs(data)
        self.line_break: int = tokenizer.convert_tokens_to_ids("\n")
        self.first_piece = 5
        self.last_piece = len(tokenizer) - 2
        self._turns = self._turn_ids()

    def texts(self) -> list[str]:
        """All texts, for counting word pieces."""
        found = [text.rendered(c.turns, c.query) for c in [*self.chats, *self.summarised]]
        found += [s for c in self.summarised for s in c.summaries]
        return found + self.prose

    def _turn_ids(self) -> list[list[int]]:
        """Token ids of turns and paragraphs of all sources, without their speakers, at least 5 tokens each."""
        rng = random.Random(1)
        pools: list[list[str]] = [
            [said for c in self.chats for _, said in c.turns],
            [said for c in self.summarised for _, said in c.turns],
            self.prose,
        ]
        chosen: list[str] = []
        for pool in pools:
            chosen += rng.sample(pool, min(len(pool), 12_000))
        encoded = self.tokenizer([t[:400] for t in chosen], add_special_tokens=False).input_ids
        return [ids for ids in encoded if len(ids) >= 5]

    def encode(self, string: str) -> list[int]:
        """Token ids without [CLS] and [SEP]."""
        ids: list[int] = self.tokenizer(string, add_special_tokens=False).input_ids
        return ids

    def copying(self, rng: random.Random, length: int, written: int) -> Example:
        """Turns of many conversations thrown together; the target continues some of them.

        length, written: tokens of source and target, exactly. What no reader could know (with which turn the
        target goes on, so the first two tokens of each stretch) is left out of the loss.
        """
        source = [2]
        stretches: list[tuple[int, int]] = []
        noise = rng.random() < 0.3
        while len(source) < length - 1:
            ids = rng.choice(self._turns)
            size = min(len(ids), rng.randint(6, 40), length - 1 - len(source))
            start = rng.randint(0, len(ids) - size)
            body = ids[start : start + size]
            if noise:
                body = [rng.randint(self.first_piece, self.last_piece) for _ in body]
            name = self.encode(text.new_name(rng) + ":") if rng.random() < 0.7 else []
            begin = len(source)
            source += [*name, *body]
            stretches.append((begin, min(len(source), length - 1)))
            source.append(self.line_break)
        source = [*source[: length - 1], 3]
        target, supervised, aligned = [2], [False], [-1]
        rng.shuffle(stretches)
        while len(target) < written:
            for begin, end in stretches:
                if end - begin < 4:
                    continue
                # Part of a stretch only, at times: a summary picks a clause out of a turn.
                first = begin if rng.random() < 0.5 else rng.randint(begin, end - 4)
                target += source[first:end]
                supervised += [False, False] + [True] * (end - first - 2)
                aligned += range(first, end)
            if len(target) == 1:
                break
        return Example(source, target[:written], supervised[:written], aligned[:written])

    def reported(self, rng: random.Random, limit: int) -> Example | None:
        """A chat, or part of one, with a report of its best sentences; three in ten asked with a focus.

        One in twelve is a merge instead: reports of a conversation's parts, and the best of them.
        """
        if limit >= 150 and rng.random() < 0.4:
            return self._asked(rng, limit)
        pool = self.chats if rng.random() < 0.75 else self.summarised
        conversation = text.addressed(text.renamed(self._excerpt(rng.choice(pool), rng, limit), rng), rng)
        if limit >= 120 and rng.random() < 0.08:
            return self._merge(conversation, rng, limit)
        focus = report.focus_words(conversation.turns, rng) if rng.random() < 0.3 else ""
        size = sum(len(said.split()) for _, said in conversation.turns)
        asked = report.asked(focus, rng) if focus else ""
        count = 1 if size < 25 else 2 if size < 170 else 3
        count = min(2, count) if focus else count
        summary, _ = report.pseudo_summary(conversation, rng, count=count, focus=focus)
        return self.pair(text.rendered(conversation.turns, asked), summary, limit) if summary else None

    def _asked(self, rng: random.Random, limit: int) -> Example | None:
        """A stretch of a meeting with the question that was asked about it, and a report of what bears on it."""
        whole = rng.choice(self.by_people[0])
        wanted = text.content(whole.query)
        first = max(range(len(whole.turns)), key=lambda i: len(wanted & text.content(whole.turns[i][1])))
        turns = whole.turns[max(0, first - rng.randint(0, 6)) :]
        cut = self._excerpt(replace(whole, turns=turns, id=""), rng, limit, anywhere=False)
        cut = text.renamed(replace(cut, query=whole.query), rng)
        summary, _ = report.pseudo_summary(cut, rng, count=3, focus=cut.query)
        return self.pair(text.rendered(cut.turns, cut.query), summary, limit) if summary else None

    def _merge(self, conversation: Conversation, rng: random.Random, limit: int) -> Example | None:
        size = max(2, len(conversation.turns) // rng.randint(2, 4))
        parts: list[str] = []
        for start in range(0, len(conversation.turns), size):
            part = Conversation("", conversation.source, conversation.turns[start : start + size])
            written, _ = report.pseudo_summary(part, rng, count=2)
            parts += [written] if written else []
        if len(parts) < 2:
            return None
        return self.pair("\n".join(parts), report.merged(parts, rng, count=3), limit)

    def human(self, rng: random.Random, limit: int) -> Example | None:
        """A person's summary, less its sentences that the source as cut does not bear out."""
        whole = rng.choice(rng.choices(self.by_people, HUMAN_SHARES)[0])
        summary = rng.choice(whole.summaries)
        turns = self._relevant(whole, summary, rng, limit)
        cut = Conversation(whole.id, whole.source, turns, (summary,), whole.query, whole.people)
        cut = text.renamed(cut, rng)
        kept = supported(cut)
        query = cut.query if cut.source.startswith("qmsum_span") or rng.random() < 0.5 else ""
        return self.pair(text.rendered(cut.turns, query), kept, limit) if len(kept.split()) >= 6 else None

    def pair(self, source: str, target: str, limit: int) -> Example:
        """A source of at most `limit` tokens with its target; copied stretches aligned where they are unique."""
        ids = [2, *self.encode(source)[: limit - 2], 3]
        out = [2, *self.encode(target)[:126], 3]
        return Example(ids, out, [True] * len(out), align(ids, out))

    def _excerpt(
        self, conversation: Conversation, rng: random.Random, limit: int, *, anywhere: bool = True
    ) -> Conversation:
        """Consecutive turns of about `limit` tokens, from the start in two cases of three, or always."""
        turns = conversation.turns
        start = rng.randrange(max(1, len(turns) - 3)) if anywhere and rng.random() < 0.33 else 0
        kept: list[Turn] = []
        room = limit / 1.5
        for who, said in turns[start:]:
            parts = said.split()
            if room < 8:
                break
            kept.append((who, " ".join(parts[: int(room)])))
            room -= len(parts) + 3
        return Conversation(conversation.id, conversation.source, tuple(kept), people=conversation.people)

    def _relevant(self, conversation: Conversation, summary: str, rng: random.Random, limit: int) -> tuple[Turn, ...]:
        """The turns, in order, that the summary draws on most, and some others, in about `limit` tokens."""
        wanted = text.content(summary + " " + conversation.query)
        pieces: list[tuple[float, int, Turn]] = []
        for i, (who, said) in enumerate(conversation.turns):
            for part in _parts(said, 70):
                stems = text.content(part)
                if len(stems) >= 2:
                    score = len(stems & wanted) / (6 + len(stems)) + 0.08 * rng.random()
                    pieces.append((score, i * 1000 + len(pieces), (who, part)))
        pieces.sort(reverse=True)
        room, kept = limit / 1.45 - 12, []
        for piece in pieces:
            cost = len(piece[2][1].split()) + 3
            if cost <= room:
                kept.append(piece)
                room -= cost
        return tuple(turn for _, _, turn in sorted(kept, key=lambda k: k[1]))


def _parts(said: str, size: int) -> list[str]:
    """A turn cut at sentences into parts of at most about `size` words."""
    parts: list[str] = []
    for sentence in text.sentences(said):
        if parts and len(parts[-1].split()) + len(sentence.split()) <= size:
            parts[-1] += " " + sentence
        else:
            parts.append(" ".join(sentence.split()[:size]))
    return parts


def supported(conversation: Conversation, share: float = 0.7) -> str:
    """The sentences of its first summary whose content words the turns contain to at least `share`.

    A capitalised word inside a sentence, and any number, must occur without exception: a target that names
    what the source does not teaches invention.
    """
    source = " ".join(f"{who} {said}" for who, said in conversation.turns)
    there, plain = text.content(source), set(text.words(source))
    kept: list[str] = []
    for sentence in text.sentences(conversation.summaries[0]):
        stems = text.content(sentence)
        named = [w for t in sentence.split()[1:] if t[:1].isupper() or t[:1].isdigit() for w in text.words(t)]
        named = [w.removesuffix("'s") for w in named]
        if len(stems) >= 2 and len(stems & there) / len(stems) >= share and all(w in plain for w in named):
            kept.append(sentence)
    return " ".join(kept)


def align(source: list[int], target: list[int]) -> list[int]:
    """For each target token its place in the source, where it and the token before it occur there just once."""
    places: dict[tuple[int, int], list[int]] = {}
    for j in range(1, len(source)):
        places.setdefault((source[j - 1], source[j]), []).append(j)
    aligned = [-1] * len(target)
    for t in range(1, len(target)):
        found = places.get((target[t - 1], target[t]), [])
        if len(found) == 1:
            aligned[t] = found[0]
        elif found and aligned[t - 1] + 1 in found:
            aligned[t] = aligned[t - 1] + 1
    return aligned
