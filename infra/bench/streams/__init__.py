"""What `headrace bench streams` runs."""
