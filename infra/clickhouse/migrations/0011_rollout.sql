-- Two versions' answers to one event while a release is on trial, and why a prediction is what it is.
ALTER TABLE {database}.predictions ADD COLUMN IF NOT EXISTS why LowCardinality(String) AFTER inference_ms;

CREATE TABLE IF NOT EXISTS {database}.shadows
(
    stream LowCardinality(String),
    source String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    event Tuple(topic LowCardinality(String), partition Int32, offset Int64),
    event_time DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    model LowCardinality(String),
    stage LowCardinality(String),
    version Int32,
    sha256 LowCardinality(String),
    label LowCardinality(String),
    score Float64,
    cached Bool,
    inference_ms Float64,
    problem String CODEC(ZSTD(1)),
    served_version Int32,
    served_sha256 LowCardinality(String),
    served_label LowCardinality(String),
    served_score Float64,
    served_cached Bool,
    served_ms Float64,
    served_problem String CODEC(ZSTD(1)),
    agreed Bool,
    answered_at DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    tolerance Nullable(Float64),
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _arrived Date,
    _inserted_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
PARTITION BY (toYYYYMM(_arrived), _topic, _partition, _offset >= 0)
ORDER BY (stream, source, event_time)
TTL toDateTime(_inserted_at) + INTERVAL 180 DAY
SETTINGS non_replicated_deduplication_window = 10000, min_bytes_for_full_part_storage = 16777216;

ALTER TABLE {database}.releases ADD COLUMN IF NOT EXISTS rollout Tuple(
    stage LowCardinality(String),
    share Float64,
    by LowCardinality(String),
    against Int32,
    against_sha256 String,
    since DateTime64(6, 'UTC'),
    window_s Float64) AFTER served_before;

CREATE OR REPLACE VIEW {database}.comparison AS
SELECT s.stream AS stream, s.model AS model, s.stage AS stage, s.version AS version,
    s.served_version AS served_version, toStartOfMinute(s.event_time) AS minute, count() AS events,
    countIf(s.agreed) / events AS agreement,
    avgIf(s.score - s.served_score, s.problem = '' AND s.served_problem = '') AS score_difference,
    quantileIf(0.99)(s.inference_ms, NOT s.cached) AS p99_ms,
    quantileIf(0.99)(s.served_ms, NOT s.served_cached) AS served_p99_ms,
    countIf(s.problem != '') AS failed, countIf(s.served_problem != '') AS served_failed,
    countIf(l.truth != '') AS labelled,
    countIf(l.truth != '' AND if(isNull(s.tolerance), s.label = l.truth,
        ifNull(abs(s.score - toFloat64OrNull(l.truth)) <= s.tolerance, false))) AS right,
    countIf(l.truth != '' AND if(isNull(s.tolerance), s.served_label = l.truth,
        ifNull(abs(s.served_score - toFloat64OrNull(l.truth)) <= s.tolerance, false))) AS served_right
FROM {database}.shadows AS s
LEFT JOIN {database}.newest_labels AS l ON s.stream = l.stream AND s.source = l.source AND s.id = l.id
GROUP BY stream, model, stage, version, served_version, minute;
