"""What ENGINE_MODEL names, as one directory with one revision: the starter, a directory, or a Hub id at a commit.

Speaks with the Hub, and only here; everything after it reads local files. Fetches the files that a text model needs
and no others: safetensors, the config, the tokenizer; the weights last, once the caller has seen what they would be.
A branch or nothing is resolved to a commit once, and the
commit is recorded, so that a model never changes under the adapters that were trained on it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.model.checkpoint import Checkpoint, Representation, StoredTensor, read_config, weight_files
from engine.settings import EngineSettings
from storage.errors import ModelError, ModelUnreachable

STARTER = "starter"
Tell = Callable[[str], None]
Admit = Callable[[Checkpoint], object]

#: The small files of a text model; weights are added by name.
_SMALL_FILES = (
    "config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model",
    "sentencepiece.bpe.model", "source.spm", "target.spm",
)  # fmt: skip
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Resolved:
    """One model on this machine.

    Attributes:
        name: ``starter``, the directory's name, or the Hub id.
        revision: commit on the Hub, or an empty string.
        path: the directory that holds it.
    """

    name: str
    revision: str
    path: Path


class NotFetched(ModelError):
    """A model that the Hub has and this machine has not; raised only where fetching was not wanted.

    Args:
        name: the Hub id.
        revision: the commit that would be fetched.
        total_bytes: size of its weights; None where the Hub has not been asked, the commit being known.
    """

    def __init__(self, name: str, revision: str, total_bytes: int | None = None) -> None:
        super().__init__(
            f"The model {name} is not on this machine yet.", "It is fetched when the engine first starts, once."
        )
        self.revision = revision
        self.total_bytes = total_bytes


def starter_directory() -> Path:
    """Where the model that ships with Redraft lies."""
    return Path(__file__).resolve().parent.parent / "starter" / "weights"


def identity(settings: EngineSettings, pins: Path | None = None) -> tuple[str, str]:
    """Name and revision of the model that the settings name, as :func:`resolve` will say, without looking for it.

    The revision of a Hub id that was never resolved is not known and empty.
    """
    wanted = settings.engine_model.strip()
    if wanted == STARTER:
        return STARTER, ""
    local = Path(wanted).expanduser()
    if local.is_dir():
        return local.resolve().name, ""
    asked = settings.engine_revision.strip()
    return wanted, (asked if _COMMIT.fullmatch(asked) else "") or _pinned(pins, wanted)


def resolve(
    settings: EngineSettings,
    *,
    pins: Path | None = None,
    tell: Tell | None = None,
    fetch: bool = True,
    admit: Admit | None = None,
) -> Resolved:
    """Find the model that the settings name, fetching it where need be.

    Args:
        settings: ``engine_model`` and ``engine_revision``.
        pins: JSON file that remembers the commit a Hub id was first resolved to; None remembers nothing.
        tell: hears one sentence per step that takes time.
        fetch: fetch what is missing; otherwise only look.
        admit: sees what would be fetched (config, names and shapes of the weights) before the weights are, and raises
            to refuse it. Not asked about what is on this machine already.

    Raises:
        NotFetched: it would have to be fetched, and ``fetch`` is False.
        ModelError: there is no such model, it may not be read, the Hub cannot be reached, or the disk is too full.
    """
    wanted = settings.engine_model.strip()
    if wanted == STARTER:
        path = starter_directory()
        if not path.is_dir():
            raise ModelError(
                "The starter model is missing from this installation.",
                "Install Redraft again, or name another model in ENGINE_MODEL.",
            )
        return Resolved(STARTER, "", path)
    local = Path(wanted).expanduser()
    if local.is_dir():
        return Resolved(local.resolve().name, "", local)
    if wanted.startswith((".", "~", os.sep)) or "\\" in wanted or wanted.count("/") > 1:
        reason = "is a file, not a directory" if local.exists() else "does not exist"
        raise ModelError(
            f"The model directory {wanted} {reason}.", "Point ENGINE_MODEL to the directory that holds config.json."
        )
    return _from_hub(wanted, settings.engine_revision.strip(), pins, tell or (lambda _: None), fetch, admit)


def _from_hub(name: str, wanted: str, pins: Path | None, tell: Tell, fetch: bool, admit: Admit | None) -> Resolved:
    """One commit of a Hub repository in the local cache, fetched if it is not there."""
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    revision = wanted or _pinned(pins, name)
    with _hub_errors(name, wanted):
        asked = not _COMMIT.fullmatch(revision)
        if asked:
            tell(f"Looking up {name}.")
            revision = huggingface_hub.HfApi().resolve_revision(name, revision=revision or None).resolved
        path = _cached(name, revision)
        if path is None and not fetch:
            sizes = _sizes(name, revision) if asked else {}
            total = sum(sizes[file] for file in weight_files(name, set(sizes))) if asked else None
            raise NotFetched(name, revision, total)
    path = path or _fetch(name, wanted, revision, tell, admit)
    if not wanted and pins is not None:
        _pin(pins, name, revision)
    return Resolved(name, revision, path)


def _cached(name: str, revision: str) -> Path | None:
    """The commit's directory if all of it has been fetched before; asks no network."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = Path(huggingface_hub.snapshot_download(
            name, revision=revision, local_files_only=True, allow_patterns=[*_SMALL_FILES]
        ))  # fmt: skip
        present = {file.name for file in path.iterdir()}
        weight_files(name, present, path)
    except (LocalEntryNotFoundError, ModelError):
        return None
    return path if "config.json" in present else None


def _sizes(name: str, revision: str) -> dict[str, int]:
    """Files at the top of a repository, with their bytes."""
    import huggingface_hub

    return {
        entry.path: int(entry.size)
        for entry in huggingface_hub.HfApi().list_repo_tree(name, revision=revision)
        if isinstance(entry, huggingface_hub.RepoFile)
    }


def _fetch(name: str, wanted: str, revision: str, tell: Tell, admit: Admit | None) -> Path:
    """Fetch what a text model needs of one commit, the weights only after the rest is seen to be in order."""
    import huggingface_hub

    with _hub_errors(name, wanted):
        sizes = _sizes(name, revision)
        weight_files(name, set(sizes))
        small = [file for file in _SMALL_FILES if file in sizes]
        path = Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=small))
        weights = weight_files(name, set(sizes), path)
        checkpoint = None if admit is None else _headers(name, revision, path, weights)
    if admit is not None and checkpoint is not None:
        admit(checkpoint)
    total = sum(sizes[file] for file in weights)
    cache = Path(huggingface_hub.constants.HF_HUB_CACHE)
    free = shutil.disk_usage(_existing(cache)).free
    if total > free:
        raise ModelError(
            f"The model {name} takes {gigabytes(total)} on disk, and {gigabytes(free)} are free.",
            "Free some space, or let HF_HOME point to a larger disk.",
        )
    tell(f"Fetching {name} ({gigabytes(total)}).")
    with _hub_errors(name, wanted):
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=[*small, *weights]))


def _headers(name: str, revision: str, path: Path, weights: list[str]) -> Checkpoint:
    """What :func:`engine.model.checkpoint.read_checkpoint` will say, of weights that are still on the Hub.

    Args:
        path: where the small files are.
        weights: the weight files; only their headers are asked for.
    """
    import huggingface_hub

    config = read_config(path, name)
    api = huggingface_hub.HfApi()
    tensors = tuple(
        StoredTensor(key, tuple(tensor.shape), str(tensor.dtype))
        for file in weights
        for key, tensor in api.parse_safetensors_file_metadata(name, file, revision=revision).tensors.items()
    )
    return Checkpoint(path, name, str(config["model_type"]), config, tensors)


@contextmanager
def _hub_errors(name: str, revision: str) -> Iterator[None]:
    """Every failure of the Hub as one sentence."""
    from huggingface_hub import errors

    unreachable = ModelUnreachable(
        f"The model {name} is not on this machine, and the Hugging Face Hub cannot be reached.",
        "Connect once to fetch it, carry its directory in and name that in ENGINE_MODEL, or use the starter.",
    )
    try:
        yield
    except ModelError:
        raise
    except errors.GatedRepoError as error:
        raise ModelError(
            f"The model {name} is gated: its owner wants its terms accepted first.",
            f"Accept them at huggingface.co/{name}, then run `hf auth login`, or set HF_TOKEN in the environment.",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(
            f"The model {name} has no revision {revision or 'main'}.", "Correct ENGINE_REVISION, or leave it empty."
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ModelError(
            f"There is no model {name}, neither as a directory here nor on the Hugging Face Hub.",
            "Correct ENGINE_MODEL; for a private model run `hf auth login`, or set HF_TOKEN in the environment.",
        ) from error
    except errors.SafetensorsParsingError as error:
        raise ModelError(
            f"The weights of the model {name} are damaged on the Hub.", "Choose another model or revision."
        ) from error
    except errors.LocalEntryNotFoundError as error:
        cause = error.__cause__
        if isinstance(cause, errors.GatedRepoError | errors.RepositoryNotFoundError):
            with _hub_errors(name, revision):
                raise cause from error
        raise unreachable from error
    except OSError as error:
        if error.errno is not None and not isinstance(error, ConnectionError):
            raise ModelError(
                f"The model {name} could not be written to disk: {error.strerror}.", "Check the space and rights there."
            ) from error
        raise unreachable from error
    except Exception as error:  # the Hub library's HTTP client has errors of its own, which it does not export
        raise unreachable from error


def _existing(path: Path) -> Path:
    """The path, or its nearest parent that exists."""
    return path if path.exists() or path == path.parent else _existing(path.parent)


def _read_pins(pins: Path) -> dict[str, Any]:
    try:
        found = json.loads(pins.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _pinned(pins: Path | None, name: str) -> str:
    """The commit recorded for a Hub id, or an empty string."""
    commit = _read_pins(pins).get(name, "") if pins is not None else ""
    return commit if isinstance(commit, str) and _COMMIT.fullmatch(commit) else ""


def _pin(pins: Path, name: str, revision: str) -> None:
    """Record the commit by rename, so that a reader never sees half a file."""
    found = _read_pins(pins)
    if found.get(name) == revision:
        return
    pins.parent.mkdir(parents=True, exist_ok=True)
    partial = pins.with_name(pins.name + ".partial")
    partial.write_text(json.dumps({**found, name: revision}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(pins)


def gigabytes(count: int) -> str:
    """Bytes in words: ``3.2 GB``, ``45 MB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count // 10**6, 1)} MB"


def refuse_too_big(name: str, needed: int, free: int, representation: Representation, device: str) -> None:
    """Refuse a model that does not fit, before it is loaded.

    Raises:
        ModelError: more is needed than is free.
    """
    if needed <= free:
        return
    where = "GPU" if device == "cuda" else "main"
    what = "in 4 bits" if representation == "nf4" else "expanded" if representation == "nf4-expanded" else "in full"
    raise ModelError(
        f"The model {name} needs about {gigabytes(needed)} of {where} memory {what}, and {gigabytes(free)} are free.",
        "Choose a smaller model"
        + (", or ENGINE_QUANTIZATION=nf4." if representation == "full" else "")
        + (", or ENGINE_EXPAND=auto." if representation == "nf4-expanded" else "")
        + ("." if representation == "nf4" else ""),
    )
