-- Every rejection, as on events.dead. original, key and header values are base64, as in the contract;
-- original_text is the message in clear.
CREATE TABLE IF NOT EXISTS {database}.dead
(
    reason LowCardinality(String),
    message String CODEC(ZSTD(3)),
    field String,
    stage LowCardinality(String),
    raw Tuple(topic LowCardinality(String), partition Int32, offset Int64),
    rejected_at DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    stream LowCardinality(String),
    source String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    key Nullable(String),
    original String CODEC(ZSTD(3)),
    headers Array(Tuple(String, String)),
    original_text String ALIAS tryBase64Decode(original),
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
PARTITION BY (toYYYYMM(_arrived), _topic, _partition, _offset >= 0)
ORDER BY (reason, rejected_at)
TTL toDateTime(_inserted_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_full_part_storage = 16777216,
    min_parts_to_merge_at_once = 20, merge_selector_base = 20,
    merge_selector_enable_heuristic_to_remove_small_parts_at_right = 0;
