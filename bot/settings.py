"""The bot's settings; see :class:`storage.config.ProjectSettings` for where they come from."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from storage.config import ProjectSettings

#: Discord's REST API, in the version that discord.py speaks.
DISCORD_API = "https://discord.com/api/v10"

_DISCORD_TOKEN = re.compile(r"[\w-]{20,}\.[\w-]{4,}\.[\w-]{20,}")


class BotSettings(ProjectSettings):
    """Chat platforms and the scheduler. Without tokens the bot runs its daily jobs and nothing else."""

    slack_bot_token: SecretStr | None = Field(
        default=None, description="Slack bot token (`xoxb-…`), from OAuth & Permissions of your Slack app."
    )
    slack_app_token: SecretStr | None = Field(
        default=None, description="Slack app-level token (`xapp-…`) with `connections:write`, for Socket Mode."
    )
    discord_bot_token: SecretStr | None = Field(
        default=None, description="Discord bot token, from the Bot page of the developer portal."
    )
    slack_api_url: str = Field(
        default="https://slack.com/api/", description="Address of Slack's Web API; another one for GovSlack."
    )
    slack_pace: float = Field(
        default=1.0,
        gt=0,
        description="Calls to Slack as a share of its documented rates; more where Slack raised yours.",
    )
    slack_reaction: str = Field(
        default="", description="Emoji that asks for a summary of a thread when added to it (`memo`); empty is none."
    )
    slack_admin_channel: str = Field(
        default="", description="Id of the Slack channel that alerts are posted to; empty posts none."
    )
    slack_reviewers: str = Field(
        default="",
        description="Who decides on a channel's corrections: `C01AB:U01 U02, C02CD:U03`; empty is administrators only.",
    )
    discord_api_url: str = Field(
        default=DISCORD_API, description="Address of Discord's REST API; the gateway's comes from there."
    )
    discord_guilds: str = Field(
        default="",
        description="Ids of the Discord servers that the commands are offered in; empty offers them everywhere.",
    )
    discord_timezone: str = Field(
        default="UTC",
        description="Time zone of what people type in Discord (`yesterday`, `9:00`), which tells of nobody's own.",
    )
    discord_admin_channel: str = Field(
        default="", description="Id of the Discord channel that alerts are posted to; empty posts none."
    )
    discord_reviewers: str = Field(
        default="",
        description="Who decides on a Discord channel's corrections, by ids: `123:456 789, 321:456`; empty is "
        "administrators only.",
    )
    chat_max_messages: int = Field(default=1000, ge=20, le=20_000, description="Most messages read for one summary.")
    chat_summaries_at_once: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Summaries for chats under way at once; people are told what is before them.",
    )
    bot_port: int = Field(
        default=0, ge=0, le=65535, description="Loopback port of the bot's `/health` and `/metrics`; 0 opens none."
    )
    daily_job_time: str = Field(
        default="04:10", description="Local time of day of the daily job (retention), as HH:MM."
    )

    @field_validator("slack_bot_token", "slack_app_token", "discord_bot_token")
    @classmethod
    def _token_shape(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        text, name = value.get_secret_value(), info.field_name
        if name == "slack_bot_token" and not text.startswith("xoxb-"):
            raise ValueError("does not look like a bot token, which starts with xoxb-")
        if name == "slack_app_token" and not text.startswith("xapp-"):
            raise ValueError("does not look like an app-level token, which starts with xapp-")
        if name == "discord_bot_token" and not _DISCORD_TOKEN.fullmatch(text):
            raise ValueError("does not look like a Discord bot token, which has three parts joined by dots")
        return value

    @field_validator("daily_job_time")
    @classmethod
    def _time_of_day(cls, value: str) -> str:
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError("is not a time of day such as 04:10")
        return value

    @field_validator("slack_api_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
            raise ValueError("is not an address such as https://slack.com/api/")
        return value if value.endswith("/") else f"{value}/"

    @field_validator("slack_reaction")
    @classmethod
    def _emoji(cls, value: str) -> str:
        return value.strip().strip(":")

    @field_validator("slack_reviewers")
    @classmethod
    def _reviewers(cls, value: str) -> str:
        for entry in filter(None, (part.strip() for part in value.split(","))):
            if not re.fullmatch(r"[CG][A-Z0-9]+:\s*[UW][A-Z0-9]+(\s+[UW][A-Z0-9]+)*", entry):
                raise ValueError("is not of the form C01AB:U01 U02, C02CD:U03")
        return value

    @field_validator("discord_api_url")
    @classmethod
    def _discord_address(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
            raise ValueError(f"is not an address such as {DISCORD_API}")
        return value.rstrip("/")

    @field_validator("discord_guilds", "discord_admin_channel")
    @classmethod
    def _discord_ids(cls, value: str, info: ValidationInfo) -> str:
        ids = value.replace(",", " ").split()
        if not all(re.fullmatch(r"\d{15,20}", one) for one in ids):
            raise ValueError("is not an id, which Discord copies from a menu in its developer mode")
        if info.field_name == "discord_admin_channel" and len(ids) > 1:
            raise ValueError("is more than one channel")
        return " ".join(ids)

    @field_validator("discord_timezone")
    @classmethod
    def _discord_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, KeyError, OSError) as error:
            raise ValueError("is no time zone of the tz database, such as Europe/Berlin") from error
        return value

    @field_validator("discord_reviewers")
    @classmethod
    def _discord_reviewers(cls, value: str) -> str:
        for entry in filter(None, (part.strip() for part in value.split(","))):
            if not re.fullmatch(r"\d{15,20}:\s*\d{15,20}(\s+\d{15,20})*", entry):
                raise ValueError("is not of the form CHANNEL:PERSON PERSON, CHANNEL:PERSON, all of them ids")
        return value

    @property
    def slack_reviewers_by_channel(self) -> dict[str, frozenset[str]]:
        """User ids by the channel for which they are named."""
        return _by_channel(self.slack_reviewers)

    @property
    def discord_reviewers_by_channel(self) -> dict[str, frozenset[str]]:
        """User ids by the channel for which they are named."""
        return _by_channel(self.discord_reviewers)

    @property
    def missing_slack_token(self) -> str:
        """The name of the Slack token that is missing where the other is set; Slack needs both, or neither."""
        if bool(self.slack_bot_token) == bool(self.slack_app_token):
            return ""
        return "SLACK_APP_TOKEN" if self.slack_bot_token else "SLACK_BOT_TOKEN"


def _by_channel(reviewers: str) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for entry in filter(None, (part.strip() for part in reviewers.split(","))):
        channel, _, people = entry.partition(":")
        found[channel] = found.get(channel, frozenset()) | frozenset(people.split())
    return found
