"""The loaded model: the only place that imports torch, transformers, peft and bitsandbytes to serve."""
