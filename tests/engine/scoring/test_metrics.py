"""The metrics say what they say they do, of any text."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer
from rouge_score import tokenize
from rouge_score.rouge_scorer import RougeScorer

from engine.scoring import metrics
from engine.scoring.metrics import FIGURES, Source, Yardstick

TALK = (
    "Orla Byrne: The printer on floor 3 is out of paper again, order 4711.\n"
    "Pim: I'll bring 2 boxes at 14:30.\n"
    "and some toner\n"
    "Orla Byrne: Thanks Pim!\n"
    "Pim: Done."
)
PLAIN = st.text(alphabet=string.printable, max_size=200)
ANY = st.text(max_size=200)


@given(PLAIN)
def test_ascii_text_is_cut_into_words_as_rouge_score_does(text):
    assert metrics._RougeTokenizer().tokenize(text) == tokenize.tokenize(text, PorterStemmer())


@given(st.lists(PLAIN, min_size=1, max_size=3), PLAIN)
def test_rouge_of_ascii_text_is_rouge_scores_own(references, summary):
    theirs = RougeScorer(list(metrics.ROUGE), use_stemmer=True).score_multi(references, summary)
    ours = metrics.rouge(summary, references)
    assert ours == pytest.approx({name: 100 * theirs[name].fmeasure for name in metrics.ROUGE})


@given(ANY, st.lists(ANY, min_size=1, max_size=3), ANY)
def test_every_figure_of_any_text_is_within_its_range(summary, references, dialogue):
    found = Yardstick(metrics.house_stems(references)).figures(summary, references, Source(dialogue))
    assert tuple(found) == FIGURES
    for name, value in found.items():
        assert value is None or 0 <= value <= (1e6 if name == "length_ratio" else 100.000001), name


@given(ANY)
def test_a_text_that_is_its_own_reference_has_all_or_nothing(text):
    found = Yardstick(frozenset()).figures(text, [text], Source(f"Ana: {text}"))
    assert found["content_f1"] == (100 if metrics.stems(text) else 0)
    assert found["rouge1"] == pytest.approx(100 if metrics.tokens(text) else 0)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("Сервер снова упал ночью", "Ночью снова упал сервер"),
        ("サーバーが落ちました", "サーバーが落ちました。"),
        ("Ο διακομιστής έπεσε", "ο διακομιστης επεσε"),
        ("Le café est fermé", "LE CAFE EST FERME"),
    ],
)
def test_words_of_every_script_count(text, reference):
    found = Yardstick(frozenset()).figures(text, [reference], Source(f"Ana: {text}"))
    assert found["rouge1"] > 80
    assert found["content_f1"] > 80
    assert found["novelty"] == 0


def test_the_best_reference_counts_for_each_metric():
    references = ["The router is broken.", "Orders come late."]
    found = metrics.rouge("Orders come late.", references)
    assert found["rougeL"] == pytest.approx(100)
    assert metrics.content_f1("router broken", references, frozenset()) == 100


def test_content_f1_leaves_the_house_style_out():
    references = ["the agent says the router is broken"]
    house = frozenset({"agent"})
    assert metrics.content_f1("agent agent agent", references, house) == 0.0
    assert metrics.content_f1("the router is broken", references, house) > 75


def test_the_house_style_is_what_most_references_say_and_no_word_of_a_single_one():
    references = [f"Customer is complaining about the {thing}" for thing in ("router", "kettle", "tram")]
    assert metrics.house_stems(references) == {"custom", "complain"}
    many = [" ".join(f"word{at}x" for at in range(50))] * 2
    assert len(metrics.house_stems(many)) == metrics.HOUSE_STEMS
    assert metrics.house_stems(many) == metrics.house_stems(list(reversed(many)))


def test_novelty_is_the_share_of_content_words_that_the_conversation_lacks():
    source = Source(TALK)
    assert source.novelty("The printer is out of paper.", frozenset()) == 0
    assert source.novelty("The printer is haunted.", frozenset()) == 50
    assert source.novelty("it is", frozenset()) is None


def test_numbers_and_names_that_the_conversation_lacks_are_told_by_their_share():
    source = Source(TALK)
    assert source.unsupported("It says that Orla Byrne needs 2 boxes for order 4711.") == 0
    assert source.unsupported("It says that Bob needs 2 boxes for order 99.") == pytest.approx(200 / 3)
    assert source.unsupported("Nothing named here.") == 0


def test_length_is_held_against_the_mean_of_the_references():
    found = Yardstick(frozenset()).figures("one two three", ["a b", "a b c d"], Source(TALK))
    assert found["length_ratio"] == 1.0


def test_a_loop_is_a_run_of_four_words_three_times():
    assert metrics.loops("a b c d a b c d a b c d")
    assert not metrics.loops("a b c d a b c d")


def test_the_trivial_extract_is_what_the_first_three_turns_say():
    assert metrics.trivial_extract(TALK) == (
        "The printer on floor 3 is out of paper again, order 4711. I'll bring 2 boxes at 14:30. and some toner "
        "Thanks Pim!"
    )
    assert metrics.trivial_extract("") == ""
