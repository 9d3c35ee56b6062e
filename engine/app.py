"""The engine's HTTP surface: three routes behind one token. It translates; what it serves is :mod:`engine.service`.

``POST /v1/summaries`` streams NDJSON (:mod:`engine.wire`), ``GET /health`` and ``GET /metrics`` answer at any time,
also while the model loads. A client that goes away cancels its request. What people wrote is never logged.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI, Request
from starlette.responses import JSONResponse, Response

from engine import wire
from storage.errors import EngineBusy, EngineUnavailable, InputError, NotPermitted, OptionNotHonoured, RedraftError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from engine.metrics import Metrics
    from engine.requests import Event
    from engine.service import EngineService

_STATUS: tuple[tuple[type[RedraftError], int], ...] = (
    (NotPermitted, 401),
    (EngineBusy, 429),
    (EngineUnavailable, 503),
    (InputError, 422),
    (OptionNotHonoured, 422),
)


def build_app(service: EngineService, metrics: Metrics, token: str) -> FastAPI:
    """The application of one engine; ``token`` is what every caller has to show."""
    expected = f"Bearer {token}".encode()

    async def authorised(request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, expected):
            raise NotPermitted("The engine does not know this token.", "Use the one in this engine's data directory.")

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(authorised)])

    @app.exception_handler(RedraftError)
    async def refused(request: Request, error: RedraftError) -> Response:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return JSONResponse(wire.error_document(error), status_code=status)

    @app.get("/health")
    async def health() -> Response:
        return Response(wire.encode_health(service.health()), media_type="application/json")

    @app.get("/metrics")
    async def exposition() -> Response:
        return Response(metrics.exposition(service), media_type="text/plain; version=0.0.4")

    @app.post("/v1/summaries")
    async def summaries(request: Request) -> Response:
        service.refuse_if_draining()
        asked = wire.decode_request(await _body(request))
        events = service.summarize(asked)
        # The first event comes with admission: a refusal still gets a status of its own.
        first = await anext(events)
        return EventStream(events, first)

    return app


async def _body(request: Request) -> bytearray:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > wire.MAX_REQUEST_BYTES:
            wire.decode_request(body)  # says so
    return body


class EventStream(Response):
    """Events as NDJSON, until they end or the client is gone; the events' iterator is closed in either case.

    Starlette's own streaming response cancels its iterator over and over once the client has gone, which cuts its
    clean-up short; this one cancels it once.
    """

    media_type = "application/x-ndjson"

    def __init__(self, events: AsyncGenerator[Event, None], first: Event) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._events = events
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the stream; ASGI's own signature."""
        tasks = {asyncio.create_task(self._write(send)), asyncio.create_task(_gone(receive))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._events.aclose()

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await _send_line(send, wire.encode_event(self._first))
        while True:
            step = asyncio.ensure_future(anext(self._events, None))
            try:
                while not step.done():
                    await asyncio.wait({step}, timeout=wire.HEARTBEAT_S)
                    if not step.done():
                        await _send_line(send, b"\n")
            except BaseException:
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)
                raise
            try:
                event = step.result()
            except Exception as error:
                await _send_line(send, wire.encode_error(error))
                break
            if event is None:
                break
            await _send_line(send, wire.encode_event(event))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_line(send: Send, line: bytes) -> None:
    await send({"type": "http.response.body", "body": line, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
