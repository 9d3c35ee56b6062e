"""How the bot is: ``GET /health`` and ``GET /metrics`` on loopback, where ``BOT_PORT`` says so.

Health is JSON with status 200 while every configured platform is connected and 503 otherwise; metrics are Prometheus'.
Neither holds a name, a text or a token. The figures are asked for when somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

#: Figures by platform: ``connected`` (0 or 1), ``connections``, ``deliveries``, ``silence_seconds``.
Figures = Mapping[str, Mapping[str, float]]

_ABOUT = {
    "connected": "1 while the platform is connected.",
    "connections": "Connections made since the start.",
    "deliveries": "Deliveries that came.",
    "silence_seconds": "Seconds since something was heard.",
}


class HealthServer:
    """Answers on one port of this machine.

    Args:
        platforms: the figures now.
        jobs: jobs under way in this process now.
    """

    def __init__(self, platforms: Callable[[], Figures], jobs: Callable[[], int]) -> None:
        self._platforms, self._jobs = platforms, jobs
        self._registry = CollectorRegistry()
        self._gauges = {
            name: Gauge(f"redraft_chat_{name}", about, ["platform"], registry=self._registry)
            for name, about in _ABOUT.items()
        }
        self._running = Gauge("redraft_chat_jobs_running", "Jobs under way in this process.", registry=self._registry)
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> int:
        """Listen; the port, which is a free one where 0 was asked for.

        Raises:
            OSError: the port is taken.
        """
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, _request: web.Request) -> web.Response:
        platforms = self._platforms()
        well = all(figures.get("connected") for figures in platforms.values())
        body = {
            "state": "up" if well else "degraded",
            "jobs_running": self._jobs(),
            "platforms": {name: dict(figures) for name, figures in platforms.items()},
        }
        return web.json_response(body, status=200 if well else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        for platform, figures in self._platforms().items():
            for name, value in figures.items():
                if name in self._gauges:
                    self._gauges[name].labels(platform).set(value)
        self._running.set(self._jobs())
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"})
