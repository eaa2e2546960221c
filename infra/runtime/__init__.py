"""What every worker stands on: settings, logs, metrics, the clock, Kafka and the warehouse."""
