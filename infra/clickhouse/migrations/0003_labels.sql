-- Ground truth as it came; one event may have several, the newest labelled_at holds (view newest_labels).
CREATE TABLE IF NOT EXISTS {database}.labels
(
    stream LowCardinality(String),
    source String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    label LowCardinality(String),
    labelled_at DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    by LowCardinality(String),
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX time_range labelled_at TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY (toYYYYMM(_arrived), _topic, _partition, _offset >= 0)
ORDER BY (stream, source, id, labelled_at)
TTL toDateTime(_inserted_at) + INTERVAL 365 DAY
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_full_part_storage = 16777216,
    min_parts_to_merge_at_once = 20, merge_selector_base = 20,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
