from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.surface import Surface
from engine.text.words import fold

SOURCE = Surface(
    [
        "We don't like v11.1.2 yet. Sam Novak will edit nginx.conf, see https://ok.example/A_b?x=1",
        "The API at ACME is down, pre-merge checks fail.",
        "will it be back on Monday? Sam hopes so.",
    ],
    ["Sam Novak", "Ana-Maria O'Neil"],
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("sam doesn ' t like v11. 1. 2.", "Sam doesn't like v11.1.2."),
        ("sam doesn't like v11. 1. 2.", "Sam doesn't like v11.1.2."),
        ("he opened https : / / ok. example / a _ b? x = 1.", "He opened https://ok.example/A_b?x=1."),
        ("the api at acme is down , and checks fail .", "The API at ACME is down, and checks fail."),
        (
            "i think ana - maria o ' neil ' s plan is 3. 5 times better",
            "I think Ana-Maria O'Neil's plan is 3.5 times better",
        ),
        ("it costs $ 5 , 000 ( 50 % ) at 10 : 30 on monday!", "It costs $5,000 (50%) at 10:30 on Monday!"),
        ("nginx. conf was edited.", "nginx.conf was edited."),
        ('he said " yes " to it.', 'He said "yes" to it.'),
        ("they will not merge.", "They will not merge."),
    ],
)
def test_case_and_spacing_are_the_conversation_s(written: str, expected: str) -> None:
    assert SOURCE.restore(written) == expected


def test_a_dot_inside_a_word_of_the_conversation_is_known() -> None:
    assert SOURCE.keeps("nginx", "conf") and not SOURCE.keeps("yet", "sam")


@given(st.text(max_size=80))
def test_no_letter_or_digit_is_lost_or_invented(text: str) -> None:
    def bare(value: str) -> str:
        return "".join(c for c in fold(value) if c.isascii() and c.isalnum())

    assert bare(SOURCE.restore(text)) == bare(text)


def test_restoring_is_the_same_every_time() -> None:
    assert len({SOURCE.restore("sam novak edits nginx. conf at acme") for _ in range(5)}) == 1
