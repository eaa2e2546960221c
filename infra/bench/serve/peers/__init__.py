"""The model behind each peer's own server: programs for the peers' environments, importing nothing of ours."""
