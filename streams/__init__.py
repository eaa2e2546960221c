"""The stream side: cleaning, the sink into ClickHouse, the drift watch, sources and alerts."""
