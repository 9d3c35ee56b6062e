"""The engine's process: one socket on this machine only, one engine a data directory, an orderly end.

It binds, publishes where it is, serves :mod:`engine.app` while the model loads and after, and drains on SIGTERM: no new
requests, those under way finish within the setting, then it returns. It refuses any address that is not loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import stat
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

from engine.address import Address, discard_stale, ensure_token, lock_file, memory_wanted, publish, published, withdraw
from engine.protocols import AdapterSource, TextModel
from engine.requests import ModelInfo
from engine.service import EngineService
from engine.serving import Report
from engine.settings import EngineSettings
from storage.errors import EngineError, RedraftError, SettingsError

if TYPE_CHECKING:
    import uvicorn

    from storage.home import Home

_log = logging.getLogger(__name__)

#: Clients hold the engine's lock for an instant when they look whether one runs; an engine holds it for its life.
_LOCK_S = 1.0
#: The kernel holds as many connections until they are accepted.
_BACKLOG = 128
#: A Unix socket's path has to fit into the kernel's structure, its final zero included (unix(7)).
_SOCKET_PATH_BYTES = 107


def serve(
    settings: EngineSettings,
    home: Home,
    load: Callable[[], TextModel],
    *,
    adapters: AdapterSource | None = None,
    report: Report | None = None,
    on_listening: Callable[[Address], None] = lambda address: None,
    on_ready: Callable[[ModelInfo], None] = lambda info: None,
    restarts: int = 0,
    detail: str = "",
) -> bool:
    """Run the engine until SIGTERM or SIGINT, from the main thread.

    Args:
        settings: where to listen, how long to drain, the queue.
        home: data directory; ``engine.json`` and the token are written there.
        load: loads the model, in the worker's thread; again after a fine-tune had its memory.
        adapters: which adapters serve whom; None serves the base only.
        report: hears which adapters are refused and which are attached; see :class:`engine.serving.Serving`.
        on_listening: called once requests are taken, before the model is loaded.
        on_ready: called once the model is loaded.
        restarts: how often a supervisor has started this engine again; health says so.
        detail: why it did, one sentence.

    Returns:
        Whether the model's thread has ended; when not, only the end of the process ends it.

    Raises:
        SettingsError: the address cannot be used.
        EngineError: an engine runs already for this data directory.
        ModelError: the model cannot be loaded.
        EngineError: the model's device failed; another process may use it again.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file(home), timeout=_LOCK_S)
    try:
        lock.acquire()
    except Timeout as error:
        other = published(home)
        which = f" (process {other.pid})" if other else ""
        raise EngineError(
            f"An engine runs already for this data directory{which}.", "Use it, or stop it first."
        ) from error
    try:
        discard_stale(home)
        with _listening(settings) as (listener, url):
            return asyncio.run(
                _serve(
                    settings,
                    home,
                    load,
                    listener,
                    url,
                    on_listening,
                    on_ready,
                    adapters=adapters,
                    report=report,
                    restarts=restarts,
                    detail=detail,
                )
            )
    finally:
        lock.release()


async def _serve(
    settings: EngineSettings,
    home: Home,
    load: Callable[[], TextModel],
    listener: socket.socket,
    url: str,
    on_listening: Callable[[Address], None],
    on_ready: Callable[[ModelInfo], None],
    *,
    adapters: AdapterSource | None,
    report: Report | None,
    restarts: int,
    detail: str,
) -> bool:
    from engine.app import build_app
    from engine.metrics import Metrics

    metrics = Metrics()
    service = EngineService(
        settings,
        load,
        observer=metrics,
        adapters=adapters,
        report=report,
        memory_wanted=lambda: memory_wanted(home),
        restarts=restarts,
        detail=detail,
    )
    server = _uvicorn(build_app(service, metrics, ensure_token(home)))
    stop = asyncio.Event()
    _on_signals(stop)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    loading = asyncio.create_task(service.ready())
    watching = asyncio.create_task(service.watch())
    breaking = asyncio.create_task(service.batcher.broke())
    problem: RedraftError | None = None
    address = Address(url, os.getpid(), str(_socket_path(settings) or ""))
    try:
        # The kernel takes connections already, uvicorn answers them in a moment.
        publish(home, address)
        on_listening(address)
        _log.info("listening on %s", url)
        await asyncio.wait({loading, stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            try:
                on_ready(loading.result())
                _log.info("the model %s is loaded", loading.result().label)
            except RedraftError as error:
                problem = error
                _log.error("the model could not be loaded: %s", error.message)
            else:
                await asyncio.wait({stopping, serving, breaking}, return_when=asyncio.FIRST_COMPLETED)
            if breaking.done():
                problem = EngineError(breaking.result(), "Start the engine again; `redraft up` does so by itself.")
        if problem is None:
            _log.info("draining")
            in_time = await service.drain(settings.engine_drain_seconds)
            _log.info("drained" if in_time else "some requests did not finish in time")
        ended = await service.close()
        withdraw(home)  # before the port is free for others
        server.should_exit = True
        await serving
    finally:
        withdraw(home)
        for task in (stopping, loading, breaking, watching):
            task.cancel()
        await asyncio.gather(stopping, loading, breaking, watching, return_exceptions=True)
    if problem is not None:
        raise problem
    return ended


def _uvicorn(app: object) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            # Ours drain before uvicorn stops listening, and do not raise the signal again at the end.
            yield

    return Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
        )
    )


def _on_signals(stop: asyncio.Event) -> None:
    """The first SIGTERM or SIGINT drains; after it, another one ends at once."""
    loop = asyncio.get_running_loop()

    def handle() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, handle)


@contextlib.contextmanager
def _listening(settings: EngineSettings) -> Generator[tuple[socket.socket, str], None, None]:
    """A listening socket and the URL that reaches it."""
    path = _socket_path(settings)
    if path is not None:
        with _unix_socket(path) as listener:
            try:
                yield listener, "http://engine"
            finally:
                path.unlink(missing_ok=True)
        return
    host, family = _loopback(settings.engine_host)
    port = settings.engine_port
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise SettingsError(
                f"The engine cannot listen on {host} port {port}: {reason}.",
                "Stop what uses it, or choose another ENGINE_PORT (0 takes a free one).",
            ) from error
        port = listener.getsockname()[1]
        yield listener, f"http://[{host}]:{port}" if family == socket.AF_INET6 else f"http://{host}:{port}"


def _socket_path(settings: EngineSettings) -> Path | None:
    """Where to listen if not on loopback; absolute, because clients have working directories of their own."""
    if not settings.engine_socket:
        return None
    try:
        return Path(settings.engine_socket).expanduser().absolute()
    except RuntimeError as error:
        raise SettingsError(
            "The setting ENGINE_SOCKET cannot be used: there is no such person's home directory.",
            "Give its whole path.",
        ) from error


def _loopback(host: str) -> tuple[str, socket.AddressFamily]:
    """The address to bind; nothing that another machine could reach."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise SettingsError(
            "The setting ENGINE_HOST cannot be used: the engine listens on this machine only.",
            "Use 127.0.0.1 or ::1.",
        )
    return str(address), socket.AF_INET6 if address.version == 6 else socket.AF_INET


@contextlib.contextmanager
def _unix_socket(path: Path) -> Generator[socket.socket, None, None]:
    """A listening Unix socket of mode 0600; one that a dead engine has left is replaced."""
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        raise SettingsError(
            f"The setting ENGINE_SOCKET cannot be used: its path is longer than {_SOCKET_PATH_BYTES} bytes.",
            "Choose a shorter one.",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
                path.unlink()
            # Between bind and chmod the file's mode is the umask's, so the umask has to be right.
            before = os.umask(0o177)
            try:
                listener.bind(str(path))
            finally:
                os.umask(before)
            listener.listen(_BACKLOG)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise SettingsError(
                f"The engine cannot listen on the socket {path}: {reason}.", "Choose another ENGINE_SOCKET."
            ) from error
        yield listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
