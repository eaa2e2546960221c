"""Learners, one per file: consume rows and the labels that come, produce answers with their probabilities."""
