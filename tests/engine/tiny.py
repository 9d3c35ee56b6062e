"""Tiny models for tests: T5, BART, Llama and Qwen3 with random weights and small tokenizers of their own.

Each is an ordinary Hugging Face directory, loaded by the very code that loads any other model. Widths are multiples
of 64, so that every 4-bit kernel takes them. Random weights write garbage, but always the same garbage.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

NAMES = ("t5", "bart", "llama", "qwen3")
VOCABULARY = 384
CONTEXT = 256

#: ChatML with a place for instructions and a switch for thinking, as Qwen's has.
CHATML = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
#: Begins with the first token and refuses instructions, as Gemma's did.
NO_SYSTEM = (
    "{{ bos_token }}{%- for message in messages %}"
    "{%- if message.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "[{{ message.role }}] {{ message.content }}\n{% endfor %}"
    "{%- if add_generation_prompt %}[assistant] {% endif %}"
)


def corpus() -> list[str]:
    """Invented sentences, always the same."""
    chance = random.Random(5)
    people = ("Ana", "Tomas", "Priya", "Kofi", "Mei", "Lars")
    doing = ("checked", "restarted", "will review", "moved", "asked about", "shipped", "broke", "paid for")
    things = ("the export job", "the invoice", "the login page", "the database", "the café order", "the Zürich trip")
    when = ("today", "on Monday", "at 14:30", "before lunch", "last week", "after 3 tries")
    return [
        f"{chance.choice(people)} {chance.choice(doing)} {chance.choice(things)} {chance.choice(when)}."
        for _ in range(400)
    ]


def make(name: str, folder: Path, **changes: Any) -> Path:
    """Write one of ``NAMES`` to a directory; ``changes`` go into its config.

    Returns:
        the directory.
    """
    tokenizer, config = _TOKENIZERS[name](), dict(changes)
    torch.manual_seed(11)
    model = _MODELS[name](tokenizer, config)
    with torch.no_grad():
        for module in model.modules():
            # Wider than the usual start, the layers more than the tables: what is written then depends on what is
            # read and on how far the answer is, and is not one word over and over.
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                module.weight.normal_(0.0, 0.8 if isinstance(module, torch.nn.Linear) else 0.2)
        model.tie_weights()
        for table in {model.get_input_embeddings(), model.get_output_embeddings()}:
            # Special tokens get the dullest score there is: no answer ends unless a test makes it.
            table.weight[tokenizer.all_special_ids] = 0.0
    model.generation_config = GenerationConfig(
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        decoder_start_token_id=model.config.decoder_start_token_id if model.config.is_encoder_decoder else None,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _t5(tokenizer: PreTrainedTokenizerFast, changes: dict[str, Any]) -> Any:
    settings: dict[str, Any] = {
        "d_model": 64, "d_kv": 32, "d_ff": 128, "num_layers": 2, "num_heads": 2,
        "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "decoder_start_token_id": 0,
    }  # fmt: skip
    return T5ForConditionalGeneration(T5Config(**{**settings, **_special(tokenizer), **changes}))


def _bart(tokenizer: PreTrainedTokenizerFast, changes: dict[str, Any]) -> Any:
    settings: dict[str, Any] = {
        "d_model": 64, "encoder_layers": 2, "decoder_layers": 2,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128,
        "max_position_embeddings": CONTEXT, "decoder_start_token_id": tokenizer.eos_token_id,
        "forced_eos_token_id": None,
    }  # fmt: skip
    return BartForConditionalGeneration(BartConfig(**{**settings, **_special(tokenizer), **changes}))


def _llama(tokenizer: PreTrainedTokenizerFast, changes: dict[str, Any]) -> Any:
    return LlamaForCausalLM(LlamaConfig(**{**_decoder(), **_special(tokenizer), **changes}))


def _qwen3(tokenizer: PreTrainedTokenizerFast, changes: dict[str, Any]) -> Any:
    own = {"head_dim": 32, "tie_word_embeddings": True}
    return Qwen3ForCausalLM(Qwen3Config(**{**_decoder(), **own, **_special(tokenizer), **changes}))


def _decoder() -> dict[str, Any]:
    return {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": CONTEXT,
    }  # fmt: skip


def _special(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _t5_tokenizer() -> PreTrainedTokenizerFast:
    """Unigram over words with a visible space, an end of text behind every prompt; as T5's, without a first token."""
    raw = Tokenizer(models.Unigram())
    raw.normalizer = normalizers.NFKC()
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    raw.train_from_iterator(
        corpus(),
        trainers.UnigramTrainer(vocab_size=VOCABULARY, special_tokens=special, unk_token="<unk>", show_progress=False),
    )
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def _bart_tokenizer() -> PreTrainedTokenizerFast:
    """Lowercasing word pieces between a first and a last token."""
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece(cleanup=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    raw.train_from_iterator(
        corpus(), trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
    )
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[CLS]",
        eos_token="[SEP]",
        clean_up_tokenization_spaces=True,
    )


def _bytes(special: list[str]) -> Tokenizer:
    """Byte-level BPE: characters outside ASCII take several tokens."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\w+| ?[^\w\s]+|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        corpus(),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return raw


def _llama_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, with a first token before every prompt, no padding token, and a template that begins with it too."""
    raw = _bytes(["<s>", "</s>"])
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", chat_template=NO_SYSTEM)


def _qwen3_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, without a first token; ChatML; the marks of reasoning are ordinary tokens."""
    raw = _bytes(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    raw.add_tokens(["<think>", "</think>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<|endoftext|>", eos_token="<|im_end|>", chat_template=CHATML
    )


_TOKENIZERS = {"t5": _t5_tokenizer, "bart": _bart_tokenizer, "llama": _llama_tokenizer, "qwen3": _qwen3_tokenizer}
_MODELS = {"t5": _t5, "bart": _bart, "llama": _llama, "qwen3": _qwen3}
