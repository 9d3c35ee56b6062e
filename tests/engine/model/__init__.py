"""Tests of engine.model, mirroring its files."""
