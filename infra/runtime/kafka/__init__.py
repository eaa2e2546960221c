"""Kafka as Headrace uses it: topics, publishing, following, and the one exactly-once batch loop."""
