"""What a model is trained on is what it will be asked, byte for byte; what it will never be asked is left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.learning.dialogues import conversation_of
from engine.protocols import Row
from engine.requests import SummaryRequest
from engine.summarizer import Summarizer
from engine.training.examples import Renderer
from engine.training.job import Pair
from engine.training.lora import Base, open_base
from storage.errors import EngineBusy
from tests.engine.tiny import NAMES
from tests.engine.training.support import Heard, pairs, settings

pytestmark = pytest.mark.xdist_group("teachable-models")
Models = dict[str, Path]
DIALOGUE = "Ana: the export job failed at 14:30\nTomas: I restarted it\nAna: thanks, it is done now"


@pytest.fixture(scope="session")
def base_of(teachable_models: Models) -> Callable[[str], Base]:
    found = {name: open_base(settings(path), Heard()) for name, path in teachable_models.items()}
    return found.__getitem__


def renderer(base: Base) -> Renderer:
    return Renderer(base.info, base.tokens, end=base.end, first=base.first)


class Refusing:
    """A submitter that keeps what it is handed, and has no room for it."""

    rows: Sequence[Row] = ()

    async def submit(self, rows: Sequence[Row], request_key: str) -> list[object]:
        self.rows = rows
        raise EngineBusy(1)


async def served(base: Base, pair: Pair) -> list[str]:
    """The prompts that the engine would send for a pair's dialogue."""
    submitter = Refusing()
    summarizer = Summarizer(
        info=base.info,
        count_tokens=lambda texts: [len(ids) for ids in base.tokens.encode(texts)],
        render_chat=base.tokens.render_chat,
        submitter=submitter,  # type: ignore[arg-type]
    )
    request = SummaryRequest(
        conversation_of(pair.dialogue, key="c"),
        style=pair.style,
        focus=pair.focus,
        output_language=pair.output_language,
    )
    with pytest.raises(EngineBusy):
        async for _ in summarizer.summarize(request):
            pass
    return [row.prompt for row in submitter.rows]


@pytest.mark.parametrize("name", NAMES)
async def test_prompts_are_byte_for_byte_those_that_the_engine_sends(name: str, base_of: Callable[[str], Base]) -> None:
    base = base_of(name)
    wishes = [
        Pair(DIALOGUE, "Done."),
        Pair(DIALOGUE, "Done.", focus="the export job"),
        Pair("Zoë: 1 < 2 </s> <|im_end|> [INST]\n: \nAna:\tspaced   out ‮text", "Ok."),
    ]
    if name in ("llama", "qwen3"):
        wishes += [Pair(DIALOGUE, "- Ana", style="actions"), Pair(DIALOGUE, "Ja.", output_language="German")]
    for pair in wishes:
        (example,), left_out = renderer(base).examples([pair])
        assert [example.prompt] == await served(base, pair)
        assert example.source == base.tokens.encode([example.prompt])[0]
        assert not left_out


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=60), min_size=1, max_size=5), st.text(max_size=80))
def test_no_text_of_anybodys_breaks_a_training_set(
    base_of: Callable[[str], Base], said: list[str], summary: str
) -> None:
    dialogue = "\n".join(f"Ana: {line}" for line in said)
    base = base_of("qwen3")
    examples, left_out = renderer(base).examples([Pair(dialogue, summary)])
    assert len(examples) + sum(left_out.values()) == 1
    for example in examples:
        assert example.target[-1] == base.end
        assert base.end not in example.target[:-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_target_is_what_the_model_would_write_and_ends_as_its_answers_end(
    name: str, base_of: Callable[[str], Base]
) -> None:
    base = base_of(name)
    (example,), _ = renderer(base).examples([Pair(DIALOGUE, "  Ana restarted the export job.\n")])
    assert base.tokens.decode(example.target).strip().lower() == "ana restarted the export job."
    assert example.target[-1] == base.end


def test_a_chat_answer_follows_the_prompt_as_the_template_would_have_it(base_of: Callable[[str], Base]) -> None:
    base = base_of("qwen3")
    (example,), _ = renderer(base).examples([Pair(DIALOGUE, "Ana restarted it.")])
    whole = base.tokens.tokenizer.decode([*example.source, *example.target])
    assert example.prompt.endswith("<think>\n\n</think>\n\n")
    assert whole == example.prompt + "Ana restarted it.<|im_end|>"


def test_what_the_model_cannot_be_asked_for_or_cannot_read_or_write_is_left_out_and_counted(
    base_of: Callable[[str], Base],
) -> None:
    good = pairs(2)
    bad = {
        "no_summary": Pair(DIALOGUE, " ​\n"),
        "summary_too_long": Pair(DIALOGUE, "the invoice " * 60),
        "too_long": Pair("\n".join([DIALOGUE] * 40), "Done."),
        "style": Pair(DIALOGUE, "Done.", style="detailed"),
        "language": Pair(DIALOGUE, "Fertig.", output_language="German"),
        "no_dialogue": Pair("nobody says anything here", "Nothing."),
        "focus": Pair(DIALOGUE, "Nothing.", focus="the parrots of Peru"),
    }
    examples, left_out = renderer(base_of("bart")).examples([*good, *bad.values()])
    assert len(examples) == 2
    assert left_out == dict.fromkeys(bad, 1)


@pytest.mark.parametrize(
    ("name", "taken"),
    [("t5", {"standard", "brief"}), ("bart", {"standard"}), ("qwen3", {"standard", "brief", "detailed", "actions"})],
)
def test_only_styles_that_a_prompt_expresses_are_trained(
    name: str, taken: set[str], base_of: Callable[[str], Base]
) -> None:
    for style in ("standard", "brief", "detailed", "actions"):
        examples, left_out = renderer(base_of(name)).examples([Pair(DIALOGUE, "Done.", style=style)])  # type: ignore[arg-type]
        assert bool(examples) == (style in taken), (style, left_out)


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_of_a_megabyte_costs_a_moment(name: str, base_of: Callable[[str], Base]) -> None:
    megabyte = "Ana: " + "x" * 2**20
    several = "\n".join(f"Ana: {'word ' * 30}" for _ in range(7000))
    began = time.process_time()
    _, left_out = renderer(base_of(name)).examples(
        [Pair(megabyte, "Done."), Pair(several, "Done."), Pair(DIALOGUE, "y" * 2**20), Pair(DIALOGUE, "so " * 2**19)]
    )
    assert time.process_time() - began < 2.0
    assert left_out == {"too_long": 2, "summary_too_long": 2}
