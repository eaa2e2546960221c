"""Smaller and faster text models: consumes a release, produces variants and what each is worth."""
