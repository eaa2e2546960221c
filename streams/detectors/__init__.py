"""Drift detectors, one per file: they consume error bits or readings, and say when what they see has changed."""
