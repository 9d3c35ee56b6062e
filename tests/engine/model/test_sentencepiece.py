"""A checkpoint whose only tokenizer is a SentencePiece file, as older ones have it, loads like any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import sentencepiece

from engine.model.loading import load
from engine.protocols import Row
from engine.settings import EngineSettings
from tests.engine import tiny
from tests.engine.model.listening import write


def test_model_with_only_a_sentencepiece_file_writes(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "t5"
    shutil.copytree(tiny_models["t5"], folder)
    vocabulary = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    for path in folder.glob("*token*"):
        path.unlink()
    (tmp_path / "text").write_text("\n".join(tiny.corpus()), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(folder / "spiece"), vocab_size=vocabulary,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 512}), encoding="utf-8"
    )
    model = load(EngineSettings(engine_model=str(folder), engine_device="cpu", engine_threads=1))
    prompt = tiny.corpus()[0]
    (tokens,) = model.count_tokens([prompt])
    heard = write(model, [Row(prompt, 8, min_new_tokens=4, prompt_tokens=tokens)])
    assert tokens > 2
    assert heard.ended[0].output_tokens >= 4
