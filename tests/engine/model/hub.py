"""A small Hugging Face Hub on loopback: the few routes by which a repository is looked up, listed and fetched.

Repositories are plain dictionaries; ``main`` may be moved and ``gated`` set between requests. What was asked is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """Files by commit, and where ``main`` stands."""

    commits: dict[str, dict[str, bytes]]
    main: str
    gated: bool = False


@dataclass
class Hub:
    """Repositories by id; ``asked`` lists method and path of every request, ``PART`` for a range."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def fetched(self) -> list[str]:
        """Names of the files that were sent whole."""
        return [path.rsplit("/", 1)[1] for path in self.asked if path.startswith("GET") and "/resolve/" in path]


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Answer on a free port until the block ends."""

    class Handler(_Handler):
        store = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    store: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on standard error."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.store.asked.append(f"{'PART' if self.headers.get('Range') else self.command} {path}")
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if api else parts[:2])
        repository = self.store.repositories.get(name)
        if repository is None:
            return self._refuse(404, "RepoNotFound")
        rest = parts[4:] if api else parts[2:]
        commit = self._commit(repository, rest[1] if len(rest) > 1 else "main")
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        files = repository.commits[commit]
        if not api:
            return self._send_file(repository, commit, files, "/".join(rest[2:]), body=body)
        if rest[:1] == ["tree"]:
            return self._send_json(
                [
                    {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for file, data in files.items()
                ]
            )
        siblings = [{"rfilename": file} for file in files]
        return self._send_json({"id": name, "modelId": name, "sha": commit, "siblings": siblings, "private": False})

    @staticmethod
    def _commit(repository: Repository, revision: str) -> str | None:
        revision = repository.main if revision == "main" else revision
        return revision if revision in repository.commits else None

    def _send_file(
        self, repository: Repository, commit: str, files: dict[str, bytes], file: str, *, body: bool
    ) -> None:
        if repository.gated:
            return self._refuse(403, "GatedRepo")
        if file not in files:
            return self._refuse(404, "EntryNotFound")
        whole = files[file]
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        data = whole[int(part[1]) : int(part[2]) + 1] if part else whole
        self.send_response(206 if part else 200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha1(whole).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if body:
            self.wfile.write(data)
        return None

    def _send_json(self, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", "refused by the test")
        self.send_header("Content-Length", "0")
        self.end_headers()
