"""Which messages a summary's sentence rests on, and whether any do; decided by code, not by the model.

A sentence's content words (stemmed, weighed by how rare they are in the conversation), its numbers and its names are
looked for in the messages; the fewest messages that cover most of it are its sources. It counts as unsupported when too
little of it is covered, when a number in it is written nowhere near its sources, when the person it says spoke or acted
is not the one who did, or when it negates what the sources affirm or the other way round. How often this is right is
measured by `benchmarks/support.py` on sentences labelled by hand. It compares words, not meanings: what it calls
supported may still be wrong.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from engine.conversation import Message
from engine.requests import SummarySentence
from engine.text.facts import ROLES, denied, names, number_keys, numbers
from engine.text.lexicon import alike, opposite
from engine.text.words import content_stems, fold, is_content, listed, stem, unique, words

#: Share of a sentence's weight that its sources must cover; tuned on the development sentences.
_COVERED = 0.45
#: Weight of a word that the conversation does not have, as a share of that of one said once.
_UNSEEN = 0.6
#: Weight of a match through a word that means nearly the same.
_ALIKE = 0.8
#: A further message is a source when it adds at least this share of the sentence's weight.
_GAIN = 0.14
_MOST_SOURCES = 4
#: Messages looked at for one word; a commoner word tells little.
_MOST_POSTINGS = 400
#: Messages compared word by word when they cover about the same.
_MOST_COMPARED = 20
#: Characters of a message that are read for it.
_MOST_READ = 5_000

_SENTENCE = re.compile(r"[^.!?\n…。！？؟]+[.!?…。！？؟]*")
_CLAUSE = re.compile(r"[;:,]\s+|\s+[-–—]\s+|\b(?:but|although|however|though|so|because|since|until|unless|if)\b")
_ASSENT = re.compile(
    r"\W*(?:yes|yep|yeah|yup|sure|ok|okay|will do|on it|agreed|done|deal|works for me|sounds good|fine|got it|"
    r"of course|no problem|i'll|i will|i can|\+1|👍|perfect|great|absolutely|definitely|no|nope|happy to|can do|"
    r"me too|same here|right)",
    re.IGNORECASE,
)
_YOU = re.compile(r"\b(?:you|your|yours|yourself|u)\b", re.IGNORECASE)
_NOT_SUBJECT = listed(
    "to with for from of asked told thanked asks tells thanks helps helped let lets at about on against "
    "remind reminded between as after before like than inform informed"
)


@dataclass(frozen=True, slots=True)
class _Term:
    """One thing to look for: a stem or `#number`, with its weight and the messages that have it (1.0 or less each)."""

    key: str
    weight: float
    at: dict[int, float]


class SupportIndex:
    """The messages of one conversation, indexed once; :meth:`judge` is then cheap for any number of sentences.

    Args:
        messages: those that the summary was made from, in order.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._postings: dict[str, list[int]] = defaultdict(list)
        self._known: set[str] = set()
        self._authors: dict[str, set[str]] = defaultdict(set)
        for at, message in enumerate(messages):
            keys = set(content_stems(message.text))
            keys.update(f"#{value}" for value in number_keys(message.text))
            for key in keys:
                self._postings[key].append(at)
            folded = set(map(fold, words(message.text)))
            self._known.update(folded)
            for name in words(message.author):
                self._authors[fold(name)].add(message.author)
        self._known.update(self._authors)
        self._known_stems = {stem(word) for word in self._known}

    def judge(self, sentence: str) -> SummarySentence:
        """The sentence with its sources (ids, strongest first), whether they support it, and what to flag in it."""
        flagged = tuple(fact for fact, known in self.facts(sentence).items() if not known)
        terms = self._terms(sentence)
        mentioned = self._mentioned(sentence)
        chosen, covered = self._sources(terms, mentioned, {stem(fold(word)) for word in words(sentence)})
        total = sum(term.weight for term in terms)
        supported = bool(chosen) and (not total or covered / total >= _COVERED)
        supported = supported and not self._wrong_number(chosen, terms)
        supported = supported and not self._wrong_speaker(sentence)
        supported = supported and not self._contradicts(sentence, chosen, terms)
        supported = supported and not any(name in flagged for name in names(sentence))
        ids = tuple(self._messages[at].id for at in chosen) if supported else ()
        return SummarySentence(sentence, ids, supported, flagged)

    def facts(self, sentence: str) -> dict[str, bool]:
        """The numbers and names of a sentence as written, and whether the conversation has each."""
        found = {written: f"#{value}" in self._postings for written, value in numbers(sentence)}
        for name in names(sentence):
            pieces = [fold(piece) for piece in words(name)]
            known = all(piece in self._known or stem(piece) in self._known_stems for piece in pieces)
            found[name] = known and found.get(name, True)
        return found

    def adds(self, sentence: str, before: str) -> bool:
        """Whether a sentence says anything of the conversation that the one before it does not."""
        earlier = set(map(fold, words(before)))
        return any(
            word not in earlier and (word in self._known or any(c.isdigit() for c in word)) and is_content(word)
            for word in map(fold, words(sentence))
        )

    # What a sentence says ------------------------------------------------------------------------------------------

    def _terms(self, text: str) -> list[_Term]:
        terms = []
        keys = unique(s for s in content_stems(text) if s not in self._authors and s not in ROLES)
        keys = [key for key in keys if not key.isdigit()]
        keys += unique(f"#{value}" for _, value in numbers(text))
        for key in keys:
            postings = self._postings.get(key, [])
            at = dict.fromkeys(postings[:_MOST_POSTINGS], 1.0)
            for other in alike().get(key, ()):
                for message in self._postings.get(other, [])[:_MOST_POSTINGS]:
                    at.setdefault(message, _ALIKE)
            once = self._rarity(1)
            terms.append(_Term(key, self._rarity(len(postings or at)) if at else _UNSEEN * once, at))
        return terms

    def _rarity(self, messages: int) -> float:
        return math.log(1 + (len(self._messages) + 1) / messages)

    def _mentioned(self, text: str) -> set[str]:
        """Authors whom a sentence names, by any part of their name."""
        return {author for word in words(text) for author in self._authors.get(_bare(word), ()) if word[:1].isupper()}

    # What it rests on ----------------------------------------------------------------------------------------------

    def _sources(self, terms: list[_Term], mentioned: set[str], said: set[str]) -> tuple[list[int], float]:
        """The messages that cover most, greedily, strongest first, and the weight that they cover together.

        Of those that cover about the same, the one that shares most words of any kind with what is `said` comes first.
        """
        left = {term.key: term for term in terms if term.at}
        total = sum(term.weight for term in terms)
        best_so_far: dict[str, float] = defaultdict(float)
        chosen: list[int] = []
        while left and len(chosen) < _MOST_SOURCES:
            gains: dict[int, float] = defaultdict(float)
            for term in left.values():
                for at, share in term.at.items():
                    gains[at] += term.weight * max(0.0, share - best_so_far[term.key])
            for at in gains:
                if self._messages[at].author in mentioned:
                    gains[at] *= 1.25
                if chosen and min(abs(at - other) for other in chosen) <= 3:
                    gains[at] *= 1.1
            most = max(gains.values())
            near = [at for at, gain in gains.items() if gain >= 0.95 * most][:_MOST_COMPARED]
            best = max(near, key=lambda at: (len(said & self._stems_of(at)), gains[at], -at))
            if best in chosen or gains[best] < max(_GAIN * total, 1e-9):
                break
            chosen.append(best)
            for term in left.values():
                best_so_far[term.key] = max(best_so_far[term.key], term.at.get(best, 0.0))
            left = {key: term for key, term in left.items() if best_so_far[key] < 1.0}
        return chosen, sum(term.weight * best_so_far[term.key] for term in terms)

    def _stems_of(self, at: int) -> set[str]:
        return {stem(fold(word)) for word in words(self._messages[at].text[:_MOST_READ])}

    # What speaks against it ----------------------------------------------------------------------------------------

    def _wrong_number(self, chosen: list[int], terms: list[_Term]) -> bool:
        """Whether a number stands in no source and next to none."""
        near = {other for at in chosen for other in (at - 1, at, at + 1)}
        return any(term.key.startswith("#") and not near.intersection(term.at) for term in terms)

    def _wrong_speaker(self, sentence: str) -> bool:
        """Whether somebody is said to have said or done what only others did."""
        for author, predicate in self._subjects(sentence):
            terms = self._terms(predicate)
            if sum(1 for term in terms if term.at) == 0:
                continue
            anyone = self._covered(terms, None)
            own = self._covered(terms, self._spoken_for(author))
            if own < 0.45 * anyone:
                return True
        return False

    def _subjects(self, sentence: str) -> list[tuple[str, str]]:
        """Authors whom the sentence has as subjects or agents, each with the words up to the next one."""
        found: list[tuple[int, int, str]] = []
        before = ""
        for match in re.finditer(r"[^\W_][\w’'\-]*", sentence):
            word = match.group()
            if word[:1].isupper() and (authors := self._authors.get(_bare(word))) and len(authors) == 1:
                possessive = word.endswith(("'s", "’s"))
                if before not in _NOT_SUBJECT and not possessive and before not in self._authors:
                    found.append((match.start(), match.end(), next(iter(authors))))
            before = _bare(word)
        subjects = []
        for index, (start, end, author) in enumerate(found):
            following = found[index + 1][0] if index + 1 < len(found) else len(sentence)
            between = sentence[end:following]
            if re.fullmatch(r"\s*(?:,|and|or|,\s*and)\s*", between):
                # `Ana and Ben agreed ...`: what follows the last of them holds for each.
                following = next((s for s, _, _ in found[index + 2 :]), len(sentence))
                between = sentence[found[index + 1][1] : following]
            elif sentence[:start].rstrip().casefold().endswith(" by"):
                between = sentence[found[index - 1][1] if index else 0 : start]
            subjects.append((author, between))
        return subjects

    def _spoken_for(self, author: str) -> set[int]:
        """Messages that can show what an author said, did or was asked: theirs, and those that name or address them."""
        own = {at for at, message in enumerate(self._messages) if message.author == author}
        keys = {fold(word) for word in words(author) if len(word) > 1}
        shown = set(own)
        for key in keys:
            shown.update(self._postings.get(stem(key), ()))
        for at in own:
            for back in (1, 2):
                other = at - back
                if other < 0 or self._messages[other].author == author:
                    break
                if _ASSENT.match(self._messages[at].text) or (back == 1 and _YOU.search(self._messages[other].text)):
                    shown.add(other)
        return shown

    @staticmethod
    def _covered(terms: list[_Term], among: set[int] | None) -> float:
        return sum(
            term.weight * max((share for at, share in term.at.items() if among is None or at in among), default=0.0)
            for term in terms
        )

    def _contradicts(self, sentence: str, chosen: list[int], terms: list[_Term]) -> bool:
        """Whether the closest clauses of the sources say the opposite, by a negation or a word of opposite meaning."""
        weights = {term.key: term.weight for term in terms}
        best, closest = 0.0, []
        denied_somewhere: set[str] = set()
        for at in chosen:
            for clause in _clauses(self._messages[at].text):
                denied_somewhere |= denied(clause)
                weight = sum(weights[key] for key in weights.keys() & set(content_stems(clause)))
                if weight > best:
                    best, closest = weight, [clause]
                elif weight and weight == best:
                    closest.append(clause)
        if not closest:
            return False
        said = {stem(fold(word)) for word in words(sentence)}
        written = {stem(fold(word)) for clause in closest for word in words(clause)}
        own = denied(sentence)
        others = set[str]().union(*map(denied, closest))
        flipped = bool(others & said - own) and all(map(denied, closest))
        flipped = flipped or bool(own & written and not denied_somewhere)
        flipped = flipped or any(denied(clause) & said - own for clause in self._answers(chosen))
        against = any(
            other in written and other not in said for word in said - written for other in opposite().get(word, ())
        )
        return flipped != against

    def _answers(self, chosen: list[int]) -> list[str]:
        """The clauses of the messages that follow a source which asks something."""
        asked = [at for at in chosen if self._messages[at].text.rstrip().endswith("?")]
        follow = [at + 1 for at in asked if at + 1 < len(self._messages)]
        return [clause for at in follow for clause in _clauses(self._messages[at].text)]


def _clauses(text: str) -> list[str]:
    """The clauses of a message that state something: no questions."""
    found: list[str] = []
    for sentence in _SENTENCE.findall(text):
        if not sentence.rstrip().endswith(("?", "？", "؟")):
            found.extend(clause for clause in _CLAUSE.split(sentence) if clause.strip())
    return found


def _bare(word: str) -> str:
    folded = fold(word).replace("’", "'")
    return folded.removesuffix("'s")
