-- The analysts' questions, asked once.
CREATE OR REPLACE VIEW {database}.event_counts AS
SELECT stream, kind, toStartOfMinute(time) AS minute, count() AS events,
    countIf(flags.late) AS late, countIf(notEmpty(flags.outlier)) AS outliers, countIf(notEmpty(flags.imputed)) AS imputed
FROM {database}.events
GROUP BY stream, kind, minute;

CREATE OR REPLACE VIEW {database}.reject_counts AS
SELECT stage, reason, toStartOfMinute(rejected_at) AS minute, count() AS events
FROM {database}.dead
GROUP BY stage, reason, minute;

CREATE OR REPLACE VIEW {database}.newest_labels AS
SELECT stream, source, id,
    argMax(label, tuple(labelled_at, _offset)) AS truth,
    max(labels.labelled_at) AS truth_at,
    argMax(by, tuple(labelled_at, _offset)) AS said_by
FROM {database}.labels
GROUP BY stream, source, id;

CREATE OR REPLACE VIEW {database}.labelled AS
SELECT e.*, l.truth AS truth, l.truth_at AS truth_at, l.said_by AS said_by
FROM {database}.events AS e
INNER JOIN {database}.newest_labels AS l ON e.stream = l.stream AND e.source = l.source AND e.id = l.id;

CREATE OR REPLACE VIEW {database}.accuracy AS
SELECT p.stream AS stream, p.model AS model, p.version AS version, p.variant AS variant,
    toStartOfMinute(p.event_time) AS minute, count() AS labelled, countIf(p.label = l.truth) AS right,
    right / labelled AS accuracy
FROM {database}.predictions AS p
INNER JOIN {database}.newest_labels AS l ON p.stream = l.stream AND p.source = l.source AND p.id = l.id
GROUP BY stream, model, version, variant, minute;

CREATE OR REPLACE VIEW {database}.lineage AS
SELECT p.stream AS stream, p.source AS source, p.id AS id, p.event_time AS event_time, p.label AS label,
    p.score AS score, p.event AS event, p.raw AS raw, p.model AS model, p.version AS version, p.sha256 AS sha256,
    r.parent AS parent, r.alert AS alert, r.training AS training, r.run_id AS run_id, r.created_at AS released_at
FROM {database}.predictions AS p
LEFT JOIN
(
    SELECT sha256, parent, alert, training, run_id, created_at
    FROM {database}.releases
    WHERE state = 'released'
    ORDER BY created_at DESC
    LIMIT 1 BY sha256
) AS r ON p.sha256 = r.sha256;
