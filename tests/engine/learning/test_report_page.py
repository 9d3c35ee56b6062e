"""The report shows what people wrote, and lets none of it do anything."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.learning.charts import Line, line_chart
from engine.learning.heldout import Held
from engine.learning.report_page import MOST_EXAMPLES, Example, Page, render
from engine.scoring.gate import judge
from engine.scoring.measuring import Item, measure

NASTY = "</pre><script src=//evil.example/x.js>alert(1)</script><img src=x onerror=alert(1)> \" ' & \u202e\x00"
#: Every element that a page may have.
ELEMENTS = frozenset(
    re.split(
        r"\s+",
        "html head meta title style body h1 h2 h3 p b small ul li dl dt dd div section details summary pre span ins "
        "del table thead tbody tr th td svg path text circle",
    )
)
VOID = {"meta"}


class Reader(HTMLParser):
    """Notes elements, attributes and text, and holds end tags against start tags."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


def page(text: str) -> Page:
    items = [Item(f"Ana: {text}", (text or "x",), ("edited " + text,))]
    gate = judge(measure(items, {"candidate": [text], "base": ["before"]}, frozenset()), against="base")
    held = Held("key", f"Ana: {text}", blind=(text or "x",), edited=("edited " + text,))
    return Page(
        title=text,
        facts=[("Scope", text), (text, "value")],
        settings={text: text, "rank": 16},
        training=[(1, 2.0), (2, 1.5)],
        gate=gate,
        before=text,
        examples=[Example(held, "before " + text, text + " after")],
        private=1,
    )


def harmless(reader: Reader) -> bool:
    """Whether nothing is run and nothing is loaded."""
    return reader.elements <= ELEMENTS and not any(
        name.startswith("on") or name in ("src", "href", "srcset", "action", "xlink:href")
        for name, _ in reader.attributes
    )


def test_what_people_wrote_is_shown_and_does_nothing():
    written = render(page(NASTY))
    reader = read(written)
    assert harmless(reader)
    assert "<script" not in written
    assert "alert(1)" in reader.text
    assert "\u202e" not in written and "\x00" not in written
    assert "default-src 'none'" in written


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60))
def test_any_text_makes_a_page_that_is_whole_and_harmless(text):
    assert harmless(read(render(page(text))))


def test_nothing_is_loaded_from_anywhere():
    written = render(page("plain words"))
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", written)


def test_a_page_reads_on_a_phone_and_in_the_dark():
    written = render(page("plain words"))
    assert 'name="viewport"' in written
    assert "prefers-color-scheme:dark" in written
    assert "max-width:40rem" in written


def test_the_most_changed_summaries_come_first_and_not_too_many():
    examples = [
        Example(Held(str(at), f"Ana: talk{at}"), "a b c d e f g h", " ".join("abcdefgh"[: at % 8]) + f" new{at}")
        for at in range(30)
    ]
    reader = read(render(Page("t", gate=page("x").gate, examples=examples)))
    assert f"{MOST_EXAMPLES} of 30 held-out conversations" in reader.text
    assert reader.text.index("new8") < reader.text.index("new3")
    assert "new7" not in reader.text


def test_words_that_went_and_came_are_marked_on_their_sides():
    held = Held("key", "Ana: the tram is late")
    written = render(Page("t", gate=page("x").gate, examples=[Example(held, "the red tram", "the blue tram today")]))
    assert "<p>the <del>red </del>tram</p>" in written
    assert "<p>the <ins>blue </ins>tram<ins> today</ins></p>" in written or "today</ins>" in written


def test_a_page_without_anything_is_a_page():
    reader = read(render(Page("Run 1")))
    assert "Not evaluated yet" in reader.text
    assert "Nothing to draw yet" in reader.text


# Charts -------------------------------------------------------------------------------------------------------------

NUMBER = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBER, NUMBER), max_size=12), st.text(max_size=20))
def test_any_numbers_make_a_chart_whose_places_are_on_the_paper(points, label):
    drawn = line_chart([Line(label, points, marks=True)], title=label, x=label, y=label)
    reader = read(drawn)
    assert harmless(reader)
    for name, value in reader.attributes:
        if name in ("cx", "cy"):
            assert 0 <= float(value or "nan") <= 640
    drawable = [point for point in points if all(math.isfinite(v) and abs(v) <= 1e12 for v in point)]
    assert drawn.count("<circle") == len(drawable)


def test_a_long_curve_is_thinned_out_and_keeps_its_end():
    drawn = line_chart([Line("loss", [(at, 1 / (at + 1)) for at in range(50_000)])], title="t", x="x", y="y")
    assert len(drawn) < 30_000


def test_a_band_is_drawn_around_a_line_with_a_spread():
    points, spread = [(0, 1.0), (1, 2.0)], [(0.5, 1.5), (1.5, 2.5)]
    assert "fill-opacity" in line_chart([Line("a", points, spread)], title="t", x="x", y="y")
