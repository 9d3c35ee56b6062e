"""Alembic migrations, one file for each schema, named by number (``0002_pairs.py``).

A new one: change :mod:`storage.tables`, run ``python -m storage.migrations "what changes"``, read what it wrote.
"""
