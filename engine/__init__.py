"""The model: prompts, 4-bit loading, generation, evaluation, its server and its client."""
