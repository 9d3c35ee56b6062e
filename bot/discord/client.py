"""Discord's API as this process uses it: discord.py's client, with what is refused told apart.

Rate limits, reconnects and resumes are the library's; here is where it is pointed to, what it is told to listen to and
keep (next to nothing), and what its errors mean. Message contents come by REST where they are wanted, so that no cache
of what people wrote is kept, and members are asked for one by one, so that no privileged intent is identified with.
No text and no token is logged here.
"""

from __future__ import annotations

import asyncio
import logging
import urllib.request
from collections.abc import Awaitable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route
from discord.utils import MISSING

from bot import texts
from bot.chat import Forbidden, MessageGone, NotThere
from bot.jobs import Later
from bot.settings import DISCORD_API
from storage.errors import RedraftError, SettingsError

#: Longest wait for a rate limit within a call; beyond it the job that called is done later.
_PATIENCE_S = 45.0
#: Discord's codes (https://discord.com/developers/docs/topics/opcodes-and-status-codes).
UNKNOWN_CHANNEL, UNKNOWN_GUILD, UNKNOWN_MEMBER, UNKNOWN_MESSAGE = 10003, 10004, 10007, 10008
UNKNOWN_WEBHOOK, UNKNOWN_INTERACTION, UNKNOWN_USER = 10015, 10062, 10013
ALREADY_ACKNOWLEDGED, TOKEN_INVALID = 40060, 50027
MISSING_ACCESS, NO_DIRECT_MESSAGES, MISSING_PERMISSIONS = 50001, 50007, 50013
_ARCHIVED, _LOCKED, _SYSTEM_CHANNEL = 50083, 160005, 50008

T = TypeVar("T")


class TokenRefused(SettingsError):
    """Discord does not take the token any more."""


class TokenOver(RedraftError):
    """An interaction's token is of no use (any more): fifteen minutes have passed, or it never was acknowledged."""


class NoDirectMessages(RedraftError):
    """A person takes no messages from the app."""


class DiscordRefused(RedraftError):
    """Discord refused a call for a reason that nobody in a chat can act on; ``code`` is Discord's number for it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Discord refused a call ({code}).", "Run `redraft doctor`, which checks the app.")
        self.code = code


class Client(discord.AutoShardedClient):
    """discord.py's client, which keeps no messages and no members, and pings nobody."""

    def __init__(self, api_url: str) -> None:
        intents = discord.Intents.none()
        intents.guilds = intents.guild_messages = True
        super().__init__(
            intents=intents,
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            allowed_mentions=discord.AllowedMentions.none(),
            max_ratelimit_timeout=_PATIENCE_S,
            proxy=_proxy(api_url),
        )


class Discord:
    """Discord for the rest of this package.

    Args:
        token: the bot's.
        api_url: of the REST API, without a slash at its end; the gateway's address comes from there.

    Attributes:
        client: discord.py's.
        refused: set once Discord has refused the token to anybody here.
    """

    def __init__(self, token: str, api_url: str) -> None:
        self._token, self._api_url = token, api_url
        # The library logs requests with their bodies at DEBUG.
        logging.getLogger("discord").setLevel(logging.WARNING)
        # And the whole address of one that is limited at WARNING, an interaction's token in it.
        for name in ("discord.http", "discord.webhook"):
            logging.getLogger(name).setLevel(logging.ERROR)
        # Where the library's routes begin: the one place that it offers for another address.
        Route.BASE = api_url
        self.client = Client(api_url)
        self._log = structlog.get_logger("discord.client")
        self.refused = asyncio.Event()
        self._answering: list[type[discord.ui.DynamicItem[Any]]] = []

    def answer(self, *items: type[discord.ui.DynamicItem[Any]]) -> None:
        """Have these answer the buttons of messages, those from before this process included."""
        self._answering += items
        self.client.add_dynamic_items(*items)

    async def login(self) -> None:
        """Learn who we are.

        Raises:
            TokenRefused: the token is of no use.
            Later: Discord cannot be reached.
        """
        try:
            await self.client.login(self._token)
        except discord.LoginFailure as error:
            raise self._token_refused() from error
        except Exception as error:
            raise self.told(error) from error

    async def listen(self) -> None:
        """Be connected to the gateway until cancelled, whatever happens to it.

        Raises:
            TokenRefused: the token is of no use any more.
            SettingsError: Discord lets this app not connect, for a reason that is a person's to mend.
        """
        wait, logged_in = 1.0, True
        while True:
            started = asyncio.get_running_loop().time()
            try:
                if self.client.is_closed():
                    self.client.clear()  # which forgets what answers buttons, and keeps connections that are closed
                    self.client.add_dynamic_items(*self._answering)
                    self.client.http.connector = MISSING
                    logged_in = False
                if not logged_in:
                    await self.login()
                    logged_in = True
                if self._api_url != DISCORD_API:
                    # The library goes back to Discord's own gateway where a session cannot be resumed.
                    _, gateway, _ = await self.client.http.get_bot_gateway()
                    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
                await self.client.connect(reconnect=True)
            except discord.PrivilegedIntentsRequired as error:
                raise SettingsError(
                    "Discord does not allow this app the intents that it asks for.",
                    "Run `redraft doctor`, which names the switch.",
                ) from error
            except discord.ConnectionClosed as error:
                if error.code == 4004:
                    raise self._token_refused() from error
                if error.code in (4010, 4011, 4012, 4013):
                    raise SettingsError(
                        f"Discord's gateway does not take this app ({error.code}).",
                        "Run `redraft doctor`, and look at the app in the developer portal.",
                    ) from error
            except SettingsError:
                raise
            except (Later, discord.DiscordException, aiohttp.ClientError, TimeoutError, OSError) as error:
                self._log.warning("the gateway cannot be reached", reason=type(error).__name__)
            except Exception as error:
                # What the library could not read of a delivery ends its connection, and not this process.
                self._log.error("the connection broke", exc_info=error)
            if asyncio.get_running_loop().time() - started > 60.0:
                wait = 1.0
            await asyncio.sleep(wait)
            wait = min(2 * wait, 60.0)

    async def call(self, doing: Awaitable[T]) -> T:
        """Await a call of the library; what it is refused with comes out as an error of ours.

        Raises:
            TokenRefused: the token is of no use any more.
            NotThere: the place is not there for the app, or it may not do that there; ``MessageGone``, a message.
            TokenOver: an interaction's token is of no use.
            NoDirectMessages: a person takes no messages from the app.
            Later: Discord asks for patience, or cannot be reached.
            DiscordRefused: anything else.
        """
        try:
            return await doing
        except Exception as error:
            told = self.told(error)
            if isinstance(told, TokenRefused):
                self.refused.set()
            raise told from error

    async def request(
        self, method: str, path: str, body: Any = None, *, query: dict[str, Any] | None = None, **parameters: Any
    ) -> Any:
        """A request by the library's limiter, for what the library has no way of its own to do; see :meth:`call`.

        Answers outlive the objects that the library could change them by, of which a token is left; and one message of
        an unknown kind must not make a page of history unreadable.
        """
        given: dict[str, Any] = {} if body is None else {"json": body}
        if query:
            given["params"] = query
        return await self.call(self.client.http.request(Route(method, path, **parameters), **given))

    def told(self, error: BaseException) -> Exception:
        """What an error of the library means."""
        match error:
            case discord.RateLimited():
                return Later(error.retry_after)
            case discord.HTTPException(status=401) if error.code != TOKEN_INVALID:
                return self._token_refused()
            case discord.HTTPException():
                return _of_code(error.code, error.status)
            case discord.GatewayNotFound() | aiohttp.ClientError() | TimeoutError() | OSError():
                return Later(5.0)
            case discord.InvalidData():
                return NotThere(texts.CHANNEL_GONE)
            case RuntimeError() if self.client.is_closed():
                return Later(2.0)
            case Exception():
                return error
        raise error

    def _token_refused(self) -> TokenRefused:
        return TokenRefused(
            "Discord does not take the bot's token.",
            "Reset it on the Bot page of the developer portal, and set DISCORD_BOT_TOKEN to the new one.",
        )

    @property
    def app(self) -> int:
        """The application's id."""
        found = self.client.application_id
        assert found is not None
        return found

    def guild(self, guild_id: int) -> discord.Guild:
        """A guild as the gateway tells of it, roles and channels included.

        Raises:
            NotThere: the app is not in it.
            Later: the gateway does not tell of it at the moment.
        """
        found = self.client.get_guild(guild_id)
        if found is None:
            if not self.client.is_ready():
                raise Later(1.0)
            raise NotThere(texts.GUILD_LEFT)
        if found.unavailable:
            raise Later(5.0)
        return found

    async def close(self) -> None:
        """Let go of the connections."""
        if not self.client.is_closed() and self.client.loop is not None:
            await self.client.close()


def _of_code(code: int, status: int) -> Exception:
    match code:
        case _ if status == 429:
            return Later(30.0)
        case 10008:
            return MessageGone(texts.THREAD_GONE)
        case 10003:
            return ChannelGone(texts.CHANNEL_GONE)
        case 10004:
            return NotThere(texts.GUILD_LEFT)
        case 10015 | 10062 | 50027:
            return TokenOver("An interaction's token is over.")
        case 50007:
            return NoDirectMessages("A person takes no messages from the app.")
        case 10007 | 10013:
            return Forbidden(texts.NOT_YOURS_HERE)
        case 50001:
            return NotThere(texts.NO_ACCESS)
        case 50013 | 50008 | 160005 | 50083:
            return NotThere(texts.CANNOT_POST)
        case _ if status >= 500:
            return Later(5.0)
        case _:
            return DiscordRefused(code or status)


class ChannelGone(NotThere):
    """The channel or thread was deleted: nothing in it is there any more."""


def _proxy(api_url: str) -> str | None:
    """The proxy of the environment, where one is named for that address."""
    parts = urlsplit(api_url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)
