"""ClickHouse for one machine: the engine as a library (chDB) behind ClickHouse's own HTTP protocol."""
