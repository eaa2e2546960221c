-- One row per answer, as on predictions.
CREATE TABLE IF NOT EXISTS {database}.predictions
(
    stream LowCardinality(String),
    source String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    event Tuple(topic LowCardinality(String), partition Int32, offset Int64),
    raw Tuple(topic LowCardinality(String), partition Int32, offset Int64),
    event_time DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    label LowCardinality(String),
    score Float64,
    model LowCardinality(String),
    version Int32,
    sha256 LowCardinality(String),
    variant LowCardinality(String) DEFAULT 'champion',
    cached Bool,
    predicted_at DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    inference_ms Float64,
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX time_range event_time TYPE minmax GRANULARITY 1,
    INDEX id_filter id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY (toYYYYMM(_arrived), _topic, _partition, _offset >= 0)
ORDER BY (stream, source, event_time)
TTL toDateTime(_inserted_at) + INTERVAL 180 DAY
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_full_part_storage = 16777216,
    min_parts_to_merge_at_once = 20, merge_selector_base = 20,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
