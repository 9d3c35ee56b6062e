"""Fine-tuning: examples in, LoRA weights out. With :mod:`engine.model` the only place for torch; no database."""
