"""Numbers, names and polarity of a sentence, as support compares them.

Numbers are normalised (`1,000` is `1000`, `three` is `3`, `50%` is `50`) so that two ways to write one are equal. A
name is a capitalised word that is not merely the start of its sentence. Knows nothing of messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.text.words import fold, listed, stem

_COUNTED = "zero one two three four five six seven eight nine ten eleven twelve"
_NUMBER_WORDS = {word: str(value) for value, word in enumerate(_COUNTED.split())}
_NUMBER = re.compile(r"(?<![\w.])[$€£#]?(\d+(?:[.,:]\d+)*)(?:(k|m|bn)(?!\w))?(?!\d)", re.IGNORECASE)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?\Z")
_WORD = re.compile(r"[^\W\d_][\w’'\-]*")
_CAPITALISED = re.compile(r"(?<![\w@#/.\-])[^\W\d_][\w’'\-]*(?:\.\w+)*")
_SENTENCE_START = re.compile(r"(?:\A|[.!?:\n]\s+|[-*•]\s+|\A\d+[.)]\s+)[\"'“‘(\[]*\Z")

#: Verbs that people do; a capitalised word in front of one at the start of a sentence is taken for a name.
_PERSONAL = listed(
    "asked asks said says agreed agrees suggested suggests proposed proposes offered offers promised "
    "promises will wants wanted thinks thought reported reports complained complains confirmed confirms "
    "explained explains told tells volunteered volunteers apologised apologized thanked thanks replied "
    "replies answered answers prefers preferred recommended recommends decided decides refused refuses "
    "insisted insists hopes hoped noticed notices found and"
)
#: Capitalised words that are no names, wherever they stand.
_NO_NAMES = listed("i i'm i'll i've i'd ok okay no actions")
#: Words for people in a conversation that summaries use and the conversation need not.
ROLES = listed(
    "customer agent user support team manager client developer engineer speaker participant caller "
    "everyone customers agents users participants colleagues colleague someone nobody staff company "
    "representative rep operator"
)

_GRAMMAR = listed(
    "a an the to of in on at by for with from it its this that these those he she they we you i him her "
    "them us me my your his their our be is are was were been being am do does did has have had will "
    "would shall should can could may might must if as and or so too very any anything anyone at all yet "
    "still really just only even more much"
)

#: Words that deny what follows them.
NEGATIONS = listed(
    "not no never nobody none nothing neither nor cannot without can't cant won't wont don't dont doesn't "
    "didn't isn't aren't wasn't weren't hasn't haven't hadn't couldn't shouldn't wouldn't ain't unable "
    "n't nope nah"
)


def numbers(text: str) -> Iterator[tuple[str, str]]:
    """The numbers of a text, as written and normalised, but for `one`, a pronoun more often than a number."""
    for match in _NUMBER.finditer(text):
        yield match.group(), normalised(match.group(1), match.group(2) or "")
    for match in _WORD.finditer(text):
        value = _NUMBER_WORDS.get(match.group().casefold())
        if value is not None and value != "1":
            yield match.group(), value


def normalised(digits: str, scale: str = "") -> str:
    """One number without grouping commas, trailing zeros and scale letters; versions and times stay as they are."""
    plain = digits.replace(",", "") if _GROUPED.match(digits) else digits
    if ":" in plain:
        return plain.removesuffix(":00").lstrip("0") or "0"
    if not re.fullmatch(r"\d+(?:\.\d+)?", plain) or len(plain) > 15:
        return plain
    factor = {"k": 1_000, "m": 1_000_000, "bn": 1_000_000_000}.get(scale.casefold(), 1)
    value = float(plain) * factor
    return str(int(value)) if value == int(value) else f"{value:.6f}".rstrip("0")


def number_keys(text: str) -> frozenset[str]:
    """All normalised numbers that a text can be said to contain: also the parts of times, dates and ranges."""
    keys = set()
    for written, value in numbers(text):
        keys.add(value)
        if re.search(r"[km]\Z|bn\Z", written, re.IGNORECASE):
            keys.add(normalised(re.sub(r"[^\d.,:]", "", written).strip(".,:")))
        for piece in re.split(r"[:,]", written.strip("$€£#")):
            if piece.isdigit():
                keys.add(normalised(piece))
    if re.search(r"(?<!\w)one(?!\w)", text, re.IGNORECASE):
        keys.add("1")
    # 3rd, 5pm, v2, Q3, 20-30, 3x: digits inside words and ranges.
    for digits in re.findall(r"\d+(?:\.\d+)*", text):
        keys.add(normalised(digits))
    for hour, meridiem in re.findall(r"\b(\d{1,2})(?::\d\d)?\s?([ap])\.?m\b", text, re.IGNORECASE):
        keys.add(str(int(hour) % 12 + (12 if meridiem in "pP" else 0)))
    return frozenset(keys)


def names(sentence: str) -> list[str]:
    """Capitalised words (and words of mixed case) of one sentence that are names as far as their form can tell."""
    found = []
    for match in _CAPITALISED.finditer(sentence):
        word = re.sub(r"['’]s\Z|['’]\Z", "", match.group())
        if not any(c.isupper() for c in word) or fold(word).replace("’", "'") in _NO_NAMES:
            continue
        if _SENTENCE_START.search(sentence[: match.start()]):
            following = _WORD.search(sentence, match.end())
            personal = following is not None and following.group().casefold() in _PERSONAL
            possessive = match.group() != word
            inner = any(c.isupper() for c in word[1:]) and len(word) > 1
            if fold(word) in ROLES or not (personal or possessive or inner):
                continue
        found.append(word)
    return found


def denied(clause: str) -> frozenset[str]:
    """Stems of the words that a negation in the clause reaches: the three after it that are more than grammar."""
    reached: set[str] = set()
    left = 0
    for match in _WORD.finditer(clause):
        word = fold(match.group()).replace("’", "'")
        if word in NEGATIONS or word.endswith("n't"):
            left = 3
        elif left and word not in _GRAMMAR:
            reached.add(stem(word))
            left -= 1
    return frozenset(reached)
