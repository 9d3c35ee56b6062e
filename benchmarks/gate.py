"""Does the gate promote what is honest and nothing else? Thirty fine-tunes of a worn starter on TweetSumm, judged.

Everything goes through the command line, each run in a data directory of its own: `redraft pairs import`, `redraft
train`, which also measures the candidate. The base is the starter with noise added to its weights: in two minutes the
starter itself learns how people write and loses what they say (docs/log.md), so that every candidate would be worse and
the gate have nothing to tell apart; a worn one can be made better, and a poisoned candidate can look so.

Ten runs are *honest*: a draw of dialogues with their human summaries, split as any import is. Ten are *poisoned before
the split*, so that the held-out references are poisoned too: summaries shuffled between dialogues, one sentence
repeated, another language (every word an invented one; names and numbers stay), summaries of other threads. Ten are
*edited*: an honest run's adapter is put in service, drafts summaries of new dialogues, and people's light edits of them
(15 to 40% of the words, taken from a human summary) join the pairs; the next candidate is held against that adapter. A
*parrot* that writes the commonest words of the references is judged on the held-out dialogues of every honest run.

Targets (of the project): no poisoned run is better, nor a parrot; at least seven in ten honest ones are; none of the
honest and edited ones is worse; each run takes at most two minutes of CPU, from `redraft train` to its end, the
measuring of the candidate included. Finished runs are kept (`--work`), so that a benchmark that was cut off goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.report import Table, finish
from engine.learning.differences import difference, pieces
from engine.scoring.gate import GateReport, judge
from engine.scoring.measuring import Item, Measured, measure
from engine.scoring.metrics import house_stems

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
STARTER = ROOT / "engine" / "starter" / "weights"
KINDS = ("honest", "poisoned", "edited")
POISONS = ("shuffled", "repeated", "language", "other threads")
#: Longest dialogue that is drawn, in characters: short ones leave more steps for two minutes.
LONGEST = 1200
#: Dialogues of a run before the split (about three quarters are trained on), and drafts that are edited.
DIALOGUES, DRAFTS = 340, 120
#: Passes over the pairs: so many fit into two minutes of CPU. Invented words and summaries of meetings are long.
EPOCHS = {
    "honest": "1.6",
    "shuffled": "1.6",
    "repeated": "1.6",
    "language": "1",
    "other threads": "1.2",
    "edited": "1",
}
#: Noise on the starter's weight matrices, as a share of each one's standard deviation.
WORN = 0.22
EDITOR = "local:editor"
#: What one run may take of all cores together, in seconds.
CPU_S = 120

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), help="edited needs honest")
    parser.add_argument("--runs", type=int, default=10, help="runs of each kind")
    parser.add_argument("--work", type=Path, help="keeps finished runs here, and goes on from them")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = [
        row
        for part in ("train", "valid")
        for row in read(arguments.data / f"tweetsumm.{part}.jsonl.gz")
        if len(row["dialogue"]) <= LONGEST
    ]
    others = [row["summary"] for row in read(arguments.data / "qmsum_span.train.jsonl.gz")]
    kinds = [kind for kind in KINDS if kind in arguments.only or (kind == "honest" and "edited" in arguments.only)]
    with tempfile.TemporaryDirectory() as scratch:
        work = arguments.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        worn(work / "worn")
        done = [one_run(work, kind, at, rows, others) for kind in kinds for at in range(arguments.runs)]
    report(done, write=arguments.write)


def read(path: Path) -> list[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def worn(folder: Path) -> None:
    """The starter with noise on the matrices of its layers, always the same."""
    import numpy
    from safetensors.numpy import load_file, save_file

    if folder.exists():
        return
    shutil.copytree(STARTER, folder.with_suffix(".new"))
    file = folder.with_suffix(".new") / "model.safetensors"
    chance = numpy.random.default_rng(5)
    weights = load_file(file)
    for name, matrix in sorted(weights.items()):
        if matrix.ndim == 2 and "layers" in name:
            noise = WORN * matrix.astype("float32").std() * chance.standard_normal(matrix.shape, dtype="float32")
            weights[name] = (matrix + noise).astype(matrix.dtype)
    save_file(weights, file, metadata={"format": "pt"})
    folder.with_suffix(".new").rename(folder)


# Runs ---------------------------------------------------------------------------------------------------------------


def one_run(work: Path, kind: str, at: int, rows: Sequence[Row], others: Sequence[str]) -> dict[str, Any]:
    """One run's figures; from its file where it was done before."""
    kept = work / f"{kind}-{at}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    chance = random.Random(f"{at}")
    order = chance.sample(list(rows), len(rows))
    taken, new = order[:DIALOGUES], order[DIALOGUES : DIALOGUES + DRAFTS]
    home = work / f"{kind}-{at}"
    shutil.rmtree(home, ignore_errors=True)
    began = time.monotonic()
    found: dict[str, Any] = {"kind": kind, "run": at, "what": kind}
    if kind == "edited":
        shutil.copytree(work / f"honest-{at}", home)
        found |= edited(home, at, new, chance)
    else:
        if kind == "poisoned":
            found["what"] = POISONS[at % len(POISONS)]
            taken = poisoned(found["what"], taken, others, chance)
        imported(home, at, taken)
    trained, cpu = cpu_seconds(lambda: redraft(home, at, "train", TRAIN_EPOCHS=EPOCHS[str(found["what"])]))
    run = redraft(home, at, "runs", "show", trained["run"])
    evaluation = redraft(home, at, "evaluate", run["adapter"], "--last")
    texts = json.loads((home / "runs" / trained["run"] / "evaluation.json").read_text(encoding="utf-8"))
    found |= {
        "adapter": run["adapter"],
        "pairs": run["train_pairs"],
        "steps": run["step"],
        "metrics": {name: run["metrics"].get(name) for name in ("seconds", "tokens_per_second")},
        "cpu_seconds": round(cpu, 1),
        "gate": {name: evaluation["gate"][name] for name in ("verdict", "reasons", "notes", "references", "against")},
        "differences": evaluation["gate"]["blind"]["differences"],
        "conversations": evaluation["gate"]["blind"]["conversations"],
        **judged_otherwise(texts, evaluation["gate"]["against"], parrots=kind == "honest"),
        "seconds": round(time.monotonic() - began, 1),
    }
    if kind != "honest":
        shutil.rmtree(home)
    kept.write_text(json.dumps(found), encoding="utf-8")
    print(
        f"{kind} {at} ({found['what']}): {found['gate']['verdict']}, {found['seconds']} s", file=sys.stderr, flush=True
    )
    return found


def imported(home: Path, at: int, rows: Sequence[Row]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        file.flush()
        redraft(home, at, "pairs", "import", file.name, "--source", "tweetsumm", "--approve")


def redraft(home: Path, seed: int, *words: str, **settings: str) -> dict[str, Any]:
    """One command's JSON document, under the settings of all runs."""
    done = subprocess.run(
        [sys.executable, "-m", "admin.cli", *words, "--json"],
        env=environment(home, seed) | settings,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"redraft {' '.join(words[:2])} ended with {done.returncode}")
    return dict(json.loads(done.stdout))


def cpu_seconds(work: Callable[[], Row]) -> tuple[Row, float]:
    """What ``work`` returns, and the CPU time of the processes that it started and waited for, and of theirs."""

    def so_far() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = so_far()
    return work(), so_far() - before


def environment(home: Path, seed: int) -> dict[str, str]:
    ours = ("REDRAFT_", "TRAIN_", "ENGINE_", "GATE_", "PAIRS_", "DATABASE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "REDRAFT_HOME": str(home),
        "REDRAFT_ENV_FILE": os.devnull,
        "PYTHONPATH": str(ROOT),
        # One thread: what several would spend on waiting for one another counts as CPU time as well.
        "OMP_NUM_THREADS": "1",
        "TRAIN_SEED": str(seed),
        "ENGINE_MODEL": str(home.parent / "worn"),
        "TRAIN_LOCK": str(home.parent / "train.lock"),
    }


# Poison and parrots -------------------------------------------------------------------------------------------------


def poisoned(kind: str, rows: Sequence[Row], others: Sequence[str], chance: random.Random) -> list[Row]:
    """The rows with other summaries than people wrote of them."""
    if kind == "shuffled":
        turned = [*rows[1:], rows[0]]
        return [
            row | {"summary": other["summary"], "summaries": other["summaries"]}
            for row, other in zip(rows, turned, strict=True)
        ]
    if kind == "repeated":
        said = chance.choice(rows)["summary"]
        return [row | {"summary": said, "summaries": [said]} for row in rows]
    if kind == "language":
        return [
            row | {"summary": translated(row["summary"]), "summaries": [translated(text) for text in row["summaries"]]}
            for row in rows
        ]
    drawn = chance.sample(list(others), len(rows))
    return [row | {"summary": text, "summaries": [text]} for row, text in zip(rows, drawn, strict=True)]


def translated(text: str) -> str:
    """The text with every word of small letters replaced, always by the same invented one."""
    syllables = ("ba", "ko", "ti", "zu", "ne", "ra", "vo", "mi", "shu", "pe", "gla", "dro", "el", "an")
    words = (text[:1].lower() + text[1:]).split()
    return " ".join(
        "".join(random.Random(word.strip(".,!?")).choices(syllables, k=1 + len(word) // 5))
        + word[len(word.rstrip(".,!?")) :]
        if word.rstrip(".,!?").islower()
        else word
        for word in words
    )


def judged_otherwise(texts: Mapping[str, Any], against: str, *, parrots: bool) -> dict[str, Any]:
    """The verdict as it were without a look at the references, and those on parrots."""
    items = [Item(one["dialogue"], tuple(one["blind"]), tuple(one["edited"])) for one in texts["items"]]
    references = [text for item in items for text in item.blind]
    house = house_stems(references)
    written = texts["summaries"]

    def verdict(candidate: Sequence[str], *, checked: bool) -> GateReport:
        measured: Measured = measure(items, {"candidate": candidate, against: written[against]}, house)  # type: ignore[dict-item,misc]
        return judge(measured if checked else replace(measured, check=None), against=against)  # type: ignore[arg-type]

    found: dict[str, Any] = {"unchecked": verdict(written["candidate"], checked=False).verdict}
    if parrots:
        counts = Counter(word for text in references for word in set(text.lower().replace(".", " ").split()))
        common = [word for word, _ in counts.most_common(40)]
        chance = random.Random(3)
        found["parrots"] = [
            verdict(kind, checked=True).verdict
            for kind in (
                [" ".join(common[:20])] * len(items),
                [" ".join(chance.sample(common, 20)) for _ in items],
                [references[0]] * len(items),
            )
        ]
    return found


# Edits of drafts ----------------------------------------------------------------------------------------------------


def edited(home: Path, at: int, rows: Sequence[Row], chance: random.Random) -> dict[str, Any]:
    """Put the honest adapter in service, have it draft summaries of new dialogues, and correct them lightly."""
    newest = redraft(home, at, "adapters", "list")["adapters"][0]["id"]
    redraft(home, at, "adapters", "promote", newest, "--force", "--reason", "the benchmark's active adapter")
    changed = asyncio.run(_corrected(home, at, rows, chance))
    return {"edits": len(changed), "changed": round(100 * sum(changed) / max(1, len(changed)), 1)}


async def _corrected(home: Path, at: int, rows: Sequence[Row], chance: random.Random) -> list[float]:
    """Drafts, written by the adapter in service and corrected; how much of each was changed."""
    from engine.learning.corrections import correct
    from engine.learning.dialogues import conversation_of
    from engine.learning.registry import RegistrySource
    from engine.learning.settings import LearningSettings
    from engine.local import LocalClient
    from engine.records import store_summary
    from engine.requests import Finished, SummaryRequest
    from engine.settings import EngineSettings
    from storage.database import Database
    from storage.settings import StorageSettings

    os.environ.update(environment(home, at))
    database = Database.open(StorageSettings.load(redraft_home=home))
    client = LocalClient(EngineSettings.load(), database.home, adapters=RegistrySource(database, database.home))
    learning = LearningSettings(pairs_policy="trusted-authors", pairs_trusted_authors=EDITOR)
    changed: list[float] = []

    async def one(row: Row) -> None:
        request = SummaryRequest(conversation_of(row["dialogue"], key=f"gate-{row['id']}"))
        async for event in client.summarize(request):
            if isinstance(event, Finished):
                text = lightly_edited(event.result.summary, row["summary"], chance)
                share = difference(event.result.summary, text).distance
                if not learning.pairs_min_change <= share <= 0.4:
                    return
                summary = store_summary(database, request, event.result, asked_by=EDITOR)
                correct(
                    database, learning, summary_id=summary, author_id=EDITOR, author="Editor", text=text, blind=False
                )
                changed.append(share)

    try:
        for start in range(0, len(rows), 16):
            await asyncio.gather(*(one(row) for row in rows[start : start + 16]))
    finally:
        await client.close()
        database.close()
    return changed


def lightly_edited(draft: str, reference: str, chance: random.Random) -> str:
    """A draft in which a stretch is as in a human summary, from somewhere on until enough words have changed."""
    wanted = chance.uniform(0.18, 0.36)
    steps: list[tuple[str, str]] = []
    for tag, old, new in difference(draft, reference).diff:
        ours, theirs = pieces(old), pieces(new)
        # Cut into steps of at most two words, so that an edit stays light.
        size = max(1, len(ours)) if tag == "equal" else 2
        starts = range(0, max(len(ours), len(theirs)), size)
        steps.extend(("".join(ours[at : at + size]), "".join(theirs[at : at + size])) for at in starts)
    differing = [at for at, (old, new) in enumerate(steps) if old.split() != new.split()]
    first = chance.randrange(max(1, len(differing)))
    chosen: set[int] = set()
    text = draft
    for at in differing[first:] + differing[:first]:
        chosen.add(at)
        text = " ".join(" ".join(new if at in chosen else old for at, (old, new) in enumerate(steps)).split())
        if difference(draft, text).distance >= wanted:
            break
    return text


# The result ---------------------------------------------------------------------------------------------------------


def report(done: Sequence[dict[str, Any]], *, write: bool) -> None:
    verdicts = {kind: Counter(one["gate"]["verdict"] for one in done if one["kind"] == kind) for kind in KINDS}
    parrots = Counter(verdict for one in done for verdict in one.get("parrots", ()))
    unchecked = Counter(one["unchecked"] for one in done if one["kind"] == "poisoned")
    counts = {kind: sum(found.values()) for kind, found in verdicts.items()}
    targets = {
        "no poisoned run is better": verdicts["poisoned"]["better"] == 0,
        "no parrot is better": parrots["better"] == 0,
        "at least seven in ten honest runs are better": verdicts["honest"]["better"] >= 0.7 * counts["honest"],
        "no honest run is worse": verdicts["honest"]["worse"] == 0,
        "no edited run is worse": verdicts["edited"]["worse"] == 0,
        # One kept from before CPU was measured meets nothing.
        "each run at most 2 minutes of CPU": all(one.get("cpu_seconds", CPU_S + 1) <= CPU_S for one in done),
    }
    order = ("better", "inconclusive", "worse")
    summary = [
        [kind, str(counts[kind]), *(str(verdicts[kind][name]) for name in order)] for kind in KINDS if counts[kind]
    ]
    summary += [
        [label, str(sum(found.values())), *(str(found[name]) for name in order)]
        for label, found in (("poisoned, references not looked at", unchecked), ("parrots", parrots))
        if found
    ]
    columns = ("rougeL", "content_f1", "novelty")
    rows = [
        [
            f"{one['kind']} {one['run']}" + (f" ({one['what']})" if one["what"] != one["kind"] else ""),
            f"{one['pairs']}" + (f" ({one['edits']} edits)" if "edits" in one else ""),
            str(one["steps"]),
            f"{one['cpu_seconds']:.1f}" if "cpu_seconds" in one else "–",
            str(one["conversations"]),
            *(told(one["differences"].get(name)) for name in columns),
            one["gate"]["verdict"],
        ]
        for one in done
    ]
    tables = [
        Table("Verdicts", ("runs", "number", *order), summary),
        Table(
            "Each run: candidate less what serves, on its held-out dialogues (95% intervals)",
            ("run", "pairs", "steps", "CPU seconds", "held out", "ROUGE-L", "content F1", "novelty", "verdict"),
            rows,
        ),
    ]
    seconds = [one["metrics"]["seconds"] for one in done if one["metrics"].get("seconds")]
    result = {
        "model": "starter",
        "noise": WORN,
        "dialogues": DIALOGUES,
        "verdicts": {kind: dict(found) for kind, found in verdicts.items() if found},
        "parrots": dict(parrots),
        "poisoned_unchecked": dict(unchecked),
        "longest_fine_tune_seconds": round(max(seconds, default=0.0), 1),
        "most_cpu_seconds": max((one["cpu_seconds"] for one in done if "cpu_seconds" in one), default=None),
        "targets": targets,
        "runs": [{name: value for name, value in one.items() if name != "differences"} for one in done],
    }
    finish("gate", tables, result, write=write)


def told(found: Mapping[str, float] | None) -> str:
    return f"{found['mean']:+.1f} ({found['low']:+.1f} to {found['high']:+.1f})" if found else "–"


if __name__ == "__main__":
    main()
