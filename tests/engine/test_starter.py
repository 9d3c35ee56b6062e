"""The starter model as it ships: it loads whole, is small, knows turns, says something, and its card is true."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from engine.scoring import metrics
from engine.starter import build, card, report, stages, tasks, text
from engine.starter.export import WEIGHTS
from engine.starter.measure import FIGURES

DATA = Path(__file__).parents[3] / "shared" / "data"
THREAD = "\n".join(
    [
        "Maya Lindqvist: The nightly export of invoices failed again, it stopped at row 4120.",
        "Tobias: I think the disk on the export machine is full, I will check it now.",
        "Tobias: Yes, only 2 GB were left because the old archives are never deleted.",
        "Maya Lindqvist: Can you delete the archives from before June and start the export again?",
        "Tobias: Done, the export is running and should be finished by 10:30.",
    ]
)


@pytest.fixture(scope="module")
def loaded():
    model, info = AutoModelForSeq2SeqLM.from_pretrained(WEIGHTS, dtype=torch.float32, output_loading_info=True)
    return model.eval(), info


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(WEIGHTS)


def summary_of(model, tokenizer, source: str) -> str:
    encoded = tokenizer(source, return_tensors="pt")
    ids = model.generate(input_ids=encoded.input_ids, attention_mask=encoded.attention_mask)
    return tokenizer.decode(ids[0], skip_special_tokens=True).strip()


def test_every_key_is_found_and_none_is_left_over(loaded):
    _, info = loaded
    assert {name: info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys")} == {
        name: type(info[name])() for name in ("missing_keys", "unexpected_keys", "mismatched_keys")
    }


def test_the_head_is_tied_to_the_embeddings(loaded):
    model, _ = loaded
    assert model.config.tie_word_embeddings
    shared = model.get_input_embeddings().weight.data_ptr()
    assert model.get_output_embeddings().weight.data_ptr() == shared
    assert model.model.encoder.embed_tokens.weight.data_ptr() == shared
    assert model.model.decoder.embed_tokens.weight.data_ptr() == shared


def test_the_file_is_small_half_precision_and_finite():
    path = WEIGHTS / "model.safetensors"
    assert path.stat().st_size <= 48_000_000
    with safe_open(path, "pt") as stored:
        names = list(stored.keys())
        assert "lm_head.weight" not in names
        for name in names:
            tensor = stored.get_tensor(name)
            assert tensor.dtype == torch.float16, name
            assert torch.isfinite(tensor).all(), name


def test_it_says_that_it_is_a_demonstration():
    config = json.loads((WEIGHTS / "config.json").read_text())
    assert config["redraft"] == {"demonstration": True, "edition": 1, "focus": True}


def test_the_tokenizer_keeps_turns_apart(tokenizer):
    assert tokenizer.is_fast
    assert tokenizer.model_max_length == 512
    line_break = tokenizer.convert_tokens_to_ids("\n")
    assert line_break == len(tokenizer) - 1
    assert line_break not in tokenizer.all_special_ids
    ids = tokenizer(THREAD).input_ids
    assert ids.count(line_break) == THREAD.count("\n")
    assert tokenizer.unk_token_id not in ids
    turns = tokenizer.decode(ids, skip_special_tokens=True).split("\n")
    expected = ["".join(turn.lower().split()) for turn in THREAD.split("\n")]
    assert ["".join(turn.split()) for turn in turns] == expected


def test_a_summary_of_an_invented_thread_says_something_once(loaded, tokenizer):
    summary = summary_of(loaded[0], tokenizer, THREAD)
    assert len(summary.split()) >= 8
    assert not metrics.loops(summary)


def test_a_summary_is_made_of_what_the_thread_says(loaded, tokenizer):
    summary = summary_of(loaded[0], tokenizer, THREAD)
    novelty = metrics.Source(THREAD).novelty(summary, frozenset({"ask", "say"}))
    assert novelty is not None
    assert novelty <= 25


def test_the_cards_tables_are_rendered_from_the_figures():
    figures = json.loads(FIGURES.read_text())
    assert card.tables(card.CARD.read_text(encoding="utf-8")) == card.render(figures)


def test_the_figures_are_of_these_weights():
    assert json.loads(FIGURES.read_text())["bytes"] == (WEIGHTS / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("Can anyone reach the staging server?", "Ann asks if anyone can reach the staging server."),
        ("Do you know when it restarts?", "Ann asks if you know when it restarts."),
        ("how do I roll back a release?", "Ann asks how to roll back a release."),
        ("I'm on it, my laptop is slow.", "Ann says that they are on it, their laptop is slow."),
        ("[Re: budget] The plan was approved.", "Ann says that the plan was approved."),
        ("Hi everyone, the build is red.", "Ann says that the build is red."),
    ],
)
def test_a_sentence_is_told_in_the_third_person(sentence, told):
    assert report.told("Ann", sentence) == told


def test_renaming_is_consistent_between_turns_and_summary():
    import random

    before = text.Conversation(
        "1", "invented", (("Orla", "Ask Pim."), ("Pim", "Orla, it is done.")), ("Pim tells Orla that it is done.",),
        people=("Orla", "Pim"),
    )  # fmt: skip
    after = text.renamed(before, random.Random(3))
    orla, pim = after.people
    assert {"Orla", "Pim"}.isdisjoint({orla, pim})
    assert after.turns == ((orla, f"Ask {pim}."), (pim, f"{orla}, it is done."))
    assert after.summaries == (f"{pim} tells {orla} that it is done.",)


def test_a_target_sentence_that_names_what_the_source_lacks_is_dropped():
    kept = tasks.supported(
        text.Conversation(
            "1",
            "invented",
            (("Orla", "The printer on floor 3 is out of paper again."),),
            ("The printer on floor 3 is out of paper. The printer on floor 7 is out of paper too.",),
        )
    )
    assert kept == "The printer on floor 3 is out of paper."


def test_content_f1_leaves_the_house_style_out():
    references = [["the agent says the router is broken"]]
    house = frozenset({"agent"})
    assert metrics.content_f1("agent agent agent", references[0], house) == 0.0
    assert metrics.content_f1("the router is broken", references[0], house) > 75


def test_a_loop_is_a_run_of_four_words_three_times():
    assert metrics.loops("a b c d a b c d a b c d")
    assert not metrics.loops("a b c d a b c d")


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the data folder is not here")
def test_validation_conversations_are_read_whole():
    conversations = text.read(DATA, "convosumm_email.val")
    assert len(conversations) == 50
    assert all(c.turns and c.summaries for c in conversations)


def test_a_larger_curriculum_has_more_steps_larger_batches_and_the_shares_that_were_asked_for():
    as_run = stages.STAGES
    more = build.curriculum(10, 7, 0.3, 0.1)
    assert [stage.steps for stage in more] == [10 * stage.steps for stage in as_run]
    assert [stage.tokens for stage in more] == [7 * stage.tokens for stage in as_run]
    assert [stage.coverage for stage in more] == [0, 0, 0.1, 0.1]
    assert (more[-1].human, round(more[-1].copying + more[-1].reported + more[-1].human, 6)) == (0.3, 1)
    assert build.curriculum(1, 1, None, 0) == list(as_run)


def test_what_is_attended_to_again_is_penalised_and_a_first_look_is_not(loaded):
    model, _ = loaded
    model.set_attn_implementation("eager")
    source = torch.tensor([[2, 7, 8, 9, 10, 11, 3]])
    target = torch.tensor([[2, 7, 8, 9, 10]])

    def penalty(labels: torch.Tensor) -> float:
        rows = {"source": source, "shifted": target, "labels": labels, "aligned": torch.full_like(labels, -1)}
        with torch.no_grad():
            return stages.losses(model, rows, 0, False, coverage=True).coverage.item()

    first_only = torch.where(torch.arange(5) == 0, target, -100)
    assert penalty(first_only) == 0  # nothing was looked at before the first token
    later = torch.where(torch.arange(5) > 0, target, -100)
    assert 0 < penalty(later) <= 1
    model.set_attn_implementation("sdpa")
