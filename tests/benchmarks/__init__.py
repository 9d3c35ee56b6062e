"""Tests of the benchmarks themselves: they run, and their committed results hold what is promised."""
