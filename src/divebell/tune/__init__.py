"""Tuning: the architectures that are served, run on `ops.torch` and trained. Needs the extra `tune` (torch)."""
