"""Focus for models that follow no instruction: the messages about a topic, picked by code.

Messages are ranked against the topic by BM25 over stems (Robertson et al., 1994; k1 1.2, b 0.75); those about it come
with their close surroundings in the same thread, since an answer rarely repeats the words of its question. Knows
nothing of models and prompts.
"""

from __future__ import annotations

import math
import re
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

_QUESTION_MARKS = ("?", "？", "؟")
#: Words by which a message refers to the one before it, or takes it up.
_OPENS = re.compile(
    r"\W*(?:yes|yep|yeah|yup|no|nope|sure|ok|okay|agreed|approved|done|fine|right|true|exactly|great|perfect|thanks|"
    r"because|since|so|then|but|and|or|maybe|probably|let us|let's|it|that|this|they|he|she|same|me too|\+1|"
    r"will do|on it|sounds good|works for me|no problem|of course|got it)\b",
    re.IGNORECASE,
)
_REFERS = re.compile(_OPENS.pattern.replace(r"\W*", r"\A\W*", 1) + r"|\b(?:it|them|that|those|these)\b", re.IGNORECASE)


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
    about = set(hits)
    kept = set(hits)
    threads = _Threads(messages)
    for at in hits:
        kept.update(_around(messages, threads, at, about))
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


class _Threads:
    """Which message comes before and after another in its thread; messages outside of threads form one of their own."""

    def __init__(self, messages: Sequence[Message]) -> None:
        roots = {message.thread for message in messages if message.thread}
        members: dict[str, list[int]] = {}
        self._place: list[tuple[list[int], int]] = []
        for at, message in enumerate(messages):
            thread = members.setdefault(message.thread or (message.id if message.id in roots else ""), [])
            self._place.append((thread, len(thread)))
            thread.append(at)

    def neighbours(self, at: int, *, step: int, most: int) -> list[int]:
        """Up to `most` messages after (step 1) or before (step -1) the one at `at`, nearest first."""
        thread, place = self._place[at]
        found = thread[place + 1 : place + 1 + most] if step > 0 else thread[max(0, place - most) : place][::-1]
        return list(found)


def _asks(message: Message) -> bool:
    return message.text.rstrip().endswith(_QUESTION_MARKS)


def _follows(message: Message, asked: bool) -> bool:
    """Whether a message goes on with what was just said: it refers back or assents, or it answers a question."""
    return bool(_REFERS.search(message.text)) or (asked and not _asks(message))


def _around(messages: Sequence[Message], threads: _Threads, at: int, about: set[int]) -> list[int]:
    """What belongs to a message that is about the topic: what goes on from it, and the question that it answers."""
    near = []
    asked = _asks(messages[at])
    for neighbour in threads.neighbours(at, step=1, most=_AFTER):
        if neighbour in about or not _follows(messages[neighbour], asked):
            break
        near.append(neighbour)
        asked = _asks(messages[neighbour])
    for neighbour in threads.neighbours(at, step=-1, most=_BEFORE):
        referred = bool(_REFERS.search(messages[at].text))
        if neighbour not in about and referred and (_asks(messages[neighbour]) or _OPENS.match(messages[at].text)):
            near.append(neighbour)
    return near
