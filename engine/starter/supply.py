"""Batches for the starter's training, made by other processes ahead of the step that wants them.

On two cores the model is the slow part, and batches are made in between; on a GPU making them would be. A batch is a
function of seed, stage, step and rank, whoever makes it.
"""

from __future__ import annotations

import json
import multiprocessing
import random
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from engine.starter import stages, vocabulary
from engine.starter.tasks import Corpus

#: Batches under way for each process that makes them.
_AHEAD = 3
_corpus: Corpus | None = None


class Supply:
    """The batches of one stage, in order of their steps, from ``first`` on.

    Args:
        corpus: what batches are drawn from in this process.
        opened: data and work folder, from which other processes open the same corpus.
        processes: how many make batches; 0 for this one, when asked.
    """

    def __init__(
        self,
        corpus: Corpus,
        opened: tuple[Path, Path],
        stage: stages.Stage,
        first: int,
        *,
        seed: int,
        rank: int,
        processes: int,
    ) -> None:
        self._corpus, self._stage, self._name = corpus, stage, f"{seed}/{stage.name}"
        self._rank, self._next = rank, first
        self._waiting: deque[Future[dict[str, Tensor]]] = deque()
        self._pool = (
            ProcessPoolExecutor(
                processes, mp_context=multiprocessing.get_context("spawn"), initializer=_open, initargs=opened
            )
            if processes
            else None
        )
        self._ahead = _AHEAD * processes

    def __enter__(self) -> Supply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def take(self) -> dict[str, Tensor]:
        """The tensors of the next step, on the CPU."""
        if self._pool is None:
            rows = _made(self._corpus, self._stage, f"{self._name}/{self._next}/{self._rank}")
            self._next += 1
            return rows
        while len(self._waiting) < self._ahead and self._next < self._stage.steps:
            key = f"{self._name}/{self._next}/{self._rank}"
            self._waiting.append(self._pool.submit(_made_there, self._stage, key))
            self._next += 1
        return self._waiting.popleft().result()


def _made(corpus: Corpus, stage: stages.Stage, key: str) -> dict[str, Tensor]:
    return stages.collate(stages.batch(corpus, stage, random.Random(key)), torch.device("cpu"))


def _open(data: Path, work: Path) -> None:
    """What a process that makes batches needs; each has one thread, there are many of them."""
    global _corpus
    torch.set_num_threads(1)
    _corpus = Corpus(data, vocabulary.build(json.loads((work / "vocabulary.json").read_text(encoding="utf-8"))))


def _made_there(stage: stages.Stage, key: str) -> dict[str, Tensor]:
    assert _corpus is not None
    return _made(_corpus, stage, key)
