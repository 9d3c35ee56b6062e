"""A model's tokenizer as the engine uses it: count from any thread, encode prompts, write text out as it grows.

Knows the tokenizer and the model's kind (encoder-decoder or not), nothing of weights or batches. Text from people
cannot spell control: special tokens in it, and the bracketed marks that a chat template writes around messages (such as
``[INST]``), are broken up before the model reads them. Marks of a template that are mere words are not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Sequence
from typing import Any

#: Marks of a reasoning block. They are ordinary tokens in the vocabularies that have them.
_THINK, _END_THINK = "<think>", "</think>"
#: Tokens decoded anew at every step: enough for any character, and for the clean-up around punctuation.
_OVERLAP, _WINDOW = 8, 24
_HALF = "\ufffd"
#: What a template's own words around messages may mark a turn with, where that is no special token.
_MARK = re.compile(r"<[^\s<>]+>|\[/?\w+\]")
#: Stand for messages while a template's own words are looked at.
_SAMPLES = ("redraftsystemsample", "redraftusersample", "redraftanswersample")


#: Cases that tokenizers treat differently: case, figures, spaces, accents, other scripts, signs.
_PROBES = (
    "Ana paid 1,204.50 EUR at 14:30.",
    "  two  spaces\tand\n lines",
    "caf\u00e9 Z\u00fcrich NA\u00cfVE",
    "\u4f60\u597d \U0001f600 \u2014 don't",
)


class Tokens:
    """The tokenizer of a loaded model.

    Args:
        tokenizer: a transformers tokenizer; left to the worker's thread.
        encoder_decoder: whether the model has an encoder.
    """

    def __init__(self, tokenizer: Any, *, encoder_decoder: bool) -> None:
        self.tokenizer = self._tokenizer = tokenizer
        self._encoder_decoder = encoder_decoder
        self.chat = bool(getattr(tokenizer, "chat_template", None)) and not encoder_decoder
        self._bos: str = getattr(tokenizer, "bos_token", None) or ""
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self._special_ids = set(tokenizer.all_special_ids) | {i for i, token in added.items() if token.special}
        # Fast tokenizers are changed by every call that pads or truncates, and raise "Already borrowed" when another
        # thread is inside; this copy is set up once and only read, which is safe from any thread.
        self._backend = _copy_of_backend(tokenizer)
        self._lock = threading.Lock()
        control = {tokenizer.convert_ids_to_tokens(i) for i in self._special_ids} | {_THINK, _END_THINK}
        self._control = sorted(control | (self._marks() if self.chat else set()), key=len, reverse=True)

    @property
    def uncased(self) -> bool:
        """Whether text is lowercased before it is cut into tokens."""
        normalizer = getattr(self._backend, "normalizer", None)
        return normalizer is not None and "a" in normalizer.normalize_str("A")

    def sha256(self) -> str:
        """What the tokenizer does to text, as a hash in hexadecimal: vocabulary, samples, chat template.

        By its behaviour rather than its files, which newer libraries write otherwise. Safe from any thread; 0.2 s for
        a vocabulary of 150,000.
        """
        with self._lock:
            vocabulary = sorted(self._tokenizer.get_vocab().items())
            template = str(getattr(self._tokenizer, "chat_template", None) or "") if self.chat else ""
        what = [vocabulary, sorted(self._special_ids), self.encode(_PROBES), template]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included; safe from any thread.

        A chat model's prompt comes from :meth:`render_chat` and is taken as it is, with the control tokens that the
        template wrote. In any other prompt only the first token may stand, and then it is not added a second time.
        """
        if not texts:
            return []
        begun = [self.chat or bool(self._bos and text.startswith(self._bos)) for text in texts]
        texts = [text if self.chat else self._as_plain_prompt(text) for text in texts]
        found: list[list[int]] = [[] for _ in texts]
        for special in (True, False):
            chosen = [i for i, done in enumerate(begun) if done is not special]
            for i, ids in zip(chosen, self._encode([texts[i] for i in chosen], special), strict=True):
                found[i] = ids
        return found

    def _encode(self, texts: list[str], special: bool) -> list[list[int]]:
        if not texts:
            return []
        if self._backend is not None:
            encoded = self._backend.encode_batch_fast(texts, add_special_tokens=special)
            return [encoding.ids for encoding in encoded]
        with self._lock:
            ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=special).input_ids
            return ids

    def encode_answers(self, texts: Sequence[str], *, spaced: bool = False) -> list[list[int]]:
        """Token ids of texts as the model would write them after a prompt: no special token among them.

        Args:
            texts: answers; special tokens that they spell out are broken up.
            spaced: whether an answer follows its prompt with a space between, which then belongs to the answer.
        """
        # A tokenizer that marks every word's beginning writes the first as it writes the others.
        alone, (_, *second) = self._encode(["a", "b a"], False)
        gap = " " if spaced and alone != second else ""
        return self._encode([gap + self._as_plain_text(text) for text in texts], False)

    def answer_end(self, ends: Sequence[int]) -> int | None:
        """The token that ends an answer: the first of ``ends`` that the chat template writes behind one.

        Args:
            ends: the tokens at which the model stops writing, by its own settings.
        """
        if self.chat:
            asked, said = {"role": "user", "content": _SAMPLES[1]}, {"role": "assistant", "content": _SAMPLES[2]}
            with contextlib.suppress(Exception), self._lock:  # a template refuses in its own ways
                text = str(self._tokenizer.apply_chat_template([asked, said], tokenize=False, enable_thinking=False))
                behind = self._tokenizer(text.rpartition(_SAMPLES[2])[2], add_special_tokens=False).input_ids
                for token in behind:
                    if token in ends:
                        return int(token)
        own = getattr(self._tokenizer, "eos_token_id", None)
        return int(own) if own is not None and (not ends or own in ends) else (ends[0] if ends else own)

    @property
    def first(self) -> int | None:
        """The token that the tokenizer puts in front of every text; None where there is none."""
        (one,) = self._encode(["a"], True)
        return one[0] if one and one[0] in self._special_ids else None

    def render_chat(self, system: str, user: str) -> str:
        """The prompt by the tokenizer's own template, up to where the answer begins.

        Thinking is switched off where the template knows of it. A template without a place for instructions (it
        refuses them, as Gemma's did, or leaves them out) gets them at the head of the user's message.
        """
        from jinja2 import TemplateError

        system, user = self._as_plain_text(system).strip(), self._as_plain_text(user).strip()
        asked = {"role": "user", "content": user}
        if system:
            try:
                text = self._render([{"role": "system", "content": system}, asked])
                if system in text:
                    return text
            except (TemplateError, ValueError, TypeError):
                pass  # the template refuses the role in its own words; if it refuses the rest too, that is raised below
            asked = {"role": "user", "content": f"{system}\n\n{user}"}
        return self._render([asked])

    def _render(self, messages: list[dict[str, str]]) -> str:
        with self._lock:
            return str(
                self._tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
                )
            )

    def _marks(self) -> set[str]:
        """Bracketed marks that the template writes around messages, with and without instructions and an answer."""
        system, user, answer = (
            {"role": role, "content": sample}
            for role, sample in zip(("system", "user", "assistant"), _SAMPLES, strict=True)
        )
        found: set[str] = set()
        for messages in ([system, user], [user, answer, user], [user]):
            # A template refuses a role in its own way; where that matters, render_chat raises.
            with contextlib.suppress(Exception):
                for piece in re.split("|".join(_SAMPLES), self._render(messages)):
                    found.update(_MARK.findall(piece))
        return found

    def _as_plain_prompt(self, text: str) -> str:
        """The text with control tokens broken up, but for a first token that it begins with."""
        if self._bos and text.startswith(self._bos):
            return self._bos + self._as_plain_text(text[len(self._bos) :])
        return self._as_plain_text(text)

    def _as_plain_text(self, text: str) -> str:
        """The text with every control token that it spells out broken up.

        The tokenizers' own switch for it does not do: a Unigram model such as T5's finds ``</s>`` among its pieces.
        """
        for token in self._control:
            if token in text and token.strip():
                text = text.replace(token, f"{token[:1]} {token[1:]}")
        return text

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, without special tokens; of the worker's thread."""
        kept = [i for i in ids if i not in self._special_ids]
        return str(self._tokenizer.decode(kept)) if kept else ""

    def writer(self) -> TextWriter:
        """A fresh text for one answer."""
        return TextWriter(self)


class TextWriter:
    """The text of one answer as its tokens come, in time linear in their number.

    Only the last tokens are decoded again at each step. Text before them is settled at places where it was seen that
    what follows no longer changes it: a character may take several tokens, and tokenizers that clean up spaces around
    punctuation look a few tokens back. The text never ends in half a character.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._settled = ""
        self._window: list[int] = []
        self._skip = 0  # characters of the decoded window that are in the settled text
        self._thinking: bool | None = None  # None until the first characters have shown whether it begins so
        self._cut = 0  # characters of the raw text that the reasoning took

    def add(self, token: int) -> str:
        """Take one token; the whole text so far."""
        self._window.append(token)
        decoded = self._tokens.decode(self._window)
        raw = self._settled + decoded[self._skip :]
        if len(self._window) > _WINDOW:
            self._settle(decoded)
        return self._shown(raw)

    def _settle(self, decoded: str) -> None:
        """Move the window's older half into the settled text, if the tokens after it left it as it was."""
        begin = len(self._window) - 2 * _OVERLAP
        whole = self._tokens.decode(self._window[begin:])
        for end in range(len(self._window) - _OVERLAP, begin, -1):
            head = self._tokens.decode(self._window[:end])
            start = self._tokens.decode(self._window[begin:end])
            fits = decoded.startswith(head) and whole.startswith(start) and decoded[len(head) :] == whole[len(start) :]
            if fits and len(head) >= self._skip and not head.endswith(_HALF):
                self._settled += decoded[self._skip : len(head)]
                self._window = self._window[begin:]
                self._skip = len(start)
                return

    def _shown(self, raw: str) -> str:
        """What a person may see of the raw text: no leading reasoning, no half character, no outer spaces."""
        if self._thinking is None:
            begun = raw.lstrip()
            if begun.startswith(_THINK):
                self._thinking = True
            elif _THINK.startswith(begun):
                return ""  # too early to say
            else:
                self._thinking = False
        if self._thinking:
            end = raw.find(_END_THINK)
            if end < 0:
                return ""
            self._cut, self._thinking = end + len(_END_THINK), False
        text = raw[self._cut :].strip()
        while text.endswith(_HALF):
            text = text.rstrip(_HALF).rstrip()
        return text


def _copy_of_backend(tokenizer: Any) -> Any:
    """A copy of a fast tokenizer's Rust part without padding and truncation; None for one written in Python."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(backend.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy
