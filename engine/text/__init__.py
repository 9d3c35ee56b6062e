"""Text in and out of the model: prompts, parts, support, safety. Knows no torch and no database."""
