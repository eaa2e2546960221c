"""One model behind each peer's own server: programs for their environments, importing nothing of ours."""
