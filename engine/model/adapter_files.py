"""An adapter on the disk: named by what it holds, and checked before it is read.

A directory ``adapters/<id>`` holds ``adapter_model.safetensors`` (peft's names), ``adapter_config.json`` and
``manifest.json`` with the SHA-256 of the other two and what the adapter was made from. Nothing else may lie in it, no
pickle and no link. The manifest vouches for accidents and mix-ups, not for its author: who may write the data directory
can write adapters. How one comes into being is :mod:`engine.model.adapter_publishing`'s business; this file imports no
torch and knows nothing of peft or the database.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.errors import AdapterError

if TYPE_CHECKING:
    from engine.requests import ModelInfo

WEIGHTS, CONFIG, MANIFEST = "adapter_model.safetensors", "adapter_config.json", "manifest.json"
FORMAT = 1
#: Endings of files that can carry code.
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npz", ".npy")
#: Largest manifest and config that are read, in bytes.
MAX_JSON = 2**20
#: Largest header of a weight file, in bytes: LoRA on all linear layers of a model of 80 layers takes 0.2 MB.
_MAX_HEADER = 8 * 2**20
_TYPES = frozenset({"F32", "BF16", "F16"})


@dataclass(frozen=True, slots=True)
class AdapterAbout:
    """What an adapter was made from; serialisable.

    Attributes:
        scope: see :mod:`engine.scopes`.
        base_model: ``ModelInfo.name`` of the base.
        base_revision: ``ModelInfo.revision`` of the base.
        model_type: ``ModelInfo.model_type`` of the base.
        prompt_version: :data:`engine.text.prompts.PROMPT_VERSION` of the examples.
        tokenizer_sha256: :meth:`engine.model.tokens.Tokens.sha256` of the base's tokenizer.
        run_id: the run that made it.
        data_hash: of the pairs that it was trained on.
        settings_hash: of the settings that it was trained with.
        train_pairs: how many pairs it was trained on.
        settings: those settings.
        metrics: what the run measured; never text.
        base_fingerprint: ``ModelInfo.fingerprint`` of the base: tells two directories of the same name apart.
    """

    scope: str
    base_model: str
    base_revision: str
    model_type: str
    prompt_version: str
    tokenizer_sha256: str
    run_id: str
    data_hash: str
    settings_hash: str
    train_pairs: int
    settings: dict[str, Any]
    metrics: dict[str, Any]
    base_fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of an adapter: its SHA-256 in hexadecimal and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an adapter's directory holds and what it was made from.

    Attributes:
        format: of the manifest, 1.
        id: ``a`` and 20 hexadecimal digits, from the files and ``about`` (``metrics`` excepted): the same content has
            the same id, other content another.
        created_at: ISO 8601 in UTC.
        about: what it was made from.
        files: every file but the manifest, by name.
    """

    format: int
    id: str
    created_at: str
    about: AdapterAbout
    files: dict[str, FileEntry]


@dataclass(frozen=True, slots=True)
class Checked:
    """An adapter that was read once and found to be what its manifest says: the bytes are those that were hashed."""

    manifest: Manifest
    config: bytes
    weights: bytes


def read_manifest(directory: Path) -> Manifest:
    """The manifest of an adapter, by itself; its files are not looked at.

    Raises:
        AdapterError: there is none, it cannot be read, or it is that of another adapter.
    """
    name = directory.name
    data = read_bytes(directory / MANIFEST, name, MAX_JSON)
    try:
        document = json.loads(data)
        checksum = document.pop("checksum")
        if document["format"] != FORMAT:
            raise refusal(name, f"its manifest is of format {document['format']!r}, which this version does not know")
        if checksum != digest(document):
            raise refusal(name, "its manifest was changed after it was published")
        manifest = Manifest(
            format=FORMAT,
            id=str(document["id"]),
            created_at=str(document["created_at"]),
            about=about_of(document["about"]),
            files={str(key): FileEntry(str(e["sha256"]), int(e["size"])) for key, e in document["files"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise refusal(name, "its manifest cannot be read") from error
    if manifest.id != name:
        raise refusal(name, "its manifest is that of another adapter")
    if manifest.id != identity(manifest.about, manifest.files):
        raise refusal(name, "its manifest is for other files than its id was made from")
    return manifest


def check_files(directory: Path, *, info: ModelInfo, tokenizer_sha256: str, prompt_version: str) -> Manifest:
    """Check an adapter's files and that it is for this base; its tensors are checked when it is attached.

    Raises:
        AdapterError: anything is off; the sentence says what.
    """
    return read_checked(directory, info=info, tokenizer_sha256=tokenizer_sha256, prompt_version=prompt_version).manifest


def read_checked(directory: Path, *, info: ModelInfo, tokenizer_sha256: str, prompt_version: str) -> Checked:
    """The same check as :func:`check_files`, with the bytes that passed it.

    Raises:
        AdapterError: anything is off; the sentence says what.
    """
    name = directory.name
    found = listed(directory)
    manifest = read_manifest(directory)
    wanted = {WEIGHTS, CONFIG}
    if set(manifest.files) != wanted:
        raise refusal(name, "its manifest is for other files than an adapter has")
    if missing := sorted(wanted - found):
        raise refusal(name, f"its file {missing[0]} is missing")
    if extra := sorted(found - wanted - {MANIFEST}):
        raise refusal(name, f"it holds a file that does not belong to it ({extra[0][:80]})")
    check_base(manifest, info=info, tokenizer_sha256=tokenizer_sha256, prompt_version=prompt_version)
    data = {}
    for file, entry in manifest.files.items():
        data[file] = read_bytes(directory / file, name, MAX_JSON if file == CONFIG else entry.size)
        if len(data[file]) < entry.size:
            raise refusal(name, f"its file {file} is cut short")
        if len(data[file]) != entry.size or hashlib.sha256(data[file]).hexdigest() != entry.sha256:
            raise refusal(name, f"its file {file} is not the one that was published (checksum)")
    _check_header(data[WEIGHTS], name)
    return Checked(manifest, data[CONFIG], data[WEIGHTS])


def check_base(manifest: Manifest, *, info: ModelInfo, tokenizer_sha256: str, prompt_version: str) -> None:
    """Check that an adapter was made for this base, tokenizer and prompt version.

    Raises:
        AdapterError: it was made for another.
    """
    about, name = manifest.about, manifest.id
    made_for = f"{about.base_model}@{about.base_revision[:12]}" if about.base_revision else about.base_model
    if about.base_model != info.name or about.model_type != info.model_type:
        raise refusal(name, f"it was made for the model {made_for}, and {info.label} is loaded", other_base=True)
    if about.base_revision != info.revision:
        raise refusal(name, f"it was made for another revision ({made_for}), and {info.label} is loaded", True)
    if about.base_fingerprint != info.fingerprint:
        raise refusal(name, f"it was made for other weights of the model {info.name} than those loaded", True)
    if about.tokenizer_sha256 != tokenizer_sha256:
        raise refusal(name, "it was made with another tokenizer than the loaded model's", True)
    if about.prompt_version != prompt_version:
        raise refusal(
            name, f"it was made with version {about.prompt_version} of the prompts, and this is {prompt_version}", True
        )


def refusal(name: str, reason: str, other_base: bool = False) -> AdapterError:
    """The sentence for an adapter that is refused."""
    hint = (
        "Train one for the model that is loaded now, or set ENGINE_MODEL back."
        if other_base
        else "Retire it with `redraft adapters retire`, or bring its files back from a backup."
    )
    return AdapterError(f"The adapter {name[:80]} was refused: {reason}.", hint)


# Reading ------------------------------------------------------------------------------------------------------------


def listed(directory: Path) -> set[str]:
    """Names of the files of an adapter; refuses whatever is no ordinary file."""
    name = directory.name
    try:
        if not stat.S_ISDIR(directory.lstat().st_mode):
            raise refusal(name, "it is a symbolic link" if directory.is_symlink() else "it is no directory")
        entries = list(os.scandir(directory))
    except FileNotFoundError as error:
        raise refusal(name, "its files are missing") from error
    except OSError as error:
        raise refusal(name, f"its files cannot be read ({words_of(error)})") from error
    for entry in entries:
        if entry.is_symlink():
            raise refusal(name, f"it holds a symbolic link ({entry.name[:80]})")
        if entry.name.lower().endswith(_PICKLES):
            raise refusal(name, f"it holds a file that can carry code ({entry.name[:80]}); only safetensors are read")
        if not entry.is_file(follow_symlinks=False):
            raise refusal(name, f"it holds something that is no file ({entry.name[:80]})")
    return {entry.name for entry in entries}


def read_bytes(path: Path, name: str, most: int) -> bytes:
    """A file of at most ``most`` bytes; of a longer one a byte more, which no check of its size will pass."""
    try:
        # Not through a link, nor waiting for a pipe, also where it took the file's place since it was listed.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise refusal(name, f"its file {path.name} is no file")
            data = file.read(most + 1)
    except FileNotFoundError as error:
        raise refusal(name, f"its file {path.name} is missing") from error
    except OSError as error:
        reason = "is a symbolic link" if error.errno == errno.ELOOP else f"cannot be read ({words_of(error)})"
        raise refusal(name, f"its file {path.name} {reason}") from error
    if path.name != WEIGHTS and len(data) > most:
        raise refusal(name, f"its file {path.name} is larger than any adapter's")
    return data


def _check_header(data: bytes, name: str) -> None:
    """The header of a weight file, before a library parses it: its size and the types that it names."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise refusal(name, f"the header of its file {WEIGHTS} is damaged")
    if length > _MAX_HEADER:
        raise refusal(name, f"the header of its file {WEIGHTS} is larger than any adapter's")
    try:
        header = json.loads(data[8 : 8 + length])
        types = {str(entry["dtype"]) for key, entry in header.items() if key != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise refusal(name, f"the header of its file {WEIGHTS} is damaged") from error
    if strange := sorted(types - _TYPES):
        raise refusal(name, f"its weights are of a type that no adapter has ({strange[0][:20]})")


def about_of(document: dict[str, Any]) -> AdapterAbout:
    """What an adapter was made from, as a manifest says it; what this version does not know is passed over."""
    known = {key: document[key] for key in AdapterAbout.__dataclass_fields__ if key in document}
    return AdapterAbout(**known)


def identity(about: AdapterAbout, files: Mapping[str, FileEntry]) -> str:
    """The id of an adapter: measured seconds and the like make no other adapter of it."""
    made_from = {key: value for key, value in asdict(about).items() if key != "metrics"}
    sums = {name: entry.sha256 for name, entry in files.items()}
    return "a" + digest({"format": FORMAT, "about": made_from, "files": sums})[:20]


def digest(document: object) -> str:
    """SHA-256 in hexadecimal of canonical JSON."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def words_of(error: OSError) -> str:
    """The system's words for what went wrong with a file."""
    return (error.strerror or type(error).__name__).lower()
