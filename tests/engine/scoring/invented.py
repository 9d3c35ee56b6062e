"""Invented support conversations with three people's summaries each, enough alike to have a house style."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from engine.scoring.measuring import Item


def _words(text: str) -> list[str]:
    return text.split()


def _phrases(text: str) -> list[str]:
    return [" ".join(phrase.split()) for phrase in text.split("|")]


_THINGS = _words(
    """
    router scanner kettle printer tram ticket invoice parcel voucher headset mattress thermostat bicycle camera
    projector subscription password keyboard freezer charger locker playlist permit passport luggage refund recipe
    shuttle umbrella lantern monitor tablet toaster tent violin drone blender suitcase compass telescope
    """
)
_TROUBLES = _phrases(
    """
    keeps rebooting|leaks water|arrived broken|never arrived|shows a blue screen|was charged twice|smells of smoke|
    refuses every card|plays the wrong track|freezes at startup|lost its warranty|has a cracked hinge|
    makes a grinding noise|expired too early|rejects the signature|drains the battery|overheats at night|
    prints blank pages|sends duplicate messages|disconnects during calls|blinks orange|misses two screws|
    opens the wrong door|shrank in the wash
    """
)
_PLACES = _words("Lund Porto Gdansk Leeds Bergen Tartu Nantes Bilbao Graz Ghent Turku Brno Split Cork Basel Olomouc")
_REMEDIES = _phrases(
    """
    reset the fuse|update the firmware|return the box by courier|upload a photograph|clear the cache|call the depot|
    hold the power button|reorder the cartridge|verify the postcode|swap the cable|reinstall the application|
    visit the counter|fill in the claim sheet|wait for the technician|switch to ethernet|cancel the duplicate|
    unplug the adapter|provide the serial code
    """
)
_ENDINGS = _phrases(
    """
    a replacement leaves tomorrow|the money is back by friday|the engineer rings at noon|the case is escalated|
    an extra month is free|the manual is emailed|the depot keeps it|the stock returns in june|the fee is waived|
    the lid is sent
    """
)
_SAID = ("complaining", "stating", "reporting", "informing")
_OWN = _words(
    """
    irritated hopeful urgently repeatedly apparently politely elsewhere accordingly finally promptly weary furious
    curious anxious calm blunt gentle eager sceptical puzzled grateful bitter brisk earnest frank gloomy hasty jolly
    keen lonely merry nervous obedient patient quiet restless solemn timid upset vague
    """
)
_GREETING = ("Hi there!", "Hello,", "Hey team,", "Good evening,", "Excuse me,")
#: Words of an invented language, so that a text in it shares none with English.
_SYLLABLES = _words("ba ko ti zu ne ra vo mi shu pe gla dro")


def conversation(chance: random.Random) -> tuple[str, tuple[str, str, str]]:
    """One dialogue and three summaries of it by different people."""
    thing, trouble, place = chance.choice(_THINGS), chance.choice(_TROUBLES), chance.choice(_PLACES)
    remedy, ending, number = chance.choice(_REMEDIES), chance.choice(_ENDINGS), chance.randint(20, 9_000)
    dialogue = "\n".join(
        (
            f"Customer: {chance.choice(_GREETING)} my {thing} {trouble} since I got it in {place}, order {number}.",
            "Agent: Sorry to hear that! Have you tried anything so far?",
            f"Customer: Nothing helps, the {thing} still {trouble}.",
            f"Agent: Understood. Please {remedy}, then {ending}.",
            "Customer: Thanks, I will.",
        )
    )
    said, (one, two, three) = chance.choice(_SAID), chance.sample(_OWN, 3)
    return dialogue, (
        f"Customer is {one} {said} that the {thing} {trouble}. Agent asks to {remedy} and says that {ending}.",
        f"Customer from {place} is {said} {two} about the {thing} that {trouble}. Agent suggests to {remedy}.",
        f"The customer is {said} {three} that {thing} of order {number} {trouble}. The agent informs that {ending}.",
    )


def items(count: int = 80, seed: int = 1) -> list[Item]:
    """Held-out conversations with three blind references each."""
    chance = random.Random(seed)
    return [Item(dialogue, blind=summaries) for dialogue, summaries in (conversation(chance) for _ in range(count))]


def turns(item: Item, *which: int) -> str:
    """Some turns of a conversation, without the names."""
    return " ".join(item.dialogue.split("\n")[at].split(": ", 1)[1] for at in which)


def learned(item: Item, chance: random.Random) -> str:
    """What a good candidate writes: what people wrote, with their words in part."""
    first, second = turns(item, 2).removesuffix("."), turns(item, 3).split("Please ", 1)[1]
    return (
        f"Customer is complaining that {first.lower()}. Agent asks to {second} {chance.choice(('', 'Thanks.'))}".strip()
    )


def commonest(references: Sequence[str], count: int, start: int = 0) -> list[str]:
    """The words that most references have."""
    counts = Counter(word for text in references for word in set(text.lower().replace(".", " ").split()))
    return [word for word, _ in counts.most_common(start + count)[start:]]


def translated(text: str) -> str:
    """A text in the invented language: every word of small letters becomes another, names and numbers stay."""
    return " ".join(
        word if not word.islower() else "".join(random.Random(word).choices(_SYLLABLES, k=1 + len(word) // 3))
        for word in (text[:1].lower() + text[1:]).split()
    )
