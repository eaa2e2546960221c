-- A version that gave no answer is not right, though its score of 0 may lie within the tolerance. Where an
-- answer is a number, a label that says none tells nothing of either version.
CREATE OR REPLACE VIEW {database}.comparison AS
SELECT s.stream AS stream, s.model AS model, s.stage AS stage, s.version AS version,
    s.served_version AS served_version, toStartOfMinute(s.event_time) AS minute, count() AS events,
    countIf(s.agreed) / events AS agreement,
    avgIf(s.score - s.served_score, s.problem = '' AND s.served_problem = '') AS score_difference,
    quantileIf(0.99)(s.inference_ms, NOT s.cached) AS p99_ms,
    quantileIf(0.99)(s.served_ms, NOT s.served_cached) AS served_p99_ms,
    countIf(s.problem != '') AS failed, countIf(s.served_problem != '') AS served_failed,
    countIf(l.truth != '' AND (isNull(s.tolerance) OR isFinite(ifNull(toFloat64OrNull(l.truth), nan)))) AS labelled,
    countIf(l.truth != '' AND s.problem = '' AND if(isNull(s.tolerance), s.label = l.truth,
        ifNull(abs(s.score - toFloat64OrNull(l.truth)) <= s.tolerance, false))) AS right,
    countIf(l.truth != '' AND s.served_problem = '' AND if(isNull(s.tolerance), s.served_label = l.truth,
        ifNull(abs(s.served_score - toFloat64OrNull(l.truth)) <= s.tolerance, false))) AS served_right
FROM {database}.shadows AS s
LEFT JOIN {database}.newest_labels AS l ON s.stream = l.stream AND s.source = l.source AND s.id = l.id
GROUP BY stream, model, stage, version, served_version, minute;
