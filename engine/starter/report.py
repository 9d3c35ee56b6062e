"""Pseudo-summaries: the sentences of a conversation that best cover it, told in the third person.

Gap sentences (PEGASUS, Zhang et al. 2020) chosen by overlap with the rest of the conversation, but left in the
source, since the starter is to learn to pick and copy; and told as reports ("Maya asks if anyone can ...") so
that the target reads like a summary although each of its words but a few comes from the source. Pure text.
"""

from __future__ import annotations

import random
import re

from engine.starter.text import Conversation, Turn, content, sentences, words

# Words that open a message and carry nothing; those that could change its meaning only before a comma or stop.
_GREETING = re.compile(
    r"^(?:(?:hi|hello|hey|ok|okay|well|so|um|uh|oh|yeah|yes|yep|and|but|ah|hmm)\b[\s,.!:;-]*"
    r"|(?:no|right|alright|sure|great|cool|thanks|thank you|sorry|anyway|there|everyone|all|guys|folks|"
    r"good (?:morning|afternoon|evening))[,.!]+\s*)+",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(r"[\s.]+[\^/*~-]\s?[A-Z][A-Za-z]{1,2}$")
_COURTESY = re.compile(
    r"\b(?:thank|thanks|sorry|great day|have a|welcome|apologi[sz]e|happy to help|bye)\b", re.IGNORECASE
)
# Who is spoken to, a mail's subject in brackets, and addresses of the kind `name: ` that chats begin with.
_ADDRESS = re.compile(r"@\w+\s*|^(?:\[[^\]]{1,120}\]\s*|(?:[A-Z][\w'-]+ )?[^\s:,]{1,20}[:,] (?=(?:\S+ ){2}))|^>+\s*")
_PERSON: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), new)
    for pattern, new in (
        (r"\bI['’]?m\b", "they are"),
        (r"\bI am\b", "they are"),
        (r"\bI was\b", "they were"),
        (r"\bI['’]?ve\b", "they have"),
        (r"\bI['’]ll\b", "they will"),
        (r"\bI['’]d\b", "they would"),
        (r"\bI\b", "they"),
        (r"\bmyself\b", "themselves"),
        (r"\bmy\b", "their"),
        (r"\bmine\b", "theirs"),
        (r"\bme\b", "them"),
    )
)
_REPORTS = re.compile(r"(?<=\.) (?=\S+(?: \S+)? (?:also )?(?:says|asks)\b)")
_CLOSED = re.compile(
    r"^(can|could|would|will|should|is|are|was|were|has|have|do) "
    r"(anyone|anybody|someone|somebody|there|it|this|that|they|you|we|he|she) (.+)$",
    re.IGNORECASE,
)
_HOW = re.compile(r"^how (?:do|can|could|should|would|to) (?:they|you|we|one|i)? ?(.+)$", re.IGNORECASE)
_OPEN = re.compile(r"^(?:what|why|when|where|which|who|how)\b", re.IGNORECASE)
_SUBJECT = re.compile(r"^(?:they|the|it|this|there|we|he|she|a|an|their|these|those|you)\b", re.IGNORECASE)


def told(who: str, sentence: str, *, again: bool = False) -> str:
    """One sentence of a speaker as a report about the speaker, in the third person.

    again: whether the report before was of the same speaker.
    """
    said = _GREETING.sub("", _ADDRESS.sub("", _SIGNATURE.sub("", sentence))).strip()
    who = f"{who} also" if again else who
    for pattern, new in _PERSON:
        said = pattern.sub(new, said)
    asks = said.endswith("?")
    said = said.rstrip(" .!?;:,-")
    if not said:
        return ""
    if not said[:2].isupper():
        said = said[0].lower() + said[1:]
    if not asks:
        return f"{who} says {'that ' if _SUBJECT.match(said) else ''}{said}."
    closed = _CLOSED.match(said)
    if closed:
        verb, subject, rest = closed.groups()
        verb = "" if verb.lower() == "do" else verb + " "
        return f"{who} asks if {subject} {verb}{rest}."
    how = _HOW.match(said)
    if how:
        return f"{who} asks how to {how.group(1)}."
    if _OPEN.match(said):
        return f"{who} asks {said}."
    return f"{who} asks: {said}."


def pseudo_summary(
    conversation: Conversation, rng: random.Random, *, count: int, focus: str = ""
) -> tuple[str, list[int]]:
    """A report of the `count` best sentences, and the turns that they come from; empty where there are none.

    The first turn that says something opens the report, as it does in people's summaries of support and
    chat; the others are chosen greedily by overlap with the rest, less what has been said already.
    """
    pool: list[tuple[int, str, str, set[str]]] = []
    everything: dict[str, int] = {}
    for i, (who, said) in enumerate(conversation.turns):
        for sentence in sentences(said):
            stems = content(sentence)
            length = len(words(sentence))
            for stem in stems:
                everything[stem] = everything.get(stem, 0) + 1
            if 5 <= length <= 32 and len(stems) >= 3:
                pool.append((i, who, sentence, stems))
    if not pool:
        return "", []
    chosen: list[tuple[int, str, str, set[str]]] = []
    said_already: set[str] = set()
    wanted = content(focus)

    def worth(item: tuple[int, str, str, set[str]]) -> float:
        index, who, sentence, stems = item
        fresh = stems - said_already
        shared = sum(min(3, everything[s] - 1) for s in fresh)
        score = shared / (len(stems) + 3)
        if wanted:
            score += 3.0 * len(wanted & (stems | content(who)))
        elif not chosen and index <= 2:
            score += 2.0 - 0.8 * index
        if any(c[0] == index for c in chosen):
            score -= 0.3
        if _COURTESY.search(sentence):
            score -= 0.6
        # Commands, logs and signatures: copied well enough, but no sentence of a summary.
        if sum(c.isalpha() or c.isspace() for c in sentence) < 0.86 * len(sentence):
            score -= 0.5
        return score + 0.05 * rng.random()

    for _ in range(min(count, len(pool))):
        best = max((p for p in pool if p not in chosen), key=worth)
        chosen.append(best)
        said_already |= best[3]
    if not wanted:
        chosen.sort(key=lambda c: c[0])
    reports: list[str] = []
    before = ""
    for _, who, sentence, _ in chosen:
        reports.append(told(who, sentence, again=who == before))
        before = who
    return " ".join(r for r in reports if r), [c[0] for c in chosen]


def merged(parts: list[str], rng: random.Random, *, count: int) -> str:
    """The reports that cover the summaries of a conversation's parts best, as they stand and in their order.

    parts: what `pseudo_summary` wrote about consecutive parts. This is what serving asks where a conversation
    does not fit: the part summaries, a line each, to be made one summary.
    """
    pool = [(i, s, content(s)) for i, part in enumerate(parts) for s in _REPORTS.split(part)]
    everything: dict[str, int] = {}
    for _, _, stems in pool:
        for stem in stems:
            everything[stem] = everything.get(stem, 0) + 1
    best = [pool[0]]
    seen = set(pool[0][2])
    for _ in range(min(count, len(pool)) - 1):
        rest = [p for p in pool if p not in best]
        if not rest:
            break
        taken = {i for i, _, _ in best}
        best.append(
            max(
                rest,
                key=lambda p: (
                    sum(min(3, everything[s] - 1) for s in p[2] - seen) / (len(p[2]) + 3)
                    + (0.6 if p[0] not in taken else 0.0)
                    + 0.05 * rng.random()
                ),
            )
        )
        seen |= best[-1][2]
    return " ".join(text for _, text, _ in sorted(best, key=pool.index))


def focus_words(turns: list[Turn] | tuple[Turn, ...], rng: random.Random) -> str:
    """Two or three neighbouring content words of one turn, as somebody would ask about them."""
    sayings = [said for _, said in turns if len(content(said)) >= 4]
    if not sayings:
        return ""
    tokens = [w for w in words(rng.choice(sayings)) if content(w)]
    start = rng.randrange(max(1, len(tokens) - 2))
    return " ".join(tokens[start : start + rng.choice((2, 2, 3))])


def asked(focus: str, rng: random.Random) -> str:
    """A focus as it stands, or as the question that somebody would ask about it."""
    forms = ("{}", "{}", "{}", "What was said about {}?", "Summarize the discussion about {}.")
    return rng.choice(forms).format(focus)
