"""Slack's Web API as this process uses it: paced by method tier, patient with rate limits, its refusals told apart.

Calls wait for their turn before they are made, so that a rate limit is met rarely; one that is met is waited out as
Slack says (``Retry-After``), and where that lasts too long the job that called is done later (:class:`bot.jobs.Later`),
never dropped. What Slack refuses comes out as an error of ours. No text and no token is logged here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.http_retry.request import HttpRequest
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot import texts
from bot.chat import Forbidden, MessageGone, NotThere
from bot.jobs import Later
from storage.errors import RedraftError, SettingsError

#: Calls a minute by tier (https://docs.slack.dev/apis/web-api/rate-limits); so many may also come at once.
_TIERS = {
    "apps.connections.open": 20,
    "auth.test": 100,
    "conversations.history": 50,
    "conversations.replies": 50,
    "conversations.info": 50,
    "conversations.members": 100,
    "users.info": 100,
    "chat.postMessage": 60,
    "chat.postEphemeral": 100,
    "chat.update": 50,
    "chat.delete": 50,
    "chat.startStream": 20,
    "chat.appendStream": 100,
    "chat.stopStream": 20,
    "views.open": 100,
    "views.update": 100,
    "views.publish": 100,
}
_RETRIES = 6
#: Done twice, it shows twice. Where it is not known whether Slack did it, whoever called looks first
#: (:meth:`bot.slack.messages.Messages.post`).
_NOT_REPEATED = ("/chat.postMessage",)
_TIMEOUT_S = 30
#: The token is of no use any more, or never was: nothing that this process does can mend it.
_FATAL = frozenset(
    ("invalid_auth", "not_authed", "token_revoked", "account_inactive", "token_expired", "org_login_required",
     "not_allowed_token_type", "app_uninstalled")
)  # fmt: skip
#: What asks for nothing but the token itself: what is refused there is refused for the token.
_OF_THE_TOKEN = frozenset(("auth.test", "apps.connections.open"))
_GONE = frozenset(("thread_not_found", "message_not_found"))


class TokenRefused(SettingsError):
    """Slack does not take a token any more."""


class SlackRefused(RedraftError):
    """Slack refused a call for a reason that nobody in a chat can act on; ``code`` is Slack's word for it."""

    def __init__(self, method: str, code: str) -> None:
        super().__init__(f"Slack refused {method}: {code}.", "Run `redraft doctor`, which checks the app's scopes.")
        self.method, self.code = method, code


class Pace:
    """A bucket for each method: as many calls at once as its tier allows a minute, and refilled at that rate.

    Args:
        share: of the documented rates.
        clock, sleep: for tests.
    """

    def __init__(
        self,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._share = share
        self._free_at: dict[str, float] = {}

    async def leisure(self, method: str) -> None:
        """Wait until half of a method's burst is free: for work that nobody waits for."""
        while (wait := self._free_at.get(method, 0.0) - self._clock() - 30.0) > 1e-6:
            await self._sleep(wait)

    async def turn(self, method: str) -> None:
        """Wait for a call's turn."""
        per_minute = _TIERS.get(method, 20)
        every, now = 60.0 / per_minute / self._share, self._clock()
        # One figure a bucket: when it would be full again; it may lie a minute ahead before anybody waits.
        full_at = max(self._free_at.get(method, now), now) + every
        self._free_at[method] = full_at
        wait = full_at - now - 60.0
        if wait > 1e-6:
            await self._sleep(wait)


class _ConnectionErrors(AsyncConnectionErrorRetryHandler):
    async def _can_retry_async(self, *, request: HttpRequest, **given: Any) -> bool:
        return not request.url.endswith(_NOT_REPEATED) and await super()._can_retry_async(request=request, **given)


class _ServerErrors(AsyncServerErrorRetryHandler):
    async def _can_retry_async(self, *, request: HttpRequest, **given: Any) -> bool:
        return not request.url.endswith(_NOT_REPEATED) and await super()._can_retry_async(request=request, **given)


class PacedClient(AsyncWebClient):
    """The SDK's client, each call in its turn."""

    pace: Pace

    async def api_call(self, api_method: str, **given: Any) -> AsyncSlackResponse:
        """See :meth:`AsyncWebClient.api_call`."""
        await self.pace.turn(api_method)
        return await super().api_call(api_method, **given)


class Slack:
    """Calls Slack; made within the running loop, closed at its end.

    Args:
        token: the bot's.
        base_url: of the Web API.
        pace: when calls are made.
    """

    def __init__(self, token: str, base_url: str, pace: Pace | None = None) -> None:
        quiet = logging.getLogger("slack-sdk")
        # The SDK logs requests with their parameters at DEBUG, and bodies where they are no JSON.
        quiet.setLevel(logging.CRITICAL)
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        self.web = PacedClient(
            token=token,
            base_url=base_url,
            session=self.session,
            logger=quiet,
            retry_handlers=[
                _ConnectionErrors(max_retry_count=3),
                _ServerErrors(max_retry_count=3),
                AsyncRateLimitErrorRetryHandler(max_retry_count=_RETRIES),
            ],
        )
        self.web.pace = pace or Pace()
        self._quiet = quiet
        #: Set once Slack has refused the token to anybody here.
        self.refused = asyncio.Event()

    async def call(self, method: str, **given: Any) -> dict[str, Any]:
        """Call a method by its name in the SDK (``chat_postMessage``) and give what it answered.

        Raises:
            TokenRefused: the token is of no use any more.
            NotThere: the channel, thread or message is not there for the app.
            Forbidden: the person is not in the channel any more.
            Later: Slack asks for patience, or cannot be reached.
            SlackRefused: anything else, by Slack's word for it.
        """
        name = method.replace("_", ".")
        try:
            answer = await getattr(self.web, method)(**given)
        except SlackApiError as error:
            told = _told(name, error)
            if isinstance(told, TokenRefused):
                self.refused.set()
            raise told from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Later(5.0) from error
        data = answer.data
        return data if isinstance(data, dict) else {}

    async def pages(self, method: str, **given: Any) -> AsyncIterator[dict[str, Any]]:
        """What a method with cursors answers, page by page; see :meth:`call`."""
        cursor = ""
        while True:
            page = await self.call(method, **given, **({"cursor": cursor} if cursor else {}))
            yield page
            cursor = str((page.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return

    async def respond(self, url: str, **message: Any) -> bool:
        """Answer by a ``response_url``; False where it is used up or expired."""
        try:
            hook = AsyncWebhookClient(url, session=self.session, logger=self._quiet, proxy=self.web.proxy)
            answer = await hook.send_dict(message)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Later(5.0) from error
        if answer.status_code == 429:
            raise Later(float(answer.headers.get("Retry-After", 5)))
        return answer.status_code == 200

    async def close(self) -> None:
        """Let go of the connections."""
        await self.session.close()


def _told(method: str, error: SlackApiError) -> Exception:
    response = error.response
    status = getattr(response, "status_code", 0)
    code = str(response.get("error") or "") if hasattr(response, "get") and status else ""
    if status == 429 or code == "ratelimited":
        wait = response.headers.get("Retry-After", "30")
        return Later(float(wait if str(wait).isdigit() else 30))
    if (
        status >= 500
        or not status
        or code in ("internal_error", "fatal_error", "service_unavailable", "request_timeout")
    ):
        return Later(5.0)
    if code in _FATAL or (code == "access_denied" and method in _OF_THE_TOKEN):
        return TokenRefused(
            f"Slack does not take the token any more ({code}).", "Reinstall the app and set its tokens in the .env."
        )
    if code == "user_not_in_channel":
        return Forbidden(texts.NOT_YOURS_ANY_MORE)
    if code == "not_in_channel" and method.startswith("conversations."):
        return NotThere(texts.NOT_IN_CHANNEL)
    if code in _GONE:
        return MessageGone(texts.THREAD_GONE)
    if code == "channel_not_found":
        return NotThere(texts.CHANNEL_GONE)
    return SlackRefused(method, code or f"HTTP {status}")
