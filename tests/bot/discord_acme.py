"""Acme, a guild on the local Discord with all that channels can hold: for tests that read more than plain talk.

All people are invented. ``tests/bot/discord_guild.py`` has the small team that most tests want, and the bot for it; the
names of what both have are the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from tests.discord_server import world
from tests.discord_server.seeds import JOINED
from tests.discord_server.server import DiscordServer
from tests.discord_server.world import Channel, Guild, Message, Role, User

PINNED, BOOSTED = 6, 8
#: A message of a bot's with a text in an embed, of a webhook's, of a sticker, of a poll, of a forward: nothing else.
EMBED, WEBHOOK, STICKER, POLL, FORWARD, FILE = "embed", "webhook", "sticker", "poll", "forward", "file"


class Acme:
    """The guild, its people and its places.

    Attributes:
        acme: the guild, in which the app has the role of its installation.
        ana, tomas, priya, kofi: colleagues; Ana has a nickname here. ``noor`` moderates: she sees every private thread.
        stella: on Discord, and not in the guild. ``relay`` is another bot.
        leads: a role of Ana's and Tomas's.
        general: a channel of all. ``secret``: of the leads and the app. ``elsewhere``: without the app.
        talk: a public thread under ``first``, a message of general's. ``whispers``: a private one of Ana, Tomas and
            the app; ``unheard``: one that the app is not in. ``closed``: a thread that is archived.
        help: a forum, with ``post`` in it. ``empty``: a channel in which nothing was ever said.
        odds: a channel of messages that have no text of their own, which ``odd`` names.
        tongues: a channel of texts that are hard on a reader, which ``said`` names.
        archive: a channel whose messages :meth:`fill` makes.
    """

    def __init__(self, server: DiscordServer) -> None:
        self.server = server
        self.acme: Guild = server.guild("Acme")
        self.ana, self.tomas, self.priya, self.kofi, self.noor = (
            server.person(name.lower(), name) for name in ("Ana", "Tomas", "Priya", "Kofi", "Noor")
        )
        self.stella: User = server.person("stella", "Stella")
        self.relay: User = server.person("relay", "Relay", bot=True)
        for one in (self.ana, self.tomas, self.priya, self.kofi, self.noor, self.relay):
            server.member(self.acme, one, nick="Ana from Porto" if one is self.ana else None)
        self.leads: Role = server.role(self.acme, "Leads")
        for one in (self.ana, self.tomas):
            self.acme.members[one.id].roles.append(self.leads.id)
        server.moderator(self.acme, self.noor)
        self.general: Channel = server.channel(self.acme, "general", topic="What everybody should know")
        self.secret: Channel = server.channel(self.acme, "secret", only=[self.leads, server.app_role(self.acme)])
        self.elsewhere: Channel = server.channel(self.acme, "elsewhere", only=[self.ana])
        self.empty: Channel = server.channel(self.acme, "empty")
        self.archive: Channel = server.channel(self.acme, "archive")
        self._threads()
        self.odds: Channel = server.channel(self.acme, "odds")
        self.odd: dict[str, Message] = dict(self._odds())
        self.tongues: Channel = server.channel(self.acme, "tongues")
        self.said: dict[str, Message] = {name: self._tongue(n, text) for n, (name, text) in enumerate(self._texts())}

    def _tongue(self, number: int, text: str) -> Message:
        return self.server.write(self.tongues, (self.ana, self.tomas)[number % 2], text, ago=3000.0 - 60 * number)

    # Places ----------------------------------------------------------------------------------------------------------

    def _threads(self) -> None:
        write, thread = self.server.write, self.server.thread
        self.first = write(self.general, self.ana, "The export to the partners fails since Monday.", ago=7000)
        self.talk: Channel = thread(self.general, "the export", self.ana, starter=self.first, ago=6900)
        self._say(self.talk, 6800, "Since the update of the library?", "Yes: it writes dates in another form.")
        self._say(self.talk, 6600, "I pin the old version until Friday.")
        self.whispers: Channel = thread(
            self.general, "the offer", self.ana, private=True, members=[self.tomas, self.server.app], ago=6000
        )
        self._say(self.whispers, 5900, "They offer 40,000 a year.", "We should ask for more.")
        self.unheard: Channel = thread(self.general, "the party", self.kofi, private=True, members=[self.priya])
        self._say(self.unheard, 500, "Cake at four, nobody tells Noor.")
        self.closed: Channel = thread(self.general, "the move", self.priya, ago=90_000, archived=True)
        self._say(self.closed, 89_000, "The boxes come on the third.", "Then I pack on the second.")
        self.help: Channel = self.server.channel(self.acme, "help", world.FORUM, tags=["bug", "answered"])
        self.post: Channel = thread(self.help, "It hangs at start", self.kofi, text="It hangs at start, why?", ago=5000)
        self._say(self.post, 4900, "Is the disk full?", "It was. Thank you!")

    def _say(self, channel: Channel, ago: float, *texts: str) -> None:
        for n, text in enumerate(texts):
            self.server.write(channel, (self.tomas, self.ana)[n % 2], text, ago=ago - 60 * n)

    def fill(self, number: int = 10_000, *, step: float = 60.0) -> list[int]:
        """Messages in the archive, a minute apart, the last a minute ago; made when they are read. Their ids."""
        by = (self.ana, self.tomas, self.priya, self.kofi)

        def made(n: int) -> tuple[User, str]:
            return by[n % 4], f"Shipment {n} of {number} has left the yard."

        return self.server.backlog(self.archive, number, made, ago=number * step, step=step)

    # Messages that are hard to read ----------------------------------------------------------------------------------

    def _odds(self) -> Iterable[tuple[str, Message]]:
        """Messages without a text, by what they are."""
        write, place = self.server.write, self.odds
        report = {"type": "rich", "title": "Build 512", "description": "3 tests fail.", "fields": [
            {"name": "Branch", "value": "main", "inline": True}], "footer": {"text": "Relay"}}  # fmt: skip
        yield EMBED, write(place, self.relay, "", ago=900, embeds=[report])
        hook = User(world.snowflake(), "Door bell", bot=True)
        yield WEBHOOK, write(place, hook, "Somebody rang at 14:05.", ago=840, webhook=hook.id)
        yield STICKER, self.server.stick(place, self.ana, "Waving hand", ago=780)
        yield POLL, self.server.ask(place, self.tomas, "Lunch where?", "Canteen", "Outside", ago=720)
        yield FORWARD, self.server.forward(place, self.priya, self.first, ago=660)
        picture = {
            "id": str(world.snowflake()), "filename": "chart.png", "size": 2048, "content_type": "image/png",
            "url": "https://cdn.example.com/chart.png", "proxy_url": "https://cdn.example.com/chart.png",
            "description": "Sales by month", "width": 640, "height": 480,
        }  # fmt: skip
        yield FILE, write(place, self.kofi, "", ago=600, attachments=[picture])
        yield "joined", write(place, self.kofi, "", ago=540, type=JOINED)
        pin = {"type": 0, "channel_id": place.id, "guild_id": self.acme.id, "message_id": world.snowflake()}
        yield "pinned", write(place, self.ana, "", ago=480, type=PINNED, reference=pin)
        yield "boosted", write(place, self.ana, "", ago=420, type=BOOSTED)
        lost = write(place, self.tomas, "This is deleted.", ago=400)
        yield "reply to one that is gone", write(place, self.priya, "I disagree.", ago=360, reply=lost)
        place.history.drop(lost.id)
        lost.deleted = True

    def _texts(self) -> Iterable[tuple[str, str]]:
        """Texts by what is hard about them."""
        yield "emoji", "Great 🎉👩🏽‍💻🇵🇹 <:shipit:987654321098765432> <a:party:987654321098765433>"
        yield "code", "Run this:\n```python\nprint('**not bold**')  # <@1>\n```\nand `x = *y`"
        yield "right to left", "הייצוא נכשל מאז יום שני, לפי Ana"
        yield "controls", "invoice\u202efdp.exe and zero\u200bwidth \u2066isolate\u2069"
        yield "mentions", f"<@{self.tomas.id}> <@!{self.priya.id}> <@&{self.leads.id}> <#{self.general.id}> <#1> <@2>"
        yield "hidden channel", f"see <#{self.elsewhere.id}> and <#{self.secret.id}>"
        yield "everyone", "@everyone @here the office is closed on Friday"
        yield "time", f"until <t:{int(time.time()) + 3600}:R> or </summarize:{self.acme.id}>"
        yield "markup", "# Heading\n> quoted\n- **bold** *it* __under__ ~~out~~ ||the winner is Priya|| -# small"
        yield "links", "[our page](https://example.com/a_(b)) <https://example.com/plain> https://example.com/x?y=1&z=2"
        yield "combining", "Z̷̛̞a̵̱͝l̸̰̈g̶̣̈́o and Å (two ways: Å)"
        yield "blanks", "one\n\n\n\n\ntwo\t\tthree        four"
        yield "long", ("The report is read line by line by the whole team. " * 50)[:2000].rstrip()
