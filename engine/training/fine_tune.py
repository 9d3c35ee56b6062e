"""The one door of this package: pairs and settings in, LoRA weights and figures out.

Everything that can be refused is refused before weights are loaded: no example that fits, memory that does not suffice.
Importing this file imports no library; :func:`fine_tune` does.
"""

from __future__ import annotations

import contextlib
import math
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.model import hardware
from engine.model.resolve import identity
from engine.settings import EngineSettings
from engine.training.job import Hyper, Listener, Pair, Trained, TrainingFailed

if TYPE_CHECKING:
    from engine.training.examples import Example
    from engine.training.judging import Judge
    from engine.training.loop import Loop
    from engine.training.lora import Base
    from engine.training.memory import MemoryPlan

__all__ = ["fine_tune", "identity"]


def fine_tune(
    pairs: Sequence[Pair],
    validation: Sequence[Pair],
    *,
    engine: EngineSettings,
    hyper: Hyper,
    listener: Listener,
    checkpoints: Path | None = None,
    run: str = "",
    pins: Path | None = None,
) -> Trained:
    """Fine-tune the configured base on pairs.

    Args:
        pairs: what to learn.
        validation: what decides when to stop; may be empty.
        engine: which base, on which device.
        hyper: settings of the fine-tune.
        listener: hears how it goes, and may stop it.
        checkpoints: directory of the run's checkpoints; where it holds one of this run, the fine-tune goes on from it.
        run: what this run is known by, in its checkpoints.
        pins: see :func:`engine.model.loading.load`.

    Raises:
        ModelError: the base cannot be loaded.
        TrainingStopped: the listener asked for it; it can be resumed.
        TrainingFailed: no pair can be used, memory does not suffice, or the loss is no number any more.
    """
    hardware.let_idle_threads_sleep()
    import torch

    from engine.training.checkpoints import Checkpoints
    from engine.training.loop import Loop
    from engine.training.lora import adapter_config, load_trainable, open_base

    if hyper.threads:
        torch.set_num_threads(hyper.threads)
    base = open_base(engine, listener, pins=pins)
    examples, held, left_out = _rendered(base, pairs, validation)
    plan = _plan(base, engine, hyper, [*examples, *held])
    listener.tell(f"Loading {base.found.name} to train it.")
    model = load_trainable(base, hyper, plan)
    forward = _forward(base, model)
    if base.kind == "encoder-decoder" and base.first is None:
        examples, held = _as_it_begins(base, forward, examples, held)
    loop = Loop(
        model=model,
        forward=forward,
        examples=examples,
        validation=held,
        hyper=hyper,
        listener=listener,
        room=plan.room,
        judge=_judge(base, model, hyper, examples, held),
        checkpoints=Checkpoints(checkpoints) if checkpoints is not None else None,
        identity=run,
    )
    weights = loop.run(left_out)
    return Trained(
        weights=weights,
        config=adapter_config(model, base.info),
        info=base.info,
        tokenizer_sha256=base.tokens.sha256(),
        metrics={
            **_metrics(loop),
            "left_out": left_out,
            "examples": len(examples),
            "validation_examples": len(held),
            "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "device": base.machine.device,
            "representation": plan.representation,
            "arithmetic": "bfloat16" if base.low_precision else "float32",
            "checkpointing": plan.checkpointing,
        },
    )


def _rendered(
    base: Base, pairs: Sequence[Pair], validation: Sequence[Pair]
) -> tuple[list[Example], list[Example], dict[str, int]]:
    """Examples to learn and to validate on, and what was left out of both."""
    from engine.training.examples import Renderer

    renderer = Renderer(base.info, base.tokens, end=base.end, first=base.first)
    examples, left_out = renderer.examples(pairs)
    held, more = renderer.examples(validation)
    for reason, count in more.items():
        left_out[reason] = left_out.get(reason, 0) + count
    if not examples:
        reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(left_out.items()))
        raise TrainingFailed(
            f"None of the pairs can be used with the model {base.found.name}" + (f" ({reasons})." if reasons else "."),
            "Approve pairs of shorter conversations, or choose a model that reads more.",
        )
    return examples, held, left_out


def _plan(base: Base, engine: EngineSettings, hyper: Hyper, examples: Sequence[Example]) -> MemoryPlan:
    """How it fits into memory: with smaller forward passes before slower arithmetic."""
    from engine.training.batches import FORWARD_TOKENS

    *larger, smallest = FORWARD_TOKENS[base.machine.device]
    for room in larger:
        with contextlib.suppress(TrainingFailed):
            plan = _plan_for(room, base, engine, hyper, examples)
            if plan.easy:
                return plan
    return _plan_for(smallest, base, engine, hyper, examples)


def _plan_for(room: int, base: Base, engine: EngineSettings, hyper: Hyper, examples: Sequence[Example]) -> MemoryPlan:
    """How it fits with forward passes of so many tokens; the largest is that of the longest examples."""
    from engine.training.batches import passes
    from engine.training.memory import Shape, plan_memory

    longest = sorted(range(len(examples)), key=lambda at: -examples[at].size)[: hyper.batch]
    (part, *_) = passes(longest, examples, room=room, least=hyper.accumulation)
    tokens = len(part) * max(examples[at].size for at in part)
    answers = len(part) * max(len(examples[at].target) for at in part)
    machine = base.machine
    return plan_memory(
        base.checkpoint,
        base.config,
        hyper,
        Shape(tokens, answers, 2 if base.low_precision else 4, room),
        free=machine.free_bytes,
        dense=machine.device == "cpu",
        quantise=engine.engine_quantization != "none",
        gpu=machine.device == "cuda",
    )


def _forward(base: Base, model: Any) -> Any:
    from engine.training.forward import Forward

    pad = base.generation.pad_token_id
    return Forward(
        model,
        encoder_decoder=base.kind == "encoder-decoder",
        pad=int(pad) if pad is not None else base.end,
        device=base.machine.device,
        low_precision=base.low_precision,
    )


def _judge(base: Base, model: Any, hyper: Hyper, examples: Sequence[Example], held: Sequence[Example]) -> Judge | None:
    """Who reads what the model writes of the validation slice: of an even choice where it is large."""
    from engine.training.judging import Judge

    if not held or not hyper.judged:
        return None
    few = held[:: math.ceil(len(held) / hyper.judged)]
    return Judge(
        model,
        base.generation,
        base.tokens,
        base.info,
        examples=few,
        style=[text for example in (*examples, *held) for text in example.references],
        low_precision=base.low_precision,
    )


def _as_it_begins(
    base: Base, forward: Any, examples: list[Example], held: list[Example]
) -> tuple[list[Example], list[Example]]:
    """Answers begun with the tokenizer's first token where the base itself begins its answers so, as LED does."""
    from engine.training.batches import collate
    from engine.training.examples import begun_with

    first = base.tokens.first
    if first is None:
        return examples, held
    few = sorted(examples, key=lambda example: example.size)[:4]
    batch = collate(few, encoder_decoder=True, pad=forward.pad, device=forward.device)
    if not forward.begins_answers(batch, first):
        return examples, held
    return begun_with(examples, first), begun_with(held, first)


def _metrics(loop: Loop) -> dict[str, Any]:
    """Figures of a finished run; seconds are those of training, of all its processes."""
    progress = loop.progress
    trained = max(progress.seconds, 1e-9)
    found: dict[str, Any] = {
        "steps": progress.step,
        "steps_planned": loop.steps,
        "epochs": round(progress.step / loop.steps_a_pass, 2),
        "stopped_early": progress.stopped_early,
        "train_loss": round(progress.train_loss, 4),
        "seconds": round(progress.seconds, 1),
        "tokens_per_second": round(progress.real / trained, 1),
        "padding_share": round(1 - progress.real / progress.padded, 4) if progress.padded else 0.0,
        "peak_memory_bytes": peak_memory(loop.forward.device),
    }
    if progress.first_loss is not None and math.isfinite(progress.best_loss):
        found |= {
            "validation_loss_before": round(progress.first_loss, 4),
            "validation_loss": round(progress.best_loss, 4),
            "best_step": progress.best_step,
        }
    if progress.first_score is not None:
        found |= {
            "written_score_before": round(progress.first_score, 2),
            "written_score": round(progress.best_score, 2),
        }
    return found


def peak_memory(device: str) -> int:
    """Most bytes of a device's memory that this process has taken."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
