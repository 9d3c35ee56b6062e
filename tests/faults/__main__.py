"""``make faults``: every fault test in full counts, one JSON document with what happened.

Each module here has ``FULL_ROUNDS`` and ``run(rounds, seed) -> dict`` (JSON-serialisable, raising AssertionError when
something did not survive); ``make test`` runs the same functions a few rounds each.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import time
from pathlib import Path

import tests.faults
from benchmarks.report import Table, machine


def _outcome(result: dict[str, object]) -> str:
    return "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in result.items() if key != "rounds")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--only", help="one module's name")
    parser.add_argument("--write", type=Path, help="keep the result in this file")
    arguments = parser.parse_args()
    results, failed = {}, []
    for found in pkgutil.iter_modules(tests.faults.__path__):
        module = importlib.import_module(f"tests.faults.{found.name}") if found.name != "__main__" else None
        if module is None or not hasattr(module, "run") or arguments.only not in (None, found.name):
            continue
        rounds = int(module.FULL_ROUNDS)
        print(f"{found.name}: {rounds} rounds ...", file=sys.stderr, flush=True)
        start = time.monotonic()
        try:
            outcome = module.run(rounds, arguments.seed)
        except AssertionError as error:
            outcome = {"failed": str(error)[:500]}
            failed.append(found.name)
        results[found.name] = {"rounds": rounds, "seconds": round(time.monotonic() - start, 1), **outcome}
    rows = [
        [name, str(result["rounds"]), "failed" if name in failed else "survived", _outcome(result)]
        for name, result in results.items()
    ]
    table = Table("Fault tests in full counts", ["test", "rounds", "outcome", "what was counted"], rows)
    about = {"benchmark": "faults", "command": "make faults", "machine": machine(), "seed": arguments.seed}
    document = {**about, "results": results, "tables": [table.as_json()]}
    if arguments.write and not arguments.only:
        arguments.write.parent.mkdir(exist_ok=True)
        arguments.write.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(table.markdown())
    print()
    print(json.dumps(document))
    if failed:
        print(f"did not survive: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
