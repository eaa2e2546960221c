"""What `headrace bench flink` runs."""
