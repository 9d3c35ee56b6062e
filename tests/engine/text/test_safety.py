"""The patterns here are written anew, from what the platforms document, so that a slip in the filter shows."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.text.safety import REMOVED_LINK, OutputFilter, find_links, visible
from engine.text.sentences import split_sentences

SOURCE = [
    "see https://ok.example/a_b?x=1&y=2 and (https://ok.example/p).",
    "write sam@team.example, edit nginx.conf on example.net/x",
]
LINKS = {"https://ok.example/a_b?x=1&y=2", "https://ok.example/p", "sam@team.example", "nginx.conf", "example.net/x"}

PINGS = re.compile(r"@\s*(?:everyone|here|channel)\b|<[@#!]|@(?=\w)", re.IGNORECASE)
URLS = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://[^\s<>]+|(?:mailto|tel|slack|discord|javascript|data):[^\s<>]+"
    r"|www\.[^\s<>]+|[\w.+-]+@\w[\w-]*\.\w+",
    re.IGNORECASE,
)
DOMAINS = re.compile(
    r"(?<![\w@])[\w-]+(?:\.[\w-]+)*"
    r"\.(?:com|net|org|io|evil|conf|example)(?:[/:?#][^\s<>]*)?(?!\w)",
    re.IGNORECASE,
)

_HOSTILE = """
@ < > ! # & | ( ) [ ] ` `` ``` : / // . .. , @everyone @here everyone here <@U12 <@!1> <!channel> <!here|x> <@&5> <#C1|
<:a:1> <a:b:2> <t:1:R> </x:1> http https :// https:// http://evil.com evil.com www. evil .com mailto: mailto:a@b.io
a@b.io slack://x javascript:alert(1) [x](http://evil.io) [x] (y) <http://evil.io|ok> https://ok.example/p
https://ok.example/a_b?x=1&y=2 sam@team.example nginx.conf ok.example example.net/x xn--e1.com ＠everyone a b
The the. 1.5 e.g. 。 data: tel:
"""
_UNSEEN = " \n\u200b\u202e\u2066\x00\x1b\uff20\ud800\u3164\U000e0041\u0085\u2028"
PIECES = st.sampled_from([*_HOSTILE.split(), *_UNSEEN])
TEXT = st.lists(PIECES | st.text(max_size=5), max_size=16).map("".join)


def unsafe(text: str, links: set[str]) -> list[str]:
    """Everything in a text that must not be posted, given the links that may."""
    found = [f"ping {m.group()!r}" for m in PINGS.finditer(re.sub(r"\S*sam@team\.example|https?://\S+", "", text))]
    # Where a link of the conversation stands, whole: an address with a path to the next white space (punctuation may
    # follow), another to the end of its last word.
    ends = {True: r"[^\w\s<>]*(?=[\s<>]|$)", False: r"(?![\w\-]|\.\w)"}
    allowed = [
        match.span(1) for link in links for match in re.finditer(f"({re.escape(link)}){ends['/' in link]}", text)
    ]
    for pattern in (URLS, DOMAINS):
        for match in pattern.finditer(text):
            start, end = match.start(), match.start() + len(re.sub(r"[^\w/]+$", "", match.group()))
            if not any(low <= start and end <= high for low, high in allowed):
                found.append(f"link {match.group()!r}")
    found += [
        f"character {c!r}" for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    ]
    return found


@settings(max_examples=400)
@given(TEXT, st.booleans())
@example("@\u200beveryone", False)
@example("<@<@U1>U2>", False)
@example("[a](<http://evil.io>)", False)
@example("h\u200bttp://evil.io", False)
@example("@`@everyone`", False)
@example("<ht<>tp://evil.io>", False)
def test_whatever_the_text_no_ping_no_foreign_link_and_nothing_invisible_comes_out(
    text: str, with_source: bool
) -> None:
    cleaned = OutputFilter(SOURCE if with_source else []).clean(text)
    assert unsafe(cleaned, LINKS if with_source else set()) == []


@settings(max_examples=300)
@given(TEXT, st.lists(TEXT, max_size=3))
def test_every_link_that_comes_out_stands_in_the_conversation_byte_for_byte(text: str, source: list[str]) -> None:
    cleaned = OutputFilter(source).clean(text)
    allowed = {link for message in source for link in find_links(visible(message))}
    assert set(find_links(cleaned)) <= allowed
    assert all(any(link in message for message in source) for link in find_links(cleaned))


def test_link_that_the_conversation_has_only_with_an_invisible_character_in_it_does_not_come_out() -> None:
    assert find_links(OutputFilter(["see a\u200bb.com/evil"]).clean("It is at ab.com/evil now.")) == []


@settings(max_examples=300)
@given(TEXT)
def test_filtering_again_changes_nothing(text: str) -> None:
    output_filter = OutputFilter(SOURCE)
    cleaned = output_filter.clean(text)
    assert output_filter.clean(cleaned) == cleaned


@settings(max_examples=300)
@given(TEXT)
def test_sentences_filtered_one_by_one_are_as_safe_together(text: str) -> None:
    output_filter = OutputFilter(SOURCE)
    together = " ".join(output_filter.clean(sentence) for sentence in split_sentences(text))
    assert unsafe(together, LINKS) == []
    assert set(find_links(together)) <= set(LINKS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@everyone look, <@U123> and <@!45>", "everyone look, U123 and 45"),
        ("<!channel> <!subteam^S1|@ops> <#C9|general>", "channel ops general"),
        ("[the docs](https://evil.example/x)", f"[the docs] ({REMOVED_LINK})"),
        ("[page](https://ok.example/p).", "[page] (https://ok.example/p)."),
        ("<https://ok.example/p|page>", "page (https://ok.example/p)"),
        ("Go to evil.com/login now.", "Go to evil. com/login now."),
        ("It failed.The team knows nginx.conf.", "It failed. The team knows nginx.conf."),
        ("mail bob@evil.example or sam@team.example", "mail bob at evil. example or sam@team.example"),
        ("v1.2.3 costs 3.50, e.g. today, if a < b", "v1.2.3 costs 3.50, e.g. today, if a < b"),
        ("```rm -rf /``` and `ls`", "rm -rf / and `ls`"),
        ("safe\u202etxt.exe\u200b", "safetxt. exe"),
        ("Grüße, 你好, مرحبا 🎉", "Grüße, 你好, مرحبا 🎉"),
    ],
)
def test_what_is_taken_apart_stays_readable(text: str, expected: str) -> None:
    assert OutputFilter(SOURCE).clean(text) == expected


def test_a_link_of_the_conversation_that_would_ping_is_not_let_through() -> None:
    assert "@everyone" not in OutputFilter(["https://x.example/@everyone"]).clean("https://x.example/@everyone")


@pytest.mark.parametrize("text", ["a" * 10**6, "1." * 10**5, "x@" * 10**5, "a-" * 10**5, "http://" * 10**5])
def test_a_hostile_megabyte_in_the_conversation_takes_no_more_than_seconds(text: str) -> None:
    began = time.perf_counter()
    OutputFilter([text])
    assert time.perf_counter() - began < 10
