"""The bot killed between acceptance and answer: what was acknowledged is answered after the next start, publicly once.

The real `python -m bot` runs on the local Slack with a real engine. In each round people type commands, mention the app
in threads and press Share, all of which is acknowledged; the process is killed with SIGKILL at a random moment after
that, started again, and left to finish. Nothing may be lost; what stands in a channel stands there once; an answer that
only one person sees may come twice where the kill fell between sending and remembering, which is counted.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from pathlib import Path

from sqlmodel import select

from storage.chat_tables import ChatJobRow
from tests.bot.slack_team import ANA, PRIYA, TOMAS, bot, database, engine, slack
from tests.slack_server.server import BOT, SlackServer, buttons

FULL_ROUNDS = 40
_PATIENCE_S = 60.0


def run(rounds: int, seed: int) -> dict[str, object]:
    """So many kills on one database.

    Raises:
        AssertionError: something was lost, or stands in a channel twice.
    """
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_rounds(Path(folder) / "home", rounds, random.Random(seed)))


async def _rounds(home: Path, rounds: int, chance: random.Random) -> dict[str, object]:
    counted: Counter[str] = Counter()
    async with slack() as server:
        with engine(home, SLOW_ENGINE="0.05"):
            shared = ""
            for number in range(rounds):
                shared = await _round(server, home, chance, number, counted, shared)
    with database(home) as opened, opened.read() as session:
        states = Counter(row.state for row in session.scalars(select(ChatJobRow)))
    assert set(states) == {"done"}, states
    return {"kills": rounds, "answers": counted["answers"], "private_answers_twice": counted["twice"],
            "killed_before_any_answer": counted["early"]}  # fmt: skip


async def _round(
    server: SlackServer, home: Path, chance: random.Random, number: int, counted: Counter[str], share: str
) -> str:
    """One kill; a summary that the next round shares."""
    channel = server.channel(f"C0FAULT{number}", f"fault-{number}", [ANA, TOMAS, PRIYA]).id
    parent = server.write(channel, ANA, "Where is the key?", ago=500)
    for reply in range(4):
        server.write(channel, TOMAS, f"Reply {reply} of round {number}.", ago=400 - reply, thread=parent)
    ephemerals, posts = len(server.ephemerals), len(server.posts)
    commands = [server.slash(user, channel, "") for user in (ANA, TOMAS, PRIYA)]
    mention = server.event({"type": "app_mention", "user": PRIYA, "text": f"<@{BOT}> summarize", "channel": channel,
                            "ts": "1700000000.000100", "thread_ts": parent})  # fmt: skip
    async with bot(server, home, SLACK_PACE="1000") as process:
        sent = [await server.send("slash_commands", command) for command in commands]
        sent.append(await server.send("events_api", mention))
        if share:
            sent.append(await server.send("interactive", server.click_payload(ANA, "redraft_share", share)))
        for envelope in sent:
            await server.ack(envelope)
        await asyncio.sleep(chance.uniform(0.0, 1.5))
        counted["early"] += len(server.ephemerals) == ephemerals
        await process.kill()
    urls = [command["response_url"] for command in commands]

    def answered() -> bool:
        told = [one for one in server.ephemerals[ephemerals:] if one.get("blocks")]
        public = [post for post in server.posts[posts:] if post.get("blocks") and not post["deleted"]]
        where = {post["channel"] for post in public}
        return {one["url"] for one in told} >= set(urls) and channel in where and len(where) == 1 + bool(share)

    async with bot(server, home, SLACK_PACE="1000"):
        await server.until(answered, f"round {number} is answered", _PATIENCE_S)
        # Slack delivers again what it thinks was lost.
        for envelope in [await server.send("slash_commands", command) for command in commands]:
            await server.ack(envelope)

        def idle() -> bool:
            with database(home) as opened, opened.read() as session:
                query = select(ChatJobRow).where(ChatJobRow.state.in_(("waiting", "running")))  # type: ignore[attr-defined]
                return session.scalars(query).first() is None

        async with asyncio.timeout(_PATIENCE_S):
            while not await asyncio.to_thread(idle):
                await asyncio.sleep(0.05)
    told = [one["url"] for one in server.ephemerals[ephemerals:] if one.get("blocks")]
    counted["answers"] += len(set(told)) + 1 + bool(share)
    counted["twice"] += len(told) - len(set(told))
    whole = Counter(post["channel"] for post in server.posts[posts:] if post.get("blocks") and not post["deleted"])
    assert max(whole.values()) == 1, f"round {number}: {whole}"
    mine = next(one for one in server.ephemerals[ephemerals:] if one["url"] == urls[0])
    return buttons(mine["blocks"])["redraft_correct"]
