"""One request from a conversation to a summary: planned, submitted, merged, streamed.

The :class:`Summarizer` holds no model: it hands prompts (:mod:`engine.planning`) to a
:class:`engine.protocols.RowSubmitter` and makes events of what comes back. Its heavy steps (counting tokens, indexing
the messages) run on a thread, so that the event loop stays free. It knows neither torch nor the database nor who asks.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from engine.planning import BRIEF_TOKENS, PART_TOKENS, Plan, Planner
from engine.protocols import Generated, Row, RowHandle, RowSubmitter
from engine.requests import (
    Coverage,
    Event,
    Finished,
    ModelInfo,
    Progress,
    Queued,
    SentenceWritten,
    SummaryRequest,
    SummaryResult,
)
from engine.text.parts import CountTokens, groups
from engine.text.prompts import PROMPT_VERSION, options_of
from engine.text.sentences import join_sentences
from engine.text.stream import Knowledge, SentenceStream
from engine.text.words import unique
from storage.errors import EngineError

NOTE_TOO_SHORT = "The conversation is too short to go through in parts, so this is no more detailed than usual."
_BRIEF_SENTENCES = 2


class Summarizer:
    """Writes summaries with one loaded model.

    Args:
        info: the model.
        count_tokens: see :meth:`engine.protocols.TextModel.count_tokens`.
        render_chat: see :meth:`engine.protocols.TextModel.render_chat`.
        submitter: where prompts go.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        info: ModelInfo,
        count_tokens: CountTokens,
        render_chat: Callable[[str, str], str],
        submitter: RowSubmitter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._info = info
        self._count = count_tokens
        self._planner = Planner(info, count_tokens, render_chat)
        self._submitter = submitter
        self._clock = clock

    async def summarize(
        self, request: SummaryRequest, *, adapter: str = "base", request_key: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Events of one summary, ending in one ``Finished``; closing the iterator cancels its rows.

        Args:
            request: what to summarise; its ``adapter`` has been resolved by the caller, into ``adapter``.
            adapter: id of the adapter that writes, or ``base``.
            request_key: what the batcher counts the request by; made up when None.

        Raises:
            OptionNotHonoured: the model cannot do what an option asks for.
            InputError: nothing in the conversation can be summarised, or nothing is about the focus.
            EngineBusy: the queue is full.
            EngineError: the model wrote nothing, or could not finish.
        """
        began = self._clock()
        options = options_of(request, self._info)
        plan = await asyncio.to_thread(self._planner.plan, request, options, adapter)
        run = _Run(self._submitter, request_key or uuid.uuid4().hex)
        try:
            handles = await run.submit(plan.rows)
            # The messages are indexed while the model reads.
            indexing = asyncio.create_task(asyncio.to_thread(Knowledge.of, plan.messages, uncased=self._info.uncased))
            if handles[0].ahead > 0:
                yield Queued(handles[0].ahead)
            knowledge = await indexing
            parts = len(plan.rows)
            if parts > 1 and not plan.keep_parts:
                summaries: list[str] = [""] * parts
                done = 0
                async with aclosing(run.as_they_end(handles)) as ended:
                    async for at, generated in ended:
                        summaries[at] = self._part_summary(generated, knowledge)
                        done += 1
                        yield Progress(done, parts + 1)
                handles = await run.submit([await self._merged(run, summaries, plan, knowledge, adapter)])
            streams = []
            for at, handle in enumerate(handles):
                stream = self._stream(knowledge, brief=options.style == "brief")
                streams.append(stream)
                async with aclosing(run.streamed(handle, stream)) as written:
                    async for event in written:
                        yield event
                if parts > 1 and plan.keep_parts:
                    yield Progress(at + 1, parts)
            if parts > 1 and not plan.keep_parts:
                yield Progress(parts + 1, parts + 1)
            result = self._result(request, plan, run, streams, adapter, self._clock() - began)
        finally:
            run.cancel()
        yield Finished(result)

    # After the model -----------------------------------------------------------------------------------------------

    def _stream(self, knowledge: Knowledge, *, brief: bool = False, judge: bool = True) -> SentenceStream:
        return SentenceStream(
            knowledge,
            most=_BRIEF_SENTENCES if brief else None,
            one_paragraph=self._planner.prompter.family == "completion",
            judge=judge,
        )

    def _part_summary(self, generated: Generated, knowledge: Knowledge) -> str:
        """A part's summary after the output filter, on one line; empty when the model wrote nothing."""
        stream = self._stream(knowledge, judge=False)
        stream.finish(generated.text, cut_short=generated.stopped == "length")
        return " ".join(sentence.text for sentence in stream.sentences)

    async def _merged(self, run: _Run, summaries: list[str], plan: Plan, knowledge: Knowledge, adapter: str) -> Row:
        """The row that writes the final summary; more part summaries than fit are merged in levels before it."""
        texts = [text for text in summaries if text]
        if not texts:
            raise _wrote_nothing(self._info)
        longest = self._info.max_new_tokens
        room = self._planner.room(plan.options, merging=True)
        while True:
            grouped = await asyncio.to_thread(groups, texts, budget=room, count_tokens=self._count)
            final = len(grouped) == 1
            budget = longest if final else min(longest, PART_TOKENS, max(32, room // 3))
            if final and plan.options.style == "brief":
                budget = min(longest, BRIEF_TOKENS)
            prompts = [self._planner.prompter.merge(group, plan.options) for group in grouped]
            counts = await asyncio.to_thread(self._count, prompts)
            rows = [
                Row(prompt, budget, adapter=adapter, prompt_tokens=tokens)
                for prompt, tokens in zip(prompts, counts, strict=True)
            ]
            if final:
                return rows[0]
            shorter = [""] * len(rows)
            async with aclosing(run.as_they_end(await run.submit(rows))) as ended:
                async for at, generated in ended:
                    shorter[at] = self._part_summary(generated, knowledge)
            texts = [text for text in shorter if text]
            if not texts:
                raise _wrote_nothing(self._info)

    def _result(
        self,
        request: SummaryRequest,
        plan: Plan,
        run: _Run,
        streams: Sequence[SentenceStream],
        adapter: str,
        seconds: float,
    ) -> SummaryResult:
        sentences = tuple(sentence for stream in streams for sentence in stream.sentences)
        if not sentences:
            raise _wrote_nothing(self._info)
        notes = [note for stream in streams for note in stream.notes]
        if plan.keep_parts and len(plan.rows) == 1 and self._planner.prompter.family != "chat":
            notes.append(NOTE_TOO_SHORT)
        return SummaryResult(
            summary=join_sentences(sentence.text for sentence in sentences),
            sentences=sentences,
            coverage=_coverage(plan),
            model=self._info.label,
            adapter=adapter,
            prompt_version=PROMPT_VERSION,
            style=request.style,
            focus=plan.options.focus,
            input_tokens=run.input_tokens,
            output_tokens=run.output_tokens,
            seconds=seconds,
            demonstration=self._info.demonstration,
            notes=tuple(unique(notes)),
        )


class _Run:
    """The rows of one request: submitted under one key, added up, and cancelled together."""

    def __init__(self, submitter: RowSubmitter, key: str) -> None:
        self._submitter = submitter
        self._key = key
        self._open: list[RowHandle] = []
        self.input_tokens = 0
        self.output_tokens = 0

    async def submit(self, rows: Sequence[Row]) -> list[RowHandle]:
        handles = list(await self._submitter.submit(rows, self._key))
        self._open.extend(handles)
        return handles

    async def _result(self, handle: RowHandle, *, expected_cancel: bool = False) -> Generated:
        generated = await handle.result()
        self._open.remove(handle)
        self.input_tokens += generated.input_tokens
        self.output_tokens += generated.output_tokens
        if generated.stopped == "cancelled" and not expected_cancel:
            raise EngineError("The request was cancelled before it had finished.", "Please ask again.")
        return generated

    async def as_they_end(self, handles: Sequence[RowHandle]) -> AsyncGenerator[tuple[int, Generated], None]:
        """Place and answer of each row, in the order in which they end."""
        waiting = {asyncio.ensure_future(self._result(handle)): at for at, handle in enumerate(handles)}
        try:
            while waiting:
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield waiting.pop(task), task.result()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def streamed(self, handle: RowHandle, stream: SentenceStream) -> AsyncGenerator[SentenceWritten, None]:
        """Sentences of one row as they are finished; a row that has said enough is cancelled."""
        async for text in handle.texts():
            for sentence in stream.feed(text):
                yield SentenceWritten(sentence)
            if stream.stopped:
                handle.cancel()
                break
        generated = await self._result(handle, expected_cancel=stream.stopped)
        if not stream.stopped:
            for sentence in stream.finish(generated.text, cut_short=generated.stopped == "length"):
                yield SentenceWritten(sentence)

    def cancel(self) -> None:
        """Cancel what has not been answered yet."""
        for handle in self._open:
            handle.cancel()


def _coverage(plan: Plan) -> Coverage:
    times = sorted(message.time for message in plan.messages if message.time is not None)
    return Coverage(
        messages=len(plan.messages),
        left_out=plan.left_out,
        authors=len({message.author_id or message.author for message in plan.messages}),
        first=times[0].isoformat() if times else "",
        last=times[-1].isoformat() if times else "",
        parts=len(plan.rows),
    )


def _wrote_nothing(info: ModelInfo) -> EngineError:
    return EngineError(
        f"The model {info.name} wrote nothing for this conversation.", "Try another style, or another model."
    )
