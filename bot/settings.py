"""The bot's settings; see :class:`storage.config.ProjectSettings` for where they come from."""

from __future__ import annotations

import re

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from storage.config import ProjectSettings

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

    @property
    def missing_slack_token(self) -> str:
        """The name of the Slack token that is missing where the other is set; Slack needs both, or neither."""
        if bool(self.slack_bot_token) == bool(self.slack_app_token):
            return ""
        return "SLACK_APP_TOKEN" if self.slack_bot_token else "SLACK_BOT_TOKEN"
