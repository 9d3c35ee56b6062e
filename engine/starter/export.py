"""Write the starter as an ordinary Hugging Face directory, all at once.

The directory is written beside its place and renamed into it, so that a reader never sees half a checkpoint.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from torch import Tensor
from transformers import BartForConditionalGeneration, GenerationConfig
from transformers.models.bert import BertTokenizerFast

EDITION = 1
WEIGHTS = Path(__file__).parent / "weights"


def averaged(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several checkpoints' weights."""
    return {name: torch.stack([s[name].float() for s in states]).mean(0) for name in states[0]}


def generation() -> GenerationConfig:
    """Greedy, so that sentences can be streamed; the other settings were chosen on the validation sets.

    Reports share their openings ("Maya says that they"), so runs of three pieces may come again, of four not.
    """
    return GenerationConfig(
        max_length=96,
        min_length=20,
        num_beams=1,
        do_sample=False,
        no_repeat_ngram_size=4,
        bos_token_id=2,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=3,
        forced_bos_token_id=2,
    )


def export(model: BartForConditionalGeneration, tokenizer: BertTokenizerFast, target: Path) -> None:
    """Weights in half precision with the head tied, configuration and tokenizer at `target`."""
    model.eval()
    half = BartForConditionalGeneration(model.config).half()
    half.load_state_dict({name: tensor.half() for name, tensor in model.state_dict().items()})
    half.tie_weights()
    half.config.redraft = {"demonstration": True, "edition": EDITION, "focus": True}
    # These belong to generation_config.json; in both files they make loading warn.
    half.config.forced_bos_token_id = None
    half.generation_config = generation()
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    half.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    config = json.loads((partial / "config.json").read_text())
    config.pop("_name_or_path", None)
    (partial / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for path in partial.iterdir():
        path.chmod(0o644)
    old = target.with_name(target.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.replace(old)
    partial.replace(target)
    shutil.rmtree(old, ignore_errors=True)
