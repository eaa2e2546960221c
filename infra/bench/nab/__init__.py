"""The Numenta Anomaly Benchmark: consumes series with labelled windows, produces each detector's score."""
