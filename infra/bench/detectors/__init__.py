"""What `python -m infra.bench.detectors` runs."""
