"""`headrace bench swap`: hot swaps under full load, every answer checked against the version that made it."""
