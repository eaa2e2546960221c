-- What operators paused, resumed, reset, silenced and acknowledged, by whom and why. Small, kept for ever: the topic is compacted.
CREATE TABLE IF NOT EXISTS {database}.control
(
    scope LowCardinality(String),
    name LowCardinality(String),
    action LowCardinality(String),
    by String,
    reason String,
    at DateTime64(6, 'UTC'),
    before Map(String, Int64),
    after Map(String, Int64),
    until Nullable(DateTime64(6, 'UTC')),
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64,
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
PARTITION BY (_topic, _partition, _offset >= 0)
ORDER BY (scope, name, at)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_full_part_storage = 16777216;
