"""Bytes held by a model in NF4, in NF4 expanded to dense weights, and in full precision; and what expansion gains.

Memory: each representation in a process of its own, so that one's leftovers are not another's. ``tensors`` is exact
(parameters, buffers and the quantisation's own tables, each storage once, after a first answer); ``process`` is the
growth of resident memory from before loading to after that answer, the pages of the weight file included.

Speed: all representations in one process, in turn, round after round, so that the ratios hold on a noisy machine.
``nf4, no 4-bit kernel`` is the way of CPUs without AVX512-BF16: dequantised anew for every multiplication.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.listening import Counting
from benchmarks.report import Table, finish

WAYS: dict[str, dict[str, Any]] = {
    "nf4": {"engine_quantization": "nf4", "engine_expand": "never"},
    "nf4-expanded": {"engine_quantization": "nf4", "engine_expand": "always"},
    "full": {"engine_quantization": "none"},
}
PLAIN = "nf4, no 4-bit kernel"
PEOPLE = ("Ana", "Kofi", "Mei", "Lars")


def load_model(way: str, arguments: argparse.Namespace) -> Any:
    """The model in one representation."""
    from engine.model.loading import load
    from engine.settings import EngineSettings

    given = {"engine_model": arguments.model, "engine_device": arguments.device, "engine_threads": arguments.threads}
    return load(EngineSettings(**given, **WAYS[way]))


def rows(count: int, new_tokens: int) -> list[Any]:
    """Invented threads of 4 to 15 messages, each answered with exactly ``new_tokens`` tokens."""
    from engine.protocols import Row

    return [
        Row(
            "\n".join(
                f"{PEOPLE[(i + j) % 4]}: Job {7 * i + j} of the export failed again after {j + 2} minutes."
                for j in range(4 + i % 12)
            ),
            new_tokens,
            new_tokens,
        )
        for i in range(count)
    ]


def tensor_bytes(network: Any) -> int:
    """Bytes of everything that a loaded network holds, each storage once."""
    found: dict[int, int] = {}

    def count(tensor: Any) -> None:
        if tensor is not None:
            storage = tensor.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()

    for tensor in (*network.parameters(), *network.buffers()):
        count(tensor)
        state = getattr(tensor, "quant_state", None)
        if state is not None:
            for part in (state.absmax, state.code, getattr(state, "offset", None)):
                count(part)
            nested = getattr(state, "state2", None)
            if nested is not None:
                count(nested.absmax)
                count(nested.code)
    return sum(found.values())


def memory_of(way: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One representation's bytes; runs in a process of its own."""
    import psutil

    from engine.model import hardware

    hardware.let_idle_threads_sleep()
    import transformers  # noqa: F401  (so that the libraries' own memory is not counted as the model's)

    hardware.bitsandbytes()
    process = psutil.Process()
    before = process.memory_info().rss
    start = time.perf_counter()
    model = load_model(way, arguments)
    seconds = time.perf_counter() - start
    model.generate(rows(1, 8), Counting())
    return {
        "tensors": tensor_bytes(model._model),
        "process": process.memory_info().rss - before,
        "load_s": round(seconds, 2),
        "representation": model.info.representation,
        "model": model.info.label,
        "device": model.info.device,
    }


def speeds(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Tokens a second by representation and batch, medians over the rounds; runs in a process of its own."""
    models = {way: load_model(way, arguments) for way in WAYS}
    from engine.model.expansion import quantised_layers

    if models["nf4"].info.device == "cpu" and any(
        layer.support_avx512bf16_for_cpu for _, layer in quantised_layers(models["nf4"]._model)
    ):
        models[PLAIN] = load_model("nf4", arguments)
        for _, layer in quantised_layers(models[PLAIN]._model):
            layer.support_avx512bf16_for_cpu = False
    measured: dict[str, dict[str, list[float]]] = {way: {} for way in models}
    for turn in range(arguments.rounds + 1):
        for batch in arguments.batches:
            for way, model in models.items():
                heard = Counting()
                start = time.perf_counter()
                model.generate(rows(batch, arguments.new_tokens), heard)
                if turn:  # the first round warms up and is not counted
                    measured[way].setdefault(str(batch), []).append(heard.tokens / (time.perf_counter() - start))
    return {way: {b: round(statistics.median(rate), 1) for b, rate in by.items()} for way, by in measured.items()}


def in_a_process(task: str) -> Any:
    """Run one task of this file in a process of its own, with this one's arguments."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *sys.argv[1:], "--task", task], check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="starter", help="as ENGINE_MODEL")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        print(json.dumps(speeds(arguments) if arguments.task == "speed" else memory_of(arguments.task, arguments)))
        return
    held = {way: in_a_process(way) for way in WAYS}
    speed = in_a_process("speed")
    full = held["full"]
    about = f"{full['model']}, {full['device']}"
    memory_rows = [
        [
            way,
            f"{one['tensors'] / 1e6:.1f}",
            f"{one['tensors'] / full['tensors']:.2f}",
            f"{one['process'] / 1e6:.0f}",
            f"{one['load_s']:.1f}",
        ]
        for way, one in held.items()
    ]
    base = PLAIN if PLAIN in speed else "nf4"
    speed_rows = [
        [way, *(f"{rates[str(b)]:.0f} ({rates[str(b)] / speed[base][str(b)]:.1f})" for b in arguments.batches)]
        for way, rates in speed.items()
    ]
    tables = [
        Table(
            f"Memory of {about}",
            ["representation", "tensors, MB", "of full", "process growth, MB", "loading, s"],
            memory_rows,
        ),
        Table(
            f"Tokens a second of {about}, {arguments.new_tokens} new each (times {base})",
            ["representation", *(f"batch {b}" for b in arguments.batches)],
            speed_rows,
        ),
    ]
    finish("memory", tables, {"memory": held, "tokens_per_second": speed, "baseline": base}, write=arguments.write)


if __name__ == "__main__":
    main()
