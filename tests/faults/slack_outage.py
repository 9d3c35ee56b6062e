"""Slack away for 30 real seconds: nothing listens any more, then it does again, and the bot is back by itself.

Asked before, during (by nothing: Slack is away) and after; what was accepted just before is answered after.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from tests.bot.slack_team import ANA, GENERAL, TOMAS, bot, engine, slack, talk

FULL_ROUNDS = 1
OUTAGE_S = 30.0


def run(rounds: int, seed: int, *, outage_s: float = OUTAGE_S) -> dict[str, object]:
    """So many outages.

    Raises:
        AssertionError: the bot did not come back, or lost what it had accepted.
    """
    del seed  # nothing here is left to chance
    with tempfile.TemporaryDirectory() as folder:
        back = asyncio.run(_outages(Path(folder) / "home", rounds, outage_s))
    return {"outages": rounds, "outage_seconds": outage_s, "slowest_return_seconds": round(max(back), 1)}


async def _outages(home: Path, rounds: int, outage_s: float) -> list[float]:
    back: list[float] = []
    async with slack() as server:
        talk(server, number=3)
        with engine(home, SLOW_ENGINE="0.5"):
            async with bot(server, home, SLACK_PACE="1000") as process:
                for number in range(rounds):
                    told = len(server.ephemerals)
                    await server.command(ANA, GENERAL)
                    await server.go_away()
                    await asyncio.sleep(outage_s)
                    await server.come_back()
                    came = time.monotonic()
                    await server.connected(90)
                    back.append(time.monotonic() - came)
                    await server.command(TOMAS, GENERAL)

                    def both(told: int = told) -> bool:
                        return {one["user"] for one in server.ephemerals[told:] if one.get("blocks")} == {ANA, TOMAS}

                    await server.until(both, f"both are answered after outage {number + 1}", 90)
                    assert process.process.returncode is None
    return back
