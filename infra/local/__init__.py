"""The local stack: real Kafka, Redis and ClickHouse as supervised processes on loopback, no Docker."""
