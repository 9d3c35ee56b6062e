"""Adapters on real tiny models of four families: what each row writes, and what an attached adapter leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.model.generation import LoadedModel
from engine.protocols import Generated, Row
from tests.engine.model.listening import write
from tests.engine.model.lora import attached
from tests.engine.model.test_contract import PROMPTS
from tests.engine.tiny import NAMES

Loader = Callable[..., LoadedModel]
pytestmark = pytest.mark.xdist_group("tiny-models")


@pytest.fixture
def clean() -> Iterator[Callable[[LoadedModel], LoadedModel]]:
    """Takes off whatever a test attaches: the models are shared."""
    seen: list[LoadedModel] = []

    def remember(model: LoadedModel) -> LoadedModel:
        seen.append(model)
        return model

    yield remember
    for model in seen:
        for name in model.attached:
            model.detach(name)


def alone(model: LoadedModel, row: Row) -> Generated:
    return write(model, [row]).ended[0]


@pytest.mark.parametrize(
    "settings",
    [{"engine_expand": "never"}, {"engine_expand": "always"}, {"engine_quantization": "none"}],
    ids=["nf4", "expanded", "full"],
)
@pytest.mark.parametrize("name", NAMES)
def test_each_row_of_a_mixed_batch_writes_what_it_writes_alone(
    load_tiny: Loader, clean: Callable[[LoadedModel], LoadedModel], tmp_path: Path, name: str, settings: dict[str, str]
) -> None:
    model = clean(load_tiny(name, **settings))
    before = write(model, [Row(prompt, 20) for prompt in PROMPTS]).ended
    first, second = attached(model, tmp_path, 1), attached(model, tmp_path, 2)
    adapters = ("base", first, second)
    batch = [Row(prompt, 20, adapter=adapters[(i + j) % 3]) for i in range(3) for j, prompt in enumerate(PROMPTS)]
    together = write(model, batch).ended
    for i, row in enumerate(batch):
        assert together[i] == alone(model, row), f"row {i} by {row.adapter}"
    written = {(row.prompt, row.adapter): together[i].text for i, row in enumerate(batch)}
    for i, prompt in enumerate(PROMPTS):
        assert written[prompt, "base"] == before[i].text, "an adapter changed what the base writes"
        assert len({written[prompt, adapter] for adapter in adapters}) == 3, "an adapter made no difference"
