"""Words of a text as focus and support compare them: folded, stemmed, weighed.

Knows nothing of models, prompts or messages. Words of languages written without spaces become pairs of neighbouring
characters, so that overlap means something there too. The stemmer (Porter, 1980, as nltk ships it) is imported on
first use: nltk takes about a second to import and is on nobody's way to a command's help.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])\w)+(?:['’](?:(?![{_UNSPACED}_])\w)+)*")
_UNSPACED_RUN = re.compile(rf"[{_UNSPACED}]+")


def listed(text: str) -> frozenset[str]:
    """The words of a list written as one text."""
    return frozenset(text.split())


#: Words that say little about a topic. Contractions are listed without their apostrophe.
STOP_WORDS = listed(
    """
    a able about above actually add added adds after again against agree agreed agrees all already also always
    am an and another answer answered answering answers any anyone anything are aren't around as ask asked
    asking asks at away back be because become been before being below between both but by came can can't
    cannot come comes confirm confirmed confirms conversation could couldn't decide decided decides did didn't
    discuss discussed discusses discussion do does doesn't doing don't done down during each either else even
    ever every everybody everyone everything explain explained explains few for from further get gets getting
    give given go goes going gone got group had hadn't has hasn't have haven't having he he's her here hers
    herself him himself his how however i i'd i'll i'm i've if in inform informed informs instead into is
    isn't it it's its itself just know known knows let let's lets like ll look looking looks lot made make
    makes making many may maybe me mean means mention mentioned mentions message might more most much must my
    myself need needed needs never new no nobody none nor not note noted notes nothing now of off often oh ok
    okay on once one only onto or other others our ours ourselves out over own people per perhaps person
    please possible probably propose proposed proposes put quite rather re really replied replies reply report
    reported reports right s said same say saying says see seem seems several shall she should shouldn't since
    so some someone something soon sort state stated states still such suggest suggested suggests sure t take
    taken takes taking talk talked talks team tell than thank thanks that that's the their theirs them
    themselves then there there's these they they're thing things think thinks this those though thought
    thread through thus to together told too took toward towards tried try trying two under unless until up
    upon us use used using ve very via want wanted wants was wasn't way we we'd we'll we're we've well went
    were weren't what what's whatever when whenever where whether which while who whom whose why will with
    within without won't would wouldn't yeah yep yes yet you you'd you'll you're your yours yourself
    yourselves
    """
)


@cache
def _stemmer() -> Callable[[str], str]:
    from nltk.stem.porter import PorterStemmer

    stem: Callable[[str], str] = PorterStemmer().stem
    return stem


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The stem of one folded word; words that are not plain Latin letters stand for themselves."""
    plain = word.replace("’", "'")
    plain = plain[:-2] if plain.endswith("'s") else plain
    return _stemmer()(plain) if plain.isascii() and plain.isalpha() and len(plain) > 2 else plain


def fold(text: str) -> str:
    """Case and accents taken away, so that `Café` and `cafe` are one word."""
    lowered = text.casefold()
    if lowered.isascii():
        return lowered
    return "".join(c for c in unicodedata.normalize("NFKD", lowered) if not unicodedata.combining(c))


def words(text: str) -> Iterator[str]:
    """The words of a text as written, in order; runs of unspaced scripts as pairs of neighbouring characters."""
    for match in _TOKEN.finditer(text):
        token = match.group()
        if _UNSPACED_RUN.match(token):
            if len(token) == 1:
                yield token
            for at in range(len(token) - 1):
                yield token[at : at + 2]
        else:
            yield token


def is_content(folded: str) -> bool:
    """Whether a folded word says something of its topic: no stop word, no lone letter."""
    return folded.replace("’", "'") not in STOP_WORDS and (len(folded) > 1 or not folded.isascii() or folded.isdigit())


def content_stems(text: str) -> list[str]:
    """Stems of the content words of a text, in order, repeats kept."""
    return [stem(folded) for folded in map(fold, words(text)) if is_content(folded)]


def unique(items: Iterable[str]) -> list[str]:
    """The items without repeats, in the order in which they first came."""
    return list(dict.fromkeys(items))
