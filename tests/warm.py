"""Starts `redraft` in processes of their own that need not import torch again: forked from one that has.

Importing torch, transformers, peft and bitsandbytes costs five seconds of CPU, and the suite runs the command line some
hundred times. Each test process keeps one parent that has imported them and does nothing else; a command is a fork of
it with the arguments, environment, directory and streams that it was given, so that it is a process like any other: it
has its own memory, gets signals and can be killed. What it cannot show is how a command starts from nothing: that is
for the tests of the wheel, of imports and of start-up, for those in pseudo-terminals, and for what `redraft` starts.

Run as ``python -m tests.warm``: the parent. It reads requests from its standard input, a socket.
"""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

_LIBRARIES = ("peft.tuners.lora", "transformers.models.bart.modeling_bart", "alembic.command", "uvicorn", "fastapi")
#: What most commands import when they run.
_OURS = (
    "admin.cli", "engine.app", "engine.client", "engine.learning.evaluation", "engine.local", "engine.model.generation",
    "engine.learning.alerts", "engine.learning.bases", "engine.learning.pairs", "engine.learning.registry",
    "engine.learning.runs", "storage.database", "storage.migrate",
)  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent
_lock = threading.Lock()
_parent: tuple[subprocess.Popen[bytes], socket.socket] | None = None


class Process:
    """A running command: the part of :class:`subprocess.Popen` that tests use.

    Args:
        streams: standard input, output and error: descriptors of open files.
    """

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        directory: Path,
        streams: tuple[int, int, int],
        own_session: bool = False,
    ) -> None:
        self._says, theirs = socket.socketpair()
        asked = {
            "arguments": arguments,
            "environment": dict(environment),
            "directory": str(directory),
            "own_session": own_session,
        }
        with _lock:
            channel = _started()
            message = json.dumps(asked).encode()
            descriptors = array.array("i", [*streams, theirs.fileno()])
            channel.sendall(len(message).to_bytes(4, "big"))
            sent = channel.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            channel.sendall(message[sent:])
        theirs.close()
        told = b""
        while not told.endswith(b"\n"):
            byte = self._says.recv(1)  # one by one: what follows is the exit code
            if not byte:
                raise AssertionError("the process that commands are forked from is gone")
            told += byte
        self.pid = int(told)
        self.returncode: int | None = None
        self._once = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        if self.returncode is None and not self._ended(timeout):
            raise subprocess.TimeoutExpired("redraft", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self.returncode is None:
            self._ended(0)
        return self.returncode

    def _ended(self, timeout: float | None) -> bool:
        """Whether it has within ``timeout`` seconds; any thread may ask, so the answer is looked at first."""
        if not select.select([self._says], [], [], timeout)[0]:
            return False
        with self._once:
            if self.returncode is None:
                code = self._says.recv(16)
                if not code:
                    raise AssertionError("the process that commands are forked from is gone")
                self.returncode = int(code)
        return True

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _started() -> socket.socket:
    """The channel to this test process's parent of commands, which ends when the channel is closed."""
    global _parent
    if _parent is None or _parent[0].poll() is not None:
        ours, theirs = socket.socketpair()
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm"],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
            env=kept | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        )
        theirs.close()
        _parent = process, ours
    return _parent[1]


def run(
    *arguments: str, stdin: bytes, timeout: float, environment: Mapping[str, str], directory: Path
) -> subprocess.CompletedProcess[bytes]:
    """One command to its end, as :func:`subprocess.run` with everything captured."""
    import tempfile

    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        process = Process(
            *arguments,
            environment=environment,
            directory=directory,
            streams=(given.fileno(), out.fileno(), err.fileno()),
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
            raise
        return subprocess.CompletedProcess(list(arguments), code, _all_of(out), _all_of(err))


def _all_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


# The parent ---------------------------------------------------------------------------------------------------------


def main() -> None:
    """Import what costs, then fork a child for every request until nobody can ask any more."""
    from engine.model import hardware

    hardware.let_idle_threads_sleep()
    import torch
    import transformers

    for name in (*_LIBRARIES, *_OURS):
        importlib.import_module(name)
    for name in ("AutoModelForSeq2SeqLM", "AutoModelForCausalLM", "AutoTokenizer", "BitsAndBytesConfig"):
        getattr(transformers, name)  # imported by being looked at
    hardware.bitsandbytes()
    assert threading.active_count() == 1, "only a process of one thread may be forked"
    assert not torch.cuda.is_initialized()
    channel = socket.socket(fileno=os.dup(0))
    while True:
        head = _exactly(channel, 4)
        if not head:
            return
        size = int.from_bytes(head, "big")
        message, ancillary, _, _ = channel.recvmsg(size, socket.CMSG_SPACE(4 * array.array("i").itemsize))
        message += _exactly(channel, size - len(message))
        descriptors = array.array("i")
        descriptors.frombytes(ancillary[0][2])
        # A process between us and the command waits for it, so that we can take the next request.
        watcher = os.fork()
        if not watcher:
            channel.close()
            _watch(json.loads(message), list(descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        _reap()


def _exactly(channel: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        part = channel.recv(size - len(got))
        if not part:
            return b""
        got += part
    return got


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _watch(asked: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Fork the command, and tell its id and its exit code."""
    *streams, says = descriptors
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = os.fork()
    if not child:
        os.close(says)
        _become(asked, streams)
    for descriptor in streams:
        os.close(descriptor)
    os.write(says, b"%d\n" % child)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        os.write(says, b"%d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(asked: dict[str, Any], streams: list[int]) -> NoReturn:
    """Be ``redraft``, as if started with these arguments, environment, directory and streams."""
    from admin.cli import main as redraft

    signal.signal(signal.SIGINT, signal.default_int_handler)
    if asked["own_session"]:
        os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["directory"])
    # Python's own streams were made for the parent's.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    sys.argv = ["redraft", *asked["arguments"]]
    code = 0
    try:
        redraft()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    _finish(code)


def _finish(code: int) -> NoReturn:
    """End as an interpreter does: threads are waited for, exit handlers called, streams flushed."""
    import atexit

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
