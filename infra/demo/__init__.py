"""The demo: Headrace watching a shop's requests, this host and its own logs, end to end on real components."""
