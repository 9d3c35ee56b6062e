"""Near-duplicates: which conversations are nearly the same text, so that they fall on the same side of the split.

Two dialogues resemble each other when the Jaccard similarity of their word 5-shingles (Broder, 1997; lower-cased, the
speakers' names left out) reaches :data:`THRESHOLD`. Candidates are found by the bands of a MinHash signature (24 bands
of 3 rows; Leskovec, Rajaraman and Ullman, *Mining of Massive Datasets*, ch. 3) and then compared exactly. A pair of
similarity 0.5 is found in 96 of 100 cases, of 0.6 in 99.7, of 0.7 in 99.995, of 0.8 in all but one of 30 million. An
edit of every tenth word leaves about 0.4, of every fifteenth 0.55. What two chat conversations share a message of is
the same however long they are: overlapping stretches of a channel.

The permutations are ours and never change, because the bands are stored. It knows no database; :class:`Known` is what
it asks.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy

#: Jaccard similarity from which on two dialogues count as near-duplicates.
THRESHOLD = 0.5
#: Words in a shingle.
SHINGLE = 5
BANDS, ROWS = 24, 3
#: Conversations that share a band and are compared before they are taken to resemble the newcomer unseen: where more
#: share one, none of them may end up on the other side, and a file of one repeated text must not take days.
LOOKED_AT = 64
#: Shingles hashed at once, so that a dialogue of a megabyte takes little memory.
_BLOCK = 4096
#: A name in front of a line is no longer than this.
_NAME = 60

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_WORD = re.compile(r"\w+")
_WORD_OR_SIGN = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+")

Side = Literal["train", "heldout"]


@dataclass(frozen=True)
class Likeness:
    """What a dialogue is compared by.

    Attributes:
        words: what was said, see :func:`words_of`.
        bands: of the signature of its shingles, 16 hexadecimal digits each.
        messages: the chat messages that it holds, see :func:`mark`.
    """

    words: Sequence[str]
    bands: tuple[str, ...]
    messages: tuple[str, ...] = ()

    @cached_property
    def shingles(self) -> frozenset[str]:
        """The shingles of the words; few dialogues are ever asked for theirs."""
        return _shingles(self.words)

    def keys(self, side: Side) -> list[str]:
        """What :class:`storage.learning_tables.NearKeyRow` keeps of it on a side."""
        return [*self.band_keys(side), *self.message_keys(side)]

    def band_keys(self, side: Side) -> list[str]:
        """The bands, on a side."""
        return [f"{side[0]}b{band}" for band in self.bands]

    def message_keys(self, side: Side) -> list[str]:
        """The messages, on a side."""
        return [f"{side[0]}m{message}" for message in self.messages]


class Known(Protocol):
    """The conversations that have a side, as far as near-duplicates need them."""

    def sharing(self, keys: Sequence[str], *, but: str, most: int) -> Sequence[str]:
        """Conversations that have one of the keys, ``most`` at the most, without one of them."""
        ...

    def dialogues(self, conversation_key: str) -> Iterable[str]:
        """The dialogues of a conversation's pairs that are on its side."""
        ...


def likeness(dialogue: str, messages: Sequence[str] = ()) -> Likeness:
    """What a dialogue is compared by; ``messages`` are marks of chat messages."""
    words = words_of(dialogue)
    return Likeness(words, _bands(words), tuple(dict.fromkeys(messages)))


def mark(platform: str, workspace: str, channel: str, message_id: str) -> str:
    """A chat message's mark: 16 hexadecimal digits. Slack's ids are those of a channel, Discord's are unique."""
    place = (platform, workspace, channel) if platform != "discord" else (platform,)
    return _digest("\x00".join((*place, message_id)).encode("utf-8", "replace"))


def resembles(known: Known, side: Side, found: Likeness, *, key: str) -> bool:
    """Whether any conversation on a side shares a message with this one or is nearly the same text.

    Args:
        key: the conversation's own, which is not compared with itself.
    """
    if found.messages and known.sharing(found.message_keys(side), but=key, most=1):
        return True
    if not found.bands:
        return False
    candidates = known.sharing(found.band_keys(side), but=key, most=LOOKED_AT + 1)
    for candidate in candidates[:LOOKED_AT]:
        if any(similar(found.shingles, shingles_of(dialogue)) for dialogue in known.dialogues(candidate)):
            return True
    return len(candidates) > LOOKED_AT


def similar(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two sets of shingles are those of near-duplicates."""
    return jaccard(one, other) >= THRESHOLD


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared members among all members of two sets, 0 to 1; 0 where both are empty."""
    if not one or not other:
        return 0.0
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def shingles_of(dialogue: str) -> frozenset[str]:
    """The word 5-shingles of a dialogue; of a shorter one, all its words as one."""
    return _shingles(words_of(dialogue))


def words_of(dialogue: str) -> list[str]:
    """The words that were said, lower-cased; of scripts that put no space between words, their signs.

    Where nobody says a word (a row of emoji), what stands there between spaces.
    """
    said = "\n".join(map(_said, dialogue.split("\n"))).casefold()
    pattern = _WORD_OR_SIGN if _HAS_UNSPACED.search(said) else _WORD
    return pattern.findall(said) or said.split()


def _said(line: str) -> str:
    name, colon, said = line.partition(":")
    return said if colon and len(name) <= _NAME else line


def _shingles(words: Sequence[str]) -> frozenset[str]:
    if not words:
        return frozenset()
    last = max(1, len(words) - SHINGLE + 1)
    return frozenset(" ".join(words[at : at + SHINGLE]) for at in range(last))


def _bands(words: Sequence[str]) -> tuple[str, ...]:
    """The bands of the MinHash signature of the words' shingles; none where there is no word."""
    if not words:
        return ()
    import numpy

    factors, terms, mixers = _permutations()
    hashed = numpy.fromiter(map(_hashed, words), numpy.uint64, len(words))
    if len(words) < SHINGLE:
        hashed = numpy.pad(hashed, (0, SHINGLE - len(words)))
    count = len(hashed) - SHINGLE + 1
    with numpy.errstate(over="ignore"):
        shingles = numpy.zeros(count, numpy.uint64)
        for at in range(SHINGLE):
            shingles = (shingles ^ hashed[at : at + count]) * mixers[at]
            shingles ^= shingles >> numpy.uint64(29)
        lowest = numpy.full(BANDS * ROWS, numpy.iinfo(numpy.uint64).max, numpy.uint64)
        for at in range(0, count, _BLOCK):
            block = shingles[at : at + _BLOCK, None] * factors + terms
            block ^= block >> numpy.uint64(32)
            numpy.minimum(lowest, block.min(axis=0), out=lowest)
    rows = lowest.astype("<u8").reshape(BANDS, ROWS)
    return tuple(_digest(bytes((band,)) + row.tobytes()) for band, row in enumerate(rows))


@lru_cache(maxsize=2**16)
def _hashed(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "replace"))


@cache
def _permutations() -> tuple[numpy.ndarray[Any, Any], numpy.ndarray[Any, Any], list[numpy.uint64]]:
    """Factors (odd) and terms of the hash functions, and the mixers of a shingle's words; the same for ever."""
    import numpy

    numbers = [
        int.from_bytes(hashlib.sha256(b"redraft near-duplicates %d" % at).digest()[:8], "little")
        for at in range(2 * BANDS * ROWS + SHINGLE)
    ]
    of_64 = numpy.array(numbers, numpy.uint64)
    factors = of_64[: BANDS * ROWS] | numpy.uint64(1)
    return factors, of_64[BANDS * ROWS : 2 * BANDS * ROWS], [n | numpy.uint64(1) for n in of_64[2 * BANDS * ROWS :]]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
