"""What is measured, each file runnable alone: ``python -m benchmarks.NAME [--write]``."""
