"""Bringing an adapter into being: written beside its place, synced, and visible by rename, whole or not at all.

It imports torch only to look at tensors and turn them into bytes, and knows nothing of peft or the database. What an
adapter is on the disk, and how it is checked, is :mod:`engine.model.adapter_files`'s business.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from engine.model.adapter_files import (
    CONFIG,
    FORMAT,
    MANIFEST,
    WEIGHTS,
    AdapterAbout,
    FileEntry,
    Manifest,
    about_of,
    digest,
    identity,
    listed,
    read_bytes,
    read_manifest,
    words_of,
)
from storage.errors import AdapterError, StorageError

if TYPE_CHECKING:
    import torch

#: Directories that are being written; a name that begins with a dot is no adapter.
_UNFINISHED = ".new-"
_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700
_TRAIN_AGAIN = "Train again; `redraft runs list` shows how the run went."


def publish(
    adapters: Path, *, weights: Mapping[str, torch.Tensor], config: Mapping[str, object], about: AdapterAbout
) -> Manifest:
    """Bring an adapter into being; visible whole, under its id, or not at all.

    Args:
        adapters: the directory of all adapters.
        weights: LoRA matrices by peft's names (``base_model.model. ... .lora_A.weight``), without an adapter's name.
        config: ``LoraConfig.to_dict()``.
        about: what it was made from.

    Returns:
        its manifest. Publishing the same content again returns the first one's.

    Raises:
        AdapterError: there are no weights, or some are not finite.
        StorageError: the disk is full or cannot be written.
    """
    import torch
    from safetensors.torch import save

    if not weights:
        raise AdapterError("The adapter has no weights.", _TRAIN_AGAIN)
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise AdapterError(f"The adapter's weights are not finite ({name}).", _TRAIN_AGAIN)
    tensors = {name: tensor.detach().to("cpu").contiguous() for name, tensor in weights.items()}
    text = json.dumps(dict(config), sort_keys=True, indent=2, default=_plain, allow_nan=False)
    files = {CONFIG: text.encode() + b"\n", WEIGHTS: save(tensors, metadata={"format": "pt"})}
    entries = {name: FileEntry(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}
    # Through JSON and back: what is hashed now is what a reader will hash.
    about = about_of(json.loads(json.dumps(asdict(about), default=_plain, allow_nan=False)))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Manifest(FORMAT, identity(about, entries), now, about, entries)
    files[MANIFEST] = encode(manifest)
    final = adapters / manifest.id
    if (there := _whole(final)) is not None:
        return there
    with _told_as_storage_error(adapters):
        adapters.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        with _unfinished(adapters) as directory:
            for name, data in files.items():
                _write(directory / name, data)
            _sync(directory)
            there = _whole(final)  # somebody else may have published it meanwhile
            if there is None:
                if os.path.lexists(final):  # damaged: out of the way first, a directory can't be replaced by rename
                    final.rename(directory.with_name(directory.name + "-damaged"))
                directory.rename(final)
        _sync(adapters)
    return there or manifest


def discard_unfinished(adapters: Path) -> int:
    """Remove what publishers that died have left behind; how many. One that is at work is left alone.

    Raises:
        StorageError: the directory cannot be written.
    """
    import fcntl

    removed = 0
    with _told_as_storage_error(adapters):
        for directory in sorted(adapters.glob(f"{_UNFINISHED}*")):
            try:
                descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its publisher lives
            else:
                shutil.rmtree(directory, ignore_errors=True)
                removed += 1
            finally:
                os.close(descriptor)
    return removed


def encode(manifest: Manifest) -> bytes:
    """A manifest as its file holds it, with a checksum over itself."""
    document = asdict(manifest)
    return json.dumps({**document, "checksum": digest(document)}, indent=2, sort_keys=True).encode() + b"\n"


def _plain(value: object) -> object:
    """What JSON lacks and peft's configs hold."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _whole(directory: Path) -> Manifest | None:
    """The manifest of an adapter whose files are those that were published; None otherwise."""
    try:
        manifest = read_manifest(directory)
        if listed(directory) != {*manifest.files, MANIFEST}:
            return None
        for name, entry in manifest.files.items():
            if hashlib.sha256(read_bytes(directory / name, directory.name, entry.size)).hexdigest() != entry.sha256:
                return None
    except AdapterError:
        return None
    return manifest


@contextlib.contextmanager
def _unfinished(adapters: Path) -> Iterator[Path]:
    """A directory to write to, locked for as long as its publisher lives, gone afterwards unless it was renamed."""
    import fcntl

    directory = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=adapters))
    damaged = directory.with_name(directory.name + "-damaged")
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(descriptor)
        for left in (directory, damaged):
            shutil.rmtree(left, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told_as_storage_error(adapters: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"The adapter could not be written: the disk of {adapters} is full.",
                "Free some space, then start the fine-tune again: it goes on from its last checkpoint.",
            ) from error
        raise StorageError(
            f"The adapter could not be written to {adapters}: {words_of(error)}.", "Correct its permissions."
        ) from error
