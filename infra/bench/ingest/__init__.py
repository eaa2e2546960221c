"""What `headrace bench ingest` runs."""
