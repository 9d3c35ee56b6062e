"""Rate limits of the local Discord: buckets by route and channel, guild or webhook; and one of the app."""

from __future__ import annotations

import hashlib
import math
import time
from typing import Any

from tests.discord_server.routes import BY_NAME, GLOBAL, Route

Headers = dict[str, str]


class Limits:
    """Counts requests, and says which are too many."""

    def __init__(self) -> None:
        #: Requests in so many seconds by a route's name; a test may set its own. None: not limited.
        self.of: dict[str, tuple[int, float] | None] = {name: route.limit for name, route in BY_NAME.items()}
        self.all_routes = GLOBAL
        #: Requests that were too many, by name.
        self.exceeded: list[str] = []
        self._windows: dict[tuple[str, ...], tuple[float, int]] = {}

    def take(self, route: Route, params: dict[str, str]) -> tuple[Headers, tuple[Headers, dict[str, Any]] | None]:
        """Count a request: the headers of its answer and, if it is one too many, the headers and body of a 429."""
        now = time.monotonic()
        if route.bot and (left := self._count(("all routes",), self.all_routes, 1.0, now)[1]) is not None:
            self.exceeded.append("global")
            return {}, too_many(left, everywhere=True)
        limit = self.of[route.name]
        if limit is None:
            return {}, None
        key = (route.name, *(params[name] for name in route.major if name in params))
        used, left = self._count(key, limit[0], limit[1], now)
        ends = self._windows[key][0] + limit[1]
        headers = self._headers(route, limit[0], max(0, limit[0] - used), ends - now)
        if left is None:
            return headers, None
        self.exceeded.append(route.name)
        more, body = too_many(left)
        return headers, (headers | more, body)

    def _count(self, key: tuple[str, ...], most: int, seconds: float, now: float) -> tuple[int, float | None]:
        began, used = self._windows.get(key, (now, 0))
        if now - began >= seconds:
            began, used = now, 0
        if used >= most:
            return used, began + seconds - now
        self._windows[key] = (began, used + 1)
        return used + 1, None

    @staticmethod
    def _headers(route: Route, limit: int, remaining: int, after: float) -> Headers:
        return {
            "X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": f"{time.time() + after:.3f}", "X-RateLimit-Reset-After": f"{max(after, 0.001):.3f}",
            "X-RateLimit-Bucket": hashlib.sha256(route.name.encode()).hexdigest()[:32],
        }  # fmt: skip


def too_many(left: float, *, everywhere: bool = False, shared: bool = False) -> tuple[Headers, dict[str, Any]]:
    """Headers and body of a 429, for so many seconds."""
    scope = "global" if everywhere else "shared" if shared else "user"
    headers = {"Retry-After": str(math.ceil(left)), "X-RateLimit-Scope": scope, "Via": "1.1 google"}
    if everywhere:
        headers["X-RateLimit-Global"] = "true"
    what = "The resource is being rate limited." if shared else "You are being rate limited."
    return headers, {"message": what, "retry_after": round(left, 3), "global": everywhere}
