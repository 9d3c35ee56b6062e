"""What an engine counts, for Prometheus: requests, queue, batches, tokens, seconds. Never any text, never any name.

It keeps a registry of its own, so that several engines in one process (tests) do not collide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from engine.worker import BatchDone

if TYPE_CHECKING:
    from engine.service import EngineService

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """An :class:`engine.service.Observer` that Prometheus can read."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter("redraft_requests", "Requests by outcome.", ["outcome"], registry=registry)
        self._request_seconds = Histogram(
            "redraft_request_seconds", "From admission to the end.", ["outcome"], buckets=_SECONDS, registry=registry
        )
        self._running = Gauge("redraft_running", "Requests being worked on.", registry=registry)
        self._waiting = Gauge("redraft_waiting", "Requests in the queue.", registry=registry)
        self._restarts = Gauge("redraft_restarts", "Starts by the supervisor after the first.", registry=registry)
        self._batch_rows = Histogram("redraft_batch_rows", "Prompts in a batch.", buckets=_ROWS, registry=registry)
        self._batch_seconds = Histogram(
            "redraft_batch_seconds", "Time a batch took.", buckets=_SECONDS, registry=registry
        )
        self._failures = Counter("redraft_batch_failures", "Batches that failed.", registry=registry)
        self._tokens = Counter(
            "redraft_tokens", "Tokens read (in) and written (out).", ["direction"], registry=registry
        )
        self._summaries = Counter("redraft_summaries", "Summaries by adapter.", ["adapter"], registry=registry)
        self._attached = Gauge("redraft_adapters", "Adapters that are attached.", registry=registry)
        self._refusals = Counter("redraft_adapter_refusals", "Adapters that were refused.", registry=registry)
        self._held = Gauge("redraft_held", "1 while the model is let go of for a fine-tune.", registry=registry)
        self._model = Info("redraft_model", "The model that serves.", registry=registry)
        for outcome in ("finished", "cancelled", "busy", "refused", "failed"):
            self._requests.labels(outcome)
            self._request_seconds.labels(outcome)
        for direction in ("in", "out"):
            self._tokens.labels(direction)

    def batch(self, done: BatchDone) -> None:
        """Count a batch; from the worker's thread."""
        self._batch_rows.observe(done.rows)
        self._batch_seconds.observe(done.seconds)
        self._tokens.labels("in").inc(done.input_tokens)
        self._tokens.labels("out").inc(done.output_tokens)
        if done.failed:
            self._failures.inc()

    def request(self, outcome: str, seconds: float) -> None:
        """Count a request that has ended."""
        self._requests.labels(outcome).inc()
        self._request_seconds.labels(outcome).observe(seconds)

    def summary(self, adapter: str) -> None:
        """Count a summary that was written by ``adapter``."""
        self._summaries.labels(adapter).inc()

    def adapter_refused(self, adapter: str) -> None:
        """Count an adapter that was refused; which one is in the log and in health."""
        self._refusals.inc()

    def exposition(self, service: EngineService) -> bytes:
        """Everything in Prometheus' text format, with the state of ``service`` at this moment."""
        health = service.health()
        self._running.set(health.running)
        self._waiting.set(health.waiting)
        self._restarts.set(health.restarts)
        self._attached.set(len(health.adapters))
        self._held.set(health.held)
        if health.model is not None:
            model = health.model
            self._model.info(
                {"name": model.label, "type": model.model_type, "device": model.device, "weights": model.representation}
            )
        return generate_latest(self._registry)
