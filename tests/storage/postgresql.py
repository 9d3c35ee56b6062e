"""A PostgreSQL server for the tests: started from pgserver's binaries, on a Unix socket in a temporary directory.

PostgreSQL refuses to run as root, so under root it runs as ``nobody``. pgserver's own way (a new user, and read
permission for everybody on every directory up to the root) changes the machine; this one changes nothing.
"""

from __future__ import annotations

import collections
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_READY = "database system is ready to accept connections"


@contextmanager
def running_server() -> Iterator[str]:
    """A server of its own; gives the address of its ``postgres`` database."""
    # A short path: the name of a Unix socket holds about 100 characters.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as place:
        root = Path(place)
        who = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        identity = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if who else {}
        if who:
            os.chown(root, who.pw_uid, who.pw_gid)
        binaries = _reachable_binaries(root, identity)
        data = root / "data"
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres", "--no-sync"]
        subprocess.run(
            [binaries / "initdb", "-D", data, *options],
            check=True,
            capture_output=True,
            cwd=root,
            timeout=60,
            **identity,
        )
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": place,
            "fsync": "off",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "max_connections": "60",
        }
        command = [binaries / "postgres", "-D", data, *(f"--{key}={value}" for key, value in settings.items())]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=root, **identity)
        try:
            assert server.stderr is not None
            said = []
            for line in server.stderr:
                said.append(line)
                if _READY in line:
                    break
            else:
                raise AssertionError("PostgreSQL did not start:\n" + "".join(said))
            # What it says from now on is read too: a full pipe would stop whichever of its processes speaks next, and
            # with the checkpointer every DROP DATABASE.
            reader = threading.Thread(target=collections.deque, args=(server.stderr, 0), daemon=True)
            reader.start()
            yield f"postgresql://postgres@/postgres?host={place}"
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(timeout=30)


def _reachable_binaries(root: Path, identity: dict[str, object]) -> Path:
    """pgserver's binaries, copied to where the server's user can read them if it cannot where they are."""
    spec = importlib.util.find_spec("pgserver")
    assert spec is not None and spec.submodule_search_locations
    installed = Path(spec.submodule_search_locations[0]) / "pginstall"
    try:
        subprocess.run(
            [installed / "bin" / "postgres", "--version"], check=True, capture_output=True, cwd=root, **identity
        )
    except (PermissionError, FileNotFoundError, subprocess.CalledProcessError):
        shutil.copytree(installed, root / "pginstall")
        for path in [root / "pginstall", *(root / "pginstall").rglob("*")]:
            path.chmod(0o755)
        return root / "pginstall" / "bin"
    return installed / "bin"
