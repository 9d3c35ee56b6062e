"""The starter's tokenizer: MiniLM's word pieces cut down to those that the training data uses.

Knows texts and token ids only. Special tokens keep ids 0 to 4; the line break is an ordinary added token, the
last id, so that a model can tell where one turn ends and the next begins.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken
from transformers import BertTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MAX_LENGTH = 512


def keep(pieces: dict[str, int], texts: Iterable[str], size: int, tokenizer: BertTokenizerFast) -> list[str]:
    """The special tokens, all single characters and the `size` commonest pieces, in order of count."""
    counts: Counter[int] = Counter()
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == 256:
            for ids in tokenizer(batch, add_special_tokens=False).input_ids:
                counts.update(ids)
            batch = []
    if batch:
        for ids in tokenizer(batch, add_special_tokens=False).input_ids:
            counts.update(ids)
    names = {index: piece for piece, index in pieces.items()}
    common = [names[i] for i, _ in counts.most_common() if names[i] not in SPECIAL][:size]
    # Single characters make every word writable: what was cut falls apart into letters and never into [UNK].
    single = sorted(p for p in pieces if len(p.removeprefix("##")) == 1 and _written(p.removeprefix("##")))
    chosen = dict.fromkeys([*SPECIAL, *common, *single])
    return list(chosen)


def _written(character: str) -> bool:
    """Whether a character is a letter, digit, mark or symbol of a script that BERT does not split further."""
    return unicodedata.category(character)[0] in "LNPS"


def build(kept: list[str]) -> BertTokenizerFast:
    """A fast uncased tokenizer over `kept`, plus the line break."""
    # transformers 5 takes the vocabulary as a mapping; given a file it keeps five tokens and says nothing.
    tokenizer = BertTokenizerFast(
        vocab={piece: i for i, piece in enumerate(kept)},
        do_lower_case=True,
        model_max_length=MAX_LENGTH,
        # BART has no token types, and refuses an input that it does not know.
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.add_tokens([AddedToken("\n", normalized=False)])
    return tokenizer


def minilm_pieces(folder: Path) -> dict[str, int]:
    """MiniLM's own vocabulary, piece to id."""
    vocabulary: dict[str, int] = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    return vocabulary
