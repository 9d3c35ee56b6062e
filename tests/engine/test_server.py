"""The engine's process as others meet it: `redraft engine` started for real, with a tiny BART."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
from filelock import FileLock

from admin.commands.engine import permanent
from engine import address, wire
from engine.client import HttpClient, find_client, running
from engine.local import LocalClient
from engine.requests import Finished, Progress, SummaryRequest
from engine.server import _listening, serve
from engine.settings import EngineSettings
from storage.errors import EngineError, EngineUnavailable, RedraftError, SettingsError
from storage.home import Home
from storage.settings import StorageSettings
from tests.engine.fake_model import FakeModel
from tests.engine.processes import Command, redraft, talk

pytestmark = pytest.mark.xdist_group("engine-process")
#: One row a batch: long conversations then take many batches.
SLOW = {
    "ENGINE_PORT": "0",
    "ENGINE_MAX_BATCH": "1",
    "ENGINE_MAX_NEW_TOKENS": "32",
    "ENGINE_EXPAND": "always",
    "ENGINE_THREADS": "1",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.engine.tiny import make

    return make("bart", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Command, None, None]:
    """An engine that serves all tests that leave it as it was."""
    home = Home.create(StorageSettings(redraft_home=tmp_path_factory.mktemp("engine") / "home"))
    with redraft("engine", home=home, ENGINE_MODEL=str(tiny), **SLOW) as command:
        command.until_it_says("The engine is ready")
        yield command


@pytest.fixture
def home() -> Home:
    return Home.create(StorageSettings.load())


@pytest.fixture
def lock_held(home: Home) -> Generator[None, None, None]:
    """For tests whose engine is a few lines of the test itself."""
    with FileLock(address.lock_file(home)):
        yield


def ask(engine: Command, method: str, path: str, *, token: str | None = None, **more: object) -> httpx.Response:
    where = address.published(engine.home)
    assert where is not None
    shown = address.read_token(engine.home) if token is None else token
    headers = {"Authorization": f"Bearer {shown}"} if shown else {}
    with httpx.Client(trust_env=False, timeout=60) as client:
        return client.request(method, where.url + path, headers=headers, **more)  # type: ignore[arg-type]


async def test_a_summary_comes_over_the_socket_and_the_streamed_text_is_final(engine: Command) -> None:
    client = HttpClient(engine.home)
    events = [event async for event in client.summarize(SummaryRequest(talk(4)))]
    await client.close()
    assert isinstance(events[-1], Finished)
    result = events[-1].result
    assert result.summary
    assert result.output_tokens > 0
    assert result.model.startswith("bart") or "tiny" in result.model


async def test_the_engine_and_the_in_process_client_write_the_same(engine: Command, tiny: Path) -> None:
    given = {name.lower(): value for name, value in SLOW.items()}
    local = LocalClient(EngineSettings(engine_model=str(tiny), **given))  # type: ignore[arg-type]
    results = []
    for client in (HttpClient(engine.home), local):
        (*_, last) = [event async for event in client.summarize(SummaryRequest(talk(6)))]
        await client.close()
        assert isinstance(last, Finished)
        results.append((last.result.summary, last.result.sentences, last.result.output_tokens))
    assert results[0] == results[1]


def test_the_token_and_the_address_are_for_their_owner_only(engine: Command) -> None:
    for path in (engine.home.engine_token, address.address_file(engine.home)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("token", ["", "wrong", "Ünïcode"])
@pytest.mark.parametrize("route", ["GET /health", "GET /metrics", "POST /v1/summaries", "GET /docs"])
def test_without_the_token_nothing_is_told(engine: Command, token: str, route: str) -> None:
    method, path = route.split()
    where = address.published(engine.home)
    assert where is not None
    headers = {"Authorization": f"Bearer {token}".encode()} if token else {}
    answer = httpx.request(method, where.url + path, headers=headers, trust_env=False)
    assert answer.status_code == (404 if path == "/docs" else 401)
    assert "starter" not in answer.text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 50_000, b'{"conversation": {"id": "x", "messages": [{"text": "private"}]}}']
)
def test_a_bad_body_is_refused_in_one_sentence(engine: Command, body: bytes) -> None:
    answer = ask(engine, "POST", "/v1/summaries", content=body)
    assert answer.status_code == 422
    assert answer.json()["kind"] == "InputError"
    assert "private" not in answer.text


def test_a_body_beyond_the_bound_is_refused_without_being_kept(engine: Command) -> None:
    answer = ask(engine, "POST", "/v1/summaries", content=b" " * (wire.MAX_REQUEST_BYTES + 1))
    assert answer.status_code == 422
    assert "larger than the engine takes" in answer.json()["message"]


def test_metrics_count_requests_batches_and_tokens(engine: Command) -> None:
    before = _metrics(engine)
    asyncio.run(_finish(engine.home, 4))
    after = _metrics(engine)
    finished = 'redraft_requests_total{outcome="finished"}'
    assert after[finished] == before[finished] + 1
    assert after["redraft_batch_rows_count"] > before["redraft_batch_rows_count"]
    for direction in ("in", "out"):
        name = f'redraft_tokens_total{{direction="{direction}"}}'
        assert after[name] > before[name]
    assert (after["redraft_running"], after["redraft_waiting"]) == (0, 0)
    assert any(name.startswith("redraft_model_info") and 'type="bart"' in name for name in after)


def _metrics(engine: Command) -> dict[str, float]:
    answer = ask(engine, "GET", "/metrics")
    assert answer.status_code == 200
    lines = (line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


async def _finish(home: Home, messages: int) -> None:
    client = HttpClient(home)
    try:
        (*_, last) = [event async for event in client.summarize(SummaryRequest(talk(messages)))]
        assert isinstance(last, Finished)
    finally:
        await client.close()


async def test_a_client_that_goes_away_cancels_its_request(engine: Command) -> None:
    client = HttpClient(engine.home)
    async with aclosing(client.summarize(SummaryRequest(talk(400)))) as events:
        async for event in events:
            if isinstance(event, Progress):
                break
        assert (await client.health()).running == 1
    async with asyncio.timeout(20):
        while (await client.health()).running:
            await asyncio.sleep(0.02)
    await client.close()
    await _finish(engine.home, 4)


def test_the_running_engine_is_found(engine: Command) -> None:
    assert running(engine.home)
    assert isinstance(find_client(EngineSettings(), engine.home), HttpClient)


def test_a_second_engine_for_the_same_directory_is_refused(engine: Command, tiny: Path) -> None:
    with redraft("engine", home=engine.home, ENGINE_MODEL=str(tiny), ENGINE_PORT="0") as second:
        assert second.ends() == 1
    assert len(second.said) == 2, second.said
    assert f"An engine runs already for this data directory (process {engine.process.pid})" in second.said[0]
    assert running(engine.home)


def test_nothing_that_people_wrote_is_in_the_log(engine: Command) -> None:
    asyncio.run(_finish(engine.home, 4))
    logs = "".join(path.read_text() for path in engine.home.logs.iterdir()) + "\n".join(engine.said)
    assert "a request of 4 messages ended: finished" in logs
    assert "export job" not in logs
    assert "Priya" not in logs


async def test_sigterm_lets_requests_finish_refuses_new_ones_and_ends_with_zero(tiny: Path, home: Home) -> None:
    with redraft("engine", home=home, ENGINE_MODEL=str(tiny), **SLOW) as command:
        await asyncio.to_thread(command.until_it_says, "The engine answers on")
        client = HttpClient(home)
        assert (await client.health()).state == "loading"
        await asyncio.to_thread(command.until_it_says, "The engine is ready")
        assert (await client.health()).state == "up"
        events = client.summarize(SummaryRequest(talk(40)))
        seen = [await anext(events)]
        while not isinstance(seen[-1], Progress):
            seen.append(await anext(events))
        command.signal(signal.SIGTERM)
        await asyncio.to_thread(command.until_it_says, "draining")
        assert (await client.health()).state == "draining"
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await anext(client.summarize(SummaryRequest(talk(4))))
        seen += [event async for event in events]
        assert isinstance(seen[-1], Finished)
        assert await asyncio.to_thread(command.ends) == 0
        assert (await client.health()).state == "down"
        with pytest.raises(EngineUnavailable, match="No engine is running"):
            await anext(client.summarize(SummaryRequest(talk(4))))
        await client.close()
    assert not address.address_file(home).exists()
    assert not any("Traceback" in line for line in command.said)


async def test_what_does_not_finish_within_the_drain_is_told_and_the_engine_ends(tiny: Path, home: Home) -> None:
    with redraft("engine", home=home, ENGINE_MODEL=str(tiny), ENGINE_DRAIN_SECONDS="0.1", **SLOW) as command:
        await asyncio.to_thread(command.until_it_says, "The engine is ready")
        client = HttpClient(home)
        events = client.summarize(SummaryRequest(talk(2000)))
        while not isinstance(await anext(events), Progress):
            pass
        command.signal(signal.SIGTERM)
        with pytest.raises(EngineUnavailable, match="shutting down"):
            async for _ in events:
                pass
        assert await asyncio.to_thread(command.ends, 30) == 0
        await client.close()


def test_an_engine_whose_device_failed_says_so_and_ends_so_that_it_is_started_again(home: Home) -> None:
    model, told = FakeModel(), []

    def fail(prompts: list[str]) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    model.fail = fail

    def ask_once() -> None:
        with pytest.raises(EngineError) as refused:
            asyncio.run(_finish(home, 4))
        told.append(refused.value.message)

    asking = threading.Thread(target=ask_once)
    with pytest.raises(EngineError, match="device has failed") as ended:
        serve(EngineSettings(engine_port=0), home, lambda: model, on_ready=lambda info: asking.start())
    asking.join(30)
    assert not permanent(ended.value)  # so that the process ends with exit code 1, and `redraft up` starts it again
    assert len(told) == 1
    assert not address.alive(home)
    assert not address.address_file(home).exists()


def test_a_model_that_cannot_be_loaded_ends_the_engine_with_a_sentence(home: Home) -> None:
    with redraft("engine", home=home, ENGINE_MODEL=str(home.root / "nowhere"), ENGINE_PORT="0") as command:
        assert command.ends() == 1
    assert any(line.startswith("redraft: ") for line in command.said)
    assert not any("Traceback" in line for line in command.said)
    assert not address.address_file(home).exists()


def test_a_port_in_use_is_one_sentence_and_a_dead_engines_address_is_gone(home: Home) -> None:
    address.publish(home, address.Address("http://127.0.0.1:8765", os.getpid()))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with redraft("engine", home=home, ENGINE_PORT=port) as command:
            assert command.ends() == 1
    assert command.said[0] == f"redraft: The engine cannot listen on 127.0.0.1 port {port}: address already in use."
    assert len(command.said) == 2
    assert not address.address_file(home).exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_an_address_that_others_could_reach_is_refused(host: str) -> None:
    with (
        pytest.raises(SettingsError, match="this machine only"),
        _listening(EngineSettings(engine_host=host, engine_port=0)),
    ):
        pass


def test_a_unix_socket_is_for_its_owner_and_a_dead_ones_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with _listening(EngineSettings(engine_socket=str(path))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with (
            pytest.raises(SettingsError, match="cannot listen on the socket"),
            _listening(EngineSettings(engine_socket=str(path))),
        ):
            pass
    assert not path.exists()
    with (
        pytest.raises(SettingsError, match="longer than 107 bytes"),
        _listening(EngineSettings(engine_socket=str(tmp_path / ("long" * 30)))),
    ):
        pass


async def test_what_listens_where_a_dead_engine_did_is_shown_neither_token_nor_conversation(home: Home) -> None:
    address.ensure_token(home)
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as stranger:
        port = stranger.sockets[0].getsockname()[1]
        # The number of a process that lives, as after a restart of the machine; and the lock's file is still there.
        address.publish(home, address.Address(f"http://127.0.0.1:{port}", os.getpid()))
        address.lock_file(home).touch()
        assert not await asyncio.to_thread(running, home)
        client = find_client(EngineSettings(), home)
        assert isinstance(client, LocalClient)
        await client.close()
        over_http = HttpClient(home)
        assert (await over_http.health()).state == "down"
        with pytest.raises(EngineUnavailable, match="No engine is running"):
            await anext(over_http.summarize(SummaryRequest(talk(2))))
        await over_http.close()
    assert heard == []


def test_an_engine_lives_while_it_holds_its_lock_and_looking_is_not_holding(home: Home) -> None:
    assert not address.alive(home)
    with FileLock(address.lock_file(home)):
        assert address.alive(home)
    address.lock_file(home).touch()
    with address.lock_file(home).open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # as another client does in passing
        assert not address.alive(home)


async def test_a_socket_that_is_named_from_where_the_engine_started_is_reached_from_elsewhere(
    tiny: Path, home: Home
) -> None:
    with redraft("engine", home=home, ENGINE_MODEL=str(tiny), ENGINE_SOCKET="engine.sock") as command:
        await asyncio.to_thread(command.until_it_says, f"The engine answers on {home.root / 'engine.sock'};")
        client = HttpClient(home)  # this process has another working directory
        assert (await client.health()).state in ("loading", "up")
        await client.close()


def test_a_socket_may_be_named_from_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with _listening(EngineSettings(engine_socket="~/s")):
        assert (tmp_path / "s").is_socket()


@pytest.mark.usefixtures("lock_held")
@pytest.mark.parametrize("half", [b"", b'{"event":"queued","ahead":0}\n{"event":"sent'])
async def test_an_engine_that_dies_in_the_middle_is_a_clear_sentence(home: Home, half: bytes) -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        if half:
            writer.write(b"%x\r\n%s\r\n" % (len(half), half))
        await writer.drain()
        writer.transport.abort()

    async with await asyncio.start_server(die, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address.publish(home, address.Address(f"http://127.0.0.1:{port}", os.getpid()))
        client = HttpClient(home)
        with pytest.raises(EngineUnavailable, match="went away in the middle") as caught:
            async for _ in client.summarize(SummaryRequest(talk(2))):
                pass
        assert "redraft up" in caught.value.hint
        await client.close()


@pytest.mark.usefixtures("lock_held")
async def test_an_engine_that_falls_silent_is_given_up_in_the_end(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.client._SILENCE_S", 0.05)
    over = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await over.wait()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address.publish(home, address.Address(f"http://127.0.0.1:{port}", os.getpid()))
        client = HttpClient(home)
        with pytest.raises(EngineUnavailable, match="has stopped answering"):
            await anext(client.summarize(SummaryRequest(talk(2))))
        over.set()
        await client.close()


@pytest.mark.usefixtures("lock_held")
async def test_something_else_on_the_port_is_not_taken_for_an_engine(home: Home) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
        writer.close()

    async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        address.publish(home, address.Address(f"http://127.0.0.1:{port}", os.getpid()))
        assert not await asyncio.to_thread(running, home)
        client = HttpClient(home)
        assert (await client.health()).state == "down"
        with pytest.raises(RedraftError):
            async for _ in client.summarize(SummaryRequest(talk(2))):
                pass
        await client.close()


def test_a_token_that_others_could_read_is_replaced(home: Home) -> None:
    first = address.ensure_token(home)
    assert address.ensure_token(home) == first
    home.engine_token.chmod(0o644)
    second = address.ensure_token(home)
    assert second != first
    assert stat.S_IMODE(home.engine_token.stat().st_mode) == 0o600
    assert [path.name for path in home.root.iterdir() if "token-" in path.name] == []


def test_the_client_is_cheap_to_import_and_brings_no_torch() -> None:
    code = (
        "import sys, engine.client, engine.local\n"
        "heavy = {'torch', 'transformers', 'httpx', 'fastapi', 'uvicorn', 'sqlmodel'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


async def test_an_engine_that_is_down_under_a_supervisor_is_said_to_be_started_again(own_home: Path) -> None:
    home = Home.create(StorageSettings.load())
    client = HttpClient(home)
    assert "redraft up" not in (await client.health()).detail
    with FileLock(home.up_lock):
        assert "started again" in (await client.health()).detail
        with pytest.raises(EngineUnavailable, match="started again"):
            await anext(client.summarize(SummaryRequest(talk(4))))
    await client.close()
