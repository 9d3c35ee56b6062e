"""Conversations as the starter's training sees them: read, cleaned, renamed, cut into sentences.

Knows nothing of tokens or tensors. A conversation here is a list of (name, text) turns.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

Turn = tuple[str, str]


def _words_of(listed: str) -> list[str]:
    return listed.split()


FIRST_NAMES = _words_of("""
Aaron Abigail Adam Aisha Alan Alba Alexei Alice Amara Amir Ana Andre Anika Anton Aria Arjun Asha  Astrid
Ava Beatriz Ben Bianca Bilal Bo Bruno Camila Carl Carmen Cecilia Chen Chiara Chloe Clara Cody  Daan
Dalia Dan Dana Daria David Deepa Diego Dina Dmitri Donna Ebba Eda Edwin Eleni Elif Elin Elsa  Emeka Emil
Emma Enzo Erik Esther Eva Farah Fatima Felix Fiona Frank Freya Gabriel Gemma George Gita  Grace Greta
Gus Hana Hannah Haruki Hassan Hector Heidi Helen Henry Hugo Ian Ibrahim Ida Igor Ines  Ingrid Irene
Isaac Isla Ivan Jack Jade Jamal James Jan Jasmine Javier Jenny Jin Joan Joe Jonas Joy  Juan Judith Julia
June Kai Karen Karim Kate Keiko Ken Kiran Klaus Kofi Lars Laura Layla Lea Lena Leo  Li Lila Lin Linda
Lisa Liv Louis Lucas Lucia Luna Mads Maja Malik Marco Maria Mark Marta Mary Mateo  Max Maya Mei Mia
Miguel Mila Mina Ming Mira Mona Nadia Naomi Nasir Nathan Neha Nia Nick Nikola Nina  Noah Noor Nora
Oksana Olga Oliver Omar Oscar Otto Owen Pablo Paula Pedro Petra Philip Pia Priya  Quinn Rafael Rahul
Rana Ravi Rebecca Ren Rita Robert Rosa Ruth Ryan Sadia Sam Samir Sana Sara Sasha  Sean Selma Sergei
Simon Sofia Sonia Stella Sunil Susan Sven Tara Tariq Thea Theo Thomas Tina Tom  Tomas Uma Ursula Vera
Victor Viktor Vivian Wanda Wei Will Yara Yasmin Yuki Yusuf Zara Zoe Zofia
""")
LAST_NAMES = _words_of("""
Adler Bauer Berg Blake Brandt Carter Castillo Costa Cruz Dahl Diaz Dubois Evans Ferrari Fischer Fox
Garcia Gupta Haas Hall Hansen Haddad Hill Ito Jansen Jensen Kaur Keller Khan Kim Klein Kowalski  Kumar
Lang Larsen Lee Lopez Malik Marin Mehta Meyer Mori Moreau Nakamura Novak Okafor Olsen Ortiz  Park Patel
Perez Petrov Popov Ramos Reyes Rossi Roy Sato Shah Silva Singh Smith Sokolov Stone Suzuki  Tanaka Torres
Vargas Wagner Walker Wang Weber Wolf Wong Wood Young Zhang
""")
ROLES = _words_of("Customer Agent User Support Caller Manager Engineer Designer Analyst Client Teacher Student")

_MARKUP = re.compile(r"\{[^}]*\}|\([a-z ]*(?:laughs?|laughing|cheers|gasps)[a-z ]*\)")
_RULES = re.compile(r"[=\-_*+|#~]{4,}")
_LINK = re.compile(r"https?://\S+|www\.\S+")
_SPACE_BEFORE = re.compile(r"\s+([,.;:!?%)]|n't\b|'(?:s|m|re|ve|ll|d|t)\b)")
_SPLIT = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(A-Z0-9])")
_WORD = re.compile(r"[a-z0-9][a-z0-9'\-]*")

STOP = frozenset(
    _words_of("""
a about above after again all also am an and any are as at be because been before being but by can
could did do does doing don't down for from further get go going got had has have having he her here
hers him his how i i'm if in into is it it's its just know like me more most my myself no nor not  now
of off on once one only or other our ours out over own really same say said says see she should  so some
such than that that's the their them then there these they thing things think this those  through to too
under until up us very want was we well were what when where which while who whom why  will with would
yeah yes you your yours okay ok um uh
""")
)


@dataclass(frozen=True)
class Conversation:
    """Turns in order, with human summaries and the question that they answer where there are any."""

    id: str
    source: str
    turns: tuple[Turn, ...]
    summaries: tuple[str, ...] = ()
    query: str = ""
    people: tuple[str, ...] = field(default=())


def rows(data: Path, name: str) -> Iterator[dict[str, Any]]:
    """The rows of one data file."""
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def clean(text: str) -> str:
    """Without transcribers' marks and ruled lines; spaces before punctuation closed; links shortened."""
    text = _RULES.sub(" ", _MARKUP.sub(" ", text))
    text = _LINK.sub(lambda m: m.group(0) if len(m.group(0)) <= 40 else "", text)
    return re.sub(r"\s+", " ", _SPACE_BEFORE.sub(r"\1", text)).strip()


def read(data: Path, name: str, longest: int = 0) -> list[Conversation]:
    """All conversations of one data file, cleaned; with `longest`, those of at most so many characters."""
    found: list[Conversation] = []
    for row in rows(data, name):
        if longest and len(row["dialogue"]) > longest:
            continue
        turns: list[Turn] = []
        for line in row.get("dialogue", "").split("\n"):
            who, colon, said = line.partition(": ")
            if colon and len(who) <= 60 and clean(said):
                turns.append((who.strip(), clean(said)))
            elif turns and clean(line):
                turns[-1] = (turns[-1][0], turns[-1][1] + " " + clean(line))
        if not turns:
            continue
        summaries = row.get("summaries") or ([row["summary"]] if row.get("summary") else [])
        found.append(
            Conversation(
                id=str(row["id"]),
                source=name,
                turns=tuple(turns),
                summaries=tuple(clean(s) for s in summaries),
                query=clean(row.get("query") or ""),
                people=tuple(dict.fromkeys(who for who, _ in turns)),
            )
        )
    return found


def paragraphs(data: Path) -> list[str]:
    """The paragraphs of the prose file, cleaned."""
    return [clean(p) for row in rows(data, "prose") for p in row["text"].split("\n") if len(p.split()) >= 4]


def words(text: str) -> list[str]:
    """Lower-case words."""
    return _WORD.findall(text.lower())


def content(text: str) -> set[str]:
    """Stems of the content words, as a set; the stemmer is a plain cut, enough for choosing sentences."""
    return {_cut(w) for w in words(text) if w not in STOP and len(w) > 1}


@lru_cache(maxsize=200_000)
def _cut(word: str) -> str:
    for ending in ("'s", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def sentences(text: str) -> list[str]:
    """Sentences of one text, by punctuation followed by a capital letter or digit."""
    return [s.strip() for s in _SPLIT.split(text) if s.strip()]


def new_name(rng: random.Random) -> str:
    """A speaker's name as chats have them: first names mostly, full names, handles, a few roles."""
    kind = rng.random()
    first = rng.choice(FIRST_NAMES)
    if kind < 0.55:
        return first
    if kind < 0.75:
        return f"{first} {rng.choice(LAST_NAMES)}"
    if kind < 0.92:
        surname = "_" + rng.choice(LAST_NAMES).lower()
        tail = rng.choice(["", surname, str(rng.randint(1, 99)), rng.choice("abcdefgkmtz")])
        return first.lower() + tail
    return rng.choice(ROLES)


def renamed(conversation: Conversation, rng: random.Random) -> Conversation:
    """The same conversation among people of other names, consistently in turns, summaries and query."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for old in conversation.people:
        new = new_name(rng)
        while new.lower() in taken:
            new = new_name(rng)
        taken.add(new.lower())
        names[old] = new
    patterns: dict[str, str] = {}
    for old, new in names.items():
        patterns[old.lower()] = new
        first = old.split()[0]
        # A first name or surname alone stands for the person; a role's first word ("Project") does not.
        if len(old.split()) == 2 and len(first) > 2 and conversation.source.startswith("convosumm"):
            patterns.setdefault(first.lower(), new.split()[0])
            patterns.setdefault(old.split()[1].lower(), new.split()[-1])
    keys = sorted((k for k in patterns if len(k) > 1 and k not in STOP), key=len, reverse=True)
    if not keys:
        return conversation
    finder = re.compile(r"\b(?:the )?(" + "|".join(map(re.escape, keys)) + r")(?!\w)", re.IGNORECASE)

    def swap(text: str) -> str:
        return finder.sub(lambda m: patterns[m.group(1).lower()], text)

    return Conversation(
        id=conversation.id,
        source=conversation.source,
        turns=tuple((names[who], swap(said)) for who, said in conversation.turns),
        summaries=tuple(swap(s) for s in conversation.summaries),
        query=swap(conversation.query),
        people=tuple(names[p] for p in conversation.people),
    )


def addressed(conversation: Conversation, rng: random.Random) -> Conversation:
    """The same conversation as other platforms write it: turns that begin with a mention, curly apostrophes."""
    curly = rng.random() < 0.3
    mentions = rng.random() < 0.35
    handles = {p: rng.choice((p.replace(" ", ""), str(rng.randint(10_000, 999_999)))) for p in conversation.people}
    turns: list[Turn] = []
    for who, said in conversation.turns:
        others = [p for p in conversation.people if p != who] or [who]
        if mentions and rng.random() < 0.75:
            said = f"@{handles[rng.choice(others)]} {said}"
        turns.append((who, said.replace("'", "’") if curly else said))
    return replace(conversation, turns=tuple(turns))


def rendered(turns: tuple[Turn, ...] | list[Turn], query: str = "") -> str:
    """The model's input: `Name: text` lines, under a line `Focus: query` if there is one."""
    lines = [f"{who}: {said}" for who, said in turns]
    return "\n".join([f"Focus: {query}", *lines] if query else lines)
