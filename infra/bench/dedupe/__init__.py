"""What `headrace bench dedupe` runs."""
