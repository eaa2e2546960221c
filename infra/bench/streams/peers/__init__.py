"""The same job in each peer's own way: programs for the peers' environments, importing nothing of ours."""
