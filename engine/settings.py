"""The engine's settings; see :class:`storage.config.ProjectSettings` for where they come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from storage.config import ProjectSettings


class EngineSettings(ProjectSettings):
    """Model, generation and server of the engine."""

    engine_model: str = Field(
        default="starter",
        description="Hugging Face id or directory of the model; `starter` is the one that ships with Redraft.",
    )
    engine_revision: str = Field(
        default="", description="Commit of the model on the Hub; empty resolves the newest once and records it."
    )
    engine_device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the model runs; `auto` takes the GPU where there is one."
    )
    engine_quantization: Literal["nf4", "none"] = Field(
        default="nf4", description="`nf4` loads in 4 bits; `none` in full precision, for comparison."
    )
    engine_expand: Literal["auto", "never", "always"] = Field(
        default="auto",
        description="Expand the 4-bit weights to dense ones once after loading: faster on CPUs without fast 4-bit "
        "kernels, for more memory; `auto` does so on a CPU when memory allows.",
    )
    engine_threads: int = Field(default=0, ge=0, description="CPU threads of the model; 0 is the library's choice.")
    engine_max_new_tokens: int = Field(default=256, ge=8, le=4096, description="Longest answer, in tokens.")
    engine_max_context: int = Field(
        default=8192, ge=256, description="Longest prompt, in tokens; the model's own limit holds where it is lower."
    )
    engine_max_batch: int = Field(default=32, ge=1, le=512, description="Most prompts generated in one batch.")
    engine_max_batch_tokens: int = Field(
        default=4096, ge=512, description="Most prompt tokens in one batch, padding included; bounds its memory."
    )
    engine_queue_limit: int = Field(
        default=64, ge=1, description="Requests that may wait; beyond it people are told how many are ahead."
    )
    engine_host: str = Field(default="127.0.0.1", description="Loopback address that the engine listens on.")
    engine_port: int = Field(default=8765, ge=0, le=65535, description="Its port; 0 takes a free one.")
    engine_socket: str = Field(
        default="", description="Path of a Unix socket to listen on instead of the host and port; empty uses those."
    )
    engine_drain_seconds: float = Field(
        default=30.0, gt=0, description="How long requests under way may take to finish after SIGTERM, in seconds."
    )
