"""Benchmarks of scale, run by hand: ``python -m benchmarks.NAME --help``; see docs/scale.md."""
