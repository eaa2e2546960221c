"""Drift detectors, one per file: consume error bits or readings, say when what they see has changed."""
