-- Who changed something by the gateway, or was refused, each with its request's id; kept for a year.
CREATE TABLE IF NOT EXISTS {database}.audit
(
    at DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    who String CODEC(ZSTD(1)),
    action LowCardinality(String),
    outcome LowCardinality(String),
    status UInt16,
    request_id String CODEC(ZSTD(1)),
    address String CODEC(ZSTD(1)),
    detail String CODEC(ZSTD(1)),
    count UInt32,
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
PARTITION BY (toYYYYMM(_arrived), _topic, _partition, _offset >= 0)
ORDER BY (who, at)
TTL toDateTime(_inserted_at) + INTERVAL 365 DAY
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_full_part_storage = 16777216,
    min_parts_to_merge_at_once = 20, merge_selector_base = 20,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
