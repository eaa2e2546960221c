-- How far from the truth a number may lie and be right; null where answers are classes.
ALTER TABLE {database}.predictions ADD COLUMN IF NOT EXISTS tolerance Nullable(Float64) AFTER inference_ms;

CREATE OR REPLACE VIEW {database}.accuracy AS
SELECT p.stream AS stream, p.model AS model, p.version AS version, p.variant AS variant,
    toStartOfMinute(p.event_time) AS minute, count() AS labelled,
    countIf(if(isNull(p.tolerance), p.label = l.truth,
        ifNull(abs(p.score - toFloat64OrNull(l.truth)) <= p.tolerance, false))) AS right,
    right / labelled AS accuracy
FROM {database}.predictions AS p
INNER JOIN {database}.newest_labels AS l ON p.stream = l.stream AND p.source = l.source AND p.id = l.id
GROUP BY stream, model, version, variant, minute;
