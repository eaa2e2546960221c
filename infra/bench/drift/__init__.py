"""What `headrace bench drift` runs."""
