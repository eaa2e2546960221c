-- One row per normalised event, as on events.clean. Partitioned by the batch's arrival, never by event time:
-- one insert must be one part, or a crash could leave half of it (infra/decisions/0004). `_offset >= 0` is always
-- true: it is in the key so that ClickHouse keeps each part's lowest and highest offset in memory, from where it
-- answers max(_offset) of a partition without reading anything.
-- Small parts are one file each, and wait until twenty can be merged: with few rows an insert, opening files and
-- reading parts again and again would cost more than the rows. For the same reason maps and flags are plain strings:
-- a merge builds a LowCardinality's dictionary anew for each of its columns. The heuristic that takes small parts out
-- of a merge again left one large part and one small one of a merge of twenty, so that each insert rewrote the former.
CREATE TABLE IF NOT EXISTS {database}.events
(
    stream LowCardinality(String),
    kind LowCardinality(String),
    source String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    time DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    raw Tuple(topic LowCardinality(String), partition Int32, offset Int64),
    text String CODEC(ZSTD(3)),
    values Map(String, Float64),
    attributes Map(String, String),
    flags Tuple(
        imputed Array(String),
        outlier Array(String),
        masked Array(String),
        repaired Array(String),
        late Bool,
        time_missing Bool,
        near_duplicate_of String),
    window Map(String, Array(Float64)),
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX time_range time TYPE minmax GRANULARITY 1,
    INDEX id_filter id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY (toYYYYMM(_arrived), _topic, _partition, _offset >= 0)
ORDER BY (stream, source, time)
TTL toDateTime(_inserted_at) + INTERVAL 180 DAY
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_full_part_storage = 16777216,
    min_parts_to_merge_at_once = 20, merge_selector_base = 20,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
