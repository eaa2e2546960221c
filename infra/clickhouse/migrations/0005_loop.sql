-- What the learning loop did: alerts, releases, swaps and transitions. Small, kept for ever.
CREATE TABLE IF NOT EXISTS {database}.alerts
(
    id String,
    stream LowCardinality(String),
    model LowCardinality(String),
    version Int32,
    signal LowCardinality(String),
    detector LowCardinality(String),
    statistic Float64,
    threshold Float64,
    since DateTime64(6, 'UTC'),
    window_from DateTime64(6, 'UTC'),
    window_to DateTime64(6, 'UTC'),
    observations UInt64,
    severity LowCardinality(String),
    response LowCardinality(String),
    summary String,
    evidence String CODEC(ZSTD(3)),
    runbook String,
    raised_at DateTime64(6, 'UTC'),
    recovered Bool,
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64,
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
PARTITION BY (_topic, _partition, _offset >= 0)
ORDER BY (stream, raised_at)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_full_part_storage = 16777216;

CREATE TABLE IF NOT EXISTS {database}.releases
(
    model LowCardinality(String),
    stream LowCardinality(String),
    version Int32,
    uri String,
    sha256 String,
    state LowCardinality(String),
    parent Nullable(Int32),
    alert Nullable(String),
    metrics Map(LowCardinality(String), Float64),
    training Tuple(
        rows UInt64,
        event_from DateTime64(6, 'UTC'),
        event_to DateTime64(6, 'UTC'),
        offsets Map(String, Tuple(Int64, Int64)),
        replayed_rows UInt64,
        dataset_sha256 String),
    reasons Array(String),
    run_id String,
    created_at DateTime64(6, 'UTC'),
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64,
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
PARTITION BY (_topic, _partition, _offset >= 0)
ORDER BY (model, version, created_at)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_full_part_storage = 16777216;

CREATE TABLE IF NOT EXISTS {database}.swaps
(
    model LowCardinality(String),
    stream LowCardinality(String),
    version Int32,
    sha256 String,
    worker LowCardinality(String),
    first_offsets Map(String, Int64),
    swapped_at DateTime64(6, 'UTC'),
    load_ms Float64,
    outcome LowCardinality(String) DEFAULT 'swapped',
    message String,
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64,
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
PARTITION BY (_topic, _partition, _offset >= 0)
ORDER BY (model, swapped_at)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_full_part_storage = 16777216;

CREATE TABLE IF NOT EXISTS {database}.loop
(
    stream LowCardinality(String),
    model LowCardinality(String),
    state LowCardinality(String),
    previous LowCardinality(String),
    alert Nullable(String),
    version Nullable(Int32),
    message String,
    at DateTime64(6, 'UTC'),
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64,
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
PARTITION BY (_topic, _partition, _offset >= 0)
ORDER BY (stream, at)
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_full_part_storage = 16777216;
