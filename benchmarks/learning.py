"""Does the loop learn? TweetSumm's training dialogues approved in steps, measured on its validation dialogues.

Everything goes through the command line, each step and seed in a data directory of its own: `redraft pairs import`,
`redraft train`, which also has base and candidate write of the held-out dialogues; their texts are then held against
people's here. Steps that are done are kept (``--work``), so that a run that was cut off goes on.

Target (of the project): after all dialogues ROUGE-L and content F1 each at least 8 points above the base and not below
lead-2; no step worse than the one before beyond its interval; the last step clear of the second.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.report import Table, finish, machine
from engine.learning.charts import Line, line_chart
from engine.scoring.bootstrap import Interval, differences, intervals
from engine.scoring.metrics import FIGURES, Source, Yardstick, house_stems, turns

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
PLOT = ROOT / "docs" / "learning.svg"
STEPS = (0, 50, 200, 879)
_SHOWN = ("rouge1", "rouge2", "rougeL", "content_f1", "novelty")
_HEADS = ("ROUGE-1", "ROUGE-2", "ROUGE-L", "content F1", "novelty %")
_GAIN = 8.0

Figures = Mapping[str, Sequence[float | None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS))
    parser.add_argument("--seeds", type=int, default=0, help="0: three on a GPU, one without")
    parser.add_argument("--work", type=Path, help="keeps finished steps here, and goes on from them")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    gpus = _gpus()
    seeds = arguments.seeds or (3 if gpus else 1)
    train = _read(arguments.data / "tweetsumm.train.jsonl.gz")
    valid = _read(arguments.data / "tweetsumm.valid.jsonl.gz")
    with tempfile.TemporaryDirectory() as scratch:
        work = arguments.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        done = [
            _step(work, count, seed, train, valid)
            for seed in range(seeds)
            for count in sorted(set(arguments.steps) - {0})
        ]
    _report(done, valid, arguments.steps, seeds, gpus, write=arguments.write)


def _read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _gpus() -> list[str]:
    from engine.model.probe import probe

    return [gpu.name for gpu in probe().gpus]


def _step(
    work: Path, count: int, seed: int, train: list[dict[str, Any]], valid: list[dict[str, Any]]
) -> dict[str, Any]:
    """One fine-tune on the first ``count`` dialogues of the seed's order, and what base and candidate then wrote."""
    kept = work / f"step-{count}-seed-{seed}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    order = list(range(len(train)))
    random.Random(seed).shuffle(order)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        began = time.monotonic()
        for name, rows, split in (
            ("train", [train[at] for at in order[:count]], "train"),
            ("valid", valid, "heldout"),
        ):
            file = Path(folder) / f"{name}.jsonl"
            file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
            imported = _redraft(
                home, seed, "pairs", "import", str(file), "--source", name, "--split", split, "--approve"
            )
        trained = _redraft(home, seed, "train")
        run = _redraft(home, seed, "runs", "show", trained["run"])
        texts = json.loads((home / "runs" / trained["run"] / "evaluation.json").read_text(encoding="utf-8"))
        result = {
            "count": count,
            "seed": seed,
            "seconds": round(time.monotonic() - began, 1),
            "imported": imported,
            "run": {name: run.get(name) for name in ("train_pairs", "validation_pairs", "left_out", "step", "metrics")},
            "dialogues": [item["dialogue"] for item in texts["items"]],
            "references": [item["blind"] for item in texts["items"]],
            "base": texts["summaries"]["base"],
            "candidate": texts["summaries"]["candidate"],
        }
    kept.write_text(json.dumps(result), encoding="utf-8")
    print(f"{count} dialogues, seed {seed}: {result['seconds']} s", file=sys.stderr, flush=True)
    return result


def _redraft(home: Path, seed: int, *words: str) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REDRAFT_", "TRAIN_SEED"))}
    environment = {**kept, "REDRAFT_HOME": str(home), "REDRAFT_ENV_FILE": os.devnull, "TRAIN_SEED": str(seed)}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "admin.cli", *words, "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"redraft {' '.join(words[:2])} ended with {done.returncode}")
    return dict(json.loads(done.stdout))


def _figures(summaries: Sequence[str], dialogues: Sequence[str], references: Sequence[Sequence[str]]) -> Figures:
    yardstick = Yardstick(house_stems([text for row in references for text in row]))
    rows = [
        yardstick.figures(summary, tuple(row), Source(dialogue))
        for summary, row, dialogue in zip(summaries, references, dialogues, strict=True)
    ]
    return {name: [row[name] for row in rows] for name in FIGURES}


def _lead(dialogue: str, count: int) -> str:
    return " ".join(text for _, text in turns(dialogue)[:count])


def _mean(columns: Sequence[Sequence[float | None]]) -> list[float | None]:
    """The mean of several seeds, conversation by conversation."""
    return [
        fmean(known) if (known := [value for value in row if value is not None]) else None
        for row in zip(*columns, strict=True)
    ]


def _report(
    done: Sequence[dict[str, Any]],
    valid: Sequence[dict[str, Any]],
    steps: Sequence[int],
    seeds: int,
    gpus: Sequence[str],
    *,
    write: bool,
) -> None:
    done = _on_the_same(done)
    first = done[0]
    dialogues, references = first["dialogues"], first["references"]
    systems: dict[str, Figures] = {
        "lead-2": _figures([_lead(text, 2) for text in dialogues], dialogues, references),
        "lead-3": _figures([_lead(text, 3) for text in dialogues], dialogues, references),
        "0 (base)": _figures(first["base"], dialogues, references),
    }
    for count in sorted(set(steps) - {0}):
        each = [_figures(one["candidate"], dialogues, references) for one in done if one["count"] == count]
        systems[str(count)] = {name: _mean([figures[name] for figures in each]) for name in FIGURES}
    ladder = [name for name in systems if not name.startswith("lead")]
    pairs = [*zip(ladder[1:], ladder, strict=False), (ladder[-1], ladder[0]), (ladder[-1], "lead-2")]
    if len(ladder) > 2:
        pairs.append((ladder[-1], ladder[1]))
    pairs = list(dict.fromkeys(pairs))
    columns = {f"{system}|{name}": systems[system][name] for system in systems for name in FIGURES}
    for ours, theirs in pairs:
        for name in FIGURES:
            columns[f"{ours}-{theirs}|{name}"] = differences(systems[ours][name], systems[theirs][name])
    found = intervals(columns)
    tables = [
        Table(
            f"Approved dialogues, measured on {len(dialogues)} held-out ones (95% intervals, {seeds} seed(s))",
            ("approved", *_HEADS, "empty %", "looping %"),
            [
                [system, *(_cell(found[f"{system}|{name}"]) for name in (*_SHOWN, "empty", "looping"))]
                for system in systems
            ],
        ),
        Table(
            "Paired differences",
            ("of", *_HEADS),
            [
                [f"{ours} less {theirs}", *(_cell(found[f"{ours}-{theirs}|{name}"], signed=True) for name in _SHOWN)]
                for ours, theirs in pairs
            ],
        ),
        Table(
            "The fine-tunes",
            ("approved", "seed", "trained on", "steps", "seconds in all"),
            [
                [
                    str(one["count"]),
                    str(one["seed"]),
                    str(one["run"]["train_pairs"]),
                    str(one["run"]["step"]),
                    f"{one['seconds']:,.0f}",
                ]
                for one in done
            ],
        ),
    ]
    result = {
        "model": "starter",
        "machine": machine() + (f", {gpus[0]}" if gpus else ""),
        "held_out": len(dialogues),
        "of": len(valid),
        "seeds": seeds,
        "figures": {key: _plain(value) for key, value in found.items()},
        "targets": _targets(found, ladder),
    }
    if write:
        PLOT.write_text(_plot(found, systems, ladder) + "\n", encoding="utf-8")
    finish("learning", tables, result, write=write)


def _on_the_same(done: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every step on the dialogues that all steps held out, in one order.

    A validation dialogue that resembles one that was trained on is left out by the split, so that more training
    dialogues leave a few fewer to measure on.
    """
    common = set.intersection(*(set(one["dialogues"]) for one in done))
    order = [text for text in done[0]["dialogues"] if text in common]
    found = []
    for one in done:
        place = {text: at for at, text in enumerate(one["dialogues"])}
        chosen = [place[text] for text in order]
        columns = ("dialogues", "references", "base", "candidate")
        found.append({**one, **{name: [one[name][at] for at in chosen] for name in columns}})
    return found


def _targets(found: Mapping[str, Interval | None], ladder: Sequence[str]) -> dict[str, bool]:
    """What was reached, promise by promise."""
    base, last = ladder[0], ladder[-1]

    def of(key: str) -> Interval:
        value = found[key]
        assert value is not None
        return value

    met = {}
    for name in ("rougeL", "content_f1"):
        met[f"{name}: {_GAIN:.0f} points above the base"] = of(f"{last}-{base}|{name}").mean >= _GAIN
        met[f"{name}: not below lead-2"] = of(f"{last}-lead-2|{name}").mean >= 0
        steps = zip(ladder[1:], ladder, strict=False)
        met[f"{name}: no step worse than the one before"] = all(of(f"{a}-{b}|{name}").high >= 0 for a, b in steps)
        if len(ladder) > 2:
            met[f"{name}: {last} clear of {ladder[1]}"] = of(f"{last}-{ladder[1]}|{name}").low > 0
    return met


def _plot(found: Mapping[str, Interval | None], systems: Mapping[str, Figures], ladder: Sequence[str]) -> str:
    at = [0 if name.startswith("0") else int(name) for name in ladder]
    lines = []
    for name, label in (("rougeL", "ROUGE-L"), ("content_f1", "content F1"), ("novelty", "novelty %")):
        known = [(x, value) for x, system in zip(at, ladder, strict=True) if (value := found[f"{system}|{name}"])]
        points = [(float(x), value.mean) for x, value in known]
        lines.append(Line(label, points, [(value.low, value.high) for _, value in known], marks=True))
    for name, label in (("rougeL", "lead-2 ROUGE-L"), ("content_f1", "lead-2 content F1")):
        value = found[f"lead-2|{name}"]
        assert value is not None
        lines.append(Line(label, [(float(min(at)), value.mean), (float(max(at)), value.mean)], dashed=True))
    return line_chart(lines, title="What the loop learns", x="approved dialogues", y="points")


def _cell(value: Interval | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    sign = "+" if signed else ""
    return f"{value.mean:{sign}.1f} ({value.low:{sign}.1f} to {value.high:{sign}.1f})"


def _plain(value: Interval | None) -> list[float] | None:
    return None if value is None else [round(value.mean, 2), round(value.low, 2), round(value.high, 2)]


if __name__ == "__main__":
    main()
