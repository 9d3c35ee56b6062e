"""Focus for models that follow no instruction: the messages about a topic, picked by code.

Messages are ranked against the topic by BM25 over stems (Robertson et al., 1994; k1 1.2, b 0.75); those about it come
with their close surroundings in the same thread, since an answer rarely repeats the words of its question. Knows
nothing of models and prompts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from engine.conversation import Message
from engine.text.words import content_stems, fold, stem, unique, words
from storage.errors import InputError

_K1, _B = 1.2, 0.75
#: A message is about the topic when its score reaches this share of the best one's.
_SHARE = 0.35
#: Messages of the same thread kept after (answers) and before (the question) one that is about the topic.
_AFTER, _BEFORE = 2, 1


def query_stems(focus: str) -> list[str]:
    """The stems a focus is matched by; all its words where none says much (`the who`)."""
    return unique(content_stems(focus)) or unique(stem(fold(word)) for word in words(focus))


def select(messages: Sequence[Message], focus: str) -> list[int]:
    """Indices of the messages about a topic and of their surroundings, in order.

    Raises:
        InputError: no message is about it.
    """
    wanted = query_stems(focus)
    scores = _scores(messages, wanted, fold(focus))
    best = max(scores, default=0.0)
    if best <= 0:
        raise InputError(f"Nothing in the conversation is about “{focus}”.", "Try other words, or leave the focus out.")
    hits = [at for at, score in enumerate(scores) if score >= best * _SHARE]
    kept = set(hits)
    about = set(hits)
    for at in hits:
        kept.update(_around(messages, at, scores, about))
    return sorted(kept)


def _scores(messages: Sequence[Message], wanted: list[str], phrase: str) -> list[float]:
    counts: list[Counter[str]] = []
    lengths: list[int] = []
    wanted_set = frozenset(wanted)
    for message in messages:
        stems = content_stems(message.text)
        counts.append(Counter(s for s in stems if s in wanted_set))
        lengths.append(len(stems))
    average = sum(lengths) / max(1, len(lengths)) or 1.0
    containing = Counter(s for count in counts for s in count)
    rarity = {s: math.log(1 + (len(messages) - n + 0.5) / (n + 0.5)) for s, n in containing.items()}
    scores = []
    for message, count, length in zip(messages, counts, lengths, strict=True):
        score = 0.0
        for s, n in count.items():
            score += rarity[s] * n * (_K1 + 1) / (n + _K1 * (1 - _B + _B * length / average))
        # Words that the stemmer does not know as such (of another script, part of a longer word) count as written.
        if not score and phrase and phrase in fold(message.text):
            score = 1.0
        scores.append(score)
    return scores


def _around(messages: Sequence[Message], at: int, scores: list[float], about: set[int]) -> list[int]:
    """Neighbours of a message in its thread: up to the next message that is about the topic by itself."""
    thread = messages[at].thread or messages[at].id
    near = []
    for step, most in ((1, _AFTER), (-1, _BEFORE)):
        neighbour, found = at + step, 0
        while 0 <= neighbour < len(messages) and found < most and abs(neighbour - at) <= 50:
            other = messages[neighbour]
            if neighbour in about:
                break
            if (other.thread or other.id) == thread or (not other.thread and not messages[at].thread):
                near.append(neighbour)
                found += 1
            neighbour += step
    return near
