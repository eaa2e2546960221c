"""The demo: Headrace watches a shop's requests, this host and its own logs, on real components."""
