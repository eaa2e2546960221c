"""What `headrace bench chaos` runs."""
