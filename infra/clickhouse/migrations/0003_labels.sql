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
    INDEX time_range labelled_at TYPE minmax GRANULARITY 1,
    PROJECTION positions (SELECT _topic, _partition, max(_offset) GROUP BY _topic, _partition)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(_arrived)
ORDER BY (stream, source, id, labelled_at)
TTL toDateTime(_inserted_at) + INTERVAL 365 DAY
SETTINGS non_replicated_deduplication_window = 10000;
