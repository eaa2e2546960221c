-- One row per normalised event, as on events.clean. Partitioned by the batch's arrival, never by event time:
-- one insert must be one part, or a crash could leave half of it (infra/decisions/0004).
CREATE TABLE IF NOT EXISTS {database}.events
(
    stream LowCardinality(String),
    kind LowCardinality(String),
    source String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    time DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    raw Tuple(topic LowCardinality(String), partition Int32, offset Int64),
    text String CODEC(ZSTD(3)),
    values Map(LowCardinality(String), Float64),
    attributes Map(LowCardinality(String), String),
    flags Tuple(
        imputed Array(LowCardinality(String)),
        outlier Array(LowCardinality(String)),
        masked Array(LowCardinality(String)),
        repaired Array(LowCardinality(String)),
        late Bool,
        time_missing Bool),
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX time_range time TYPE minmax GRANULARITY 1,
    INDEX id_filter id TYPE bloom_filter(0.01) GRANULARITY 4,
    PROJECTION positions (SELECT _topic, _partition, max(_offset) GROUP BY _topic, _partition)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(_arrived)
ORDER BY (stream, source, time)
TTL toDateTime(_inserted_at) + INTERVAL 180 DAY
SETTINGS non_replicated_deduplication_window = 10000;
