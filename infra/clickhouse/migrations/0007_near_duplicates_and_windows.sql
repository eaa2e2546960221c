-- The flag of texts that are nearly another's, and the readings that a count window gives a sensor model.
-- A view keeps the columns of its making: the one that shows whole events is made again.
ALTER TABLE {database}.events MODIFY COLUMN flags Tuple(
    imputed Array(LowCardinality(String)),
    outlier Array(LowCardinality(String)),
    masked Array(LowCardinality(String)),
    repaired Array(LowCardinality(String)),
    late Bool,
    time_missing Bool,
    near_duplicate_of String);

ALTER TABLE {database}.events ADD COLUMN IF NOT EXISTS window Map(LowCardinality(String), Array(Float64)) AFTER flags;

CREATE OR REPLACE VIEW {database}.labelled AS
SELECT e.*, l.truth AS truth, l.truth_at AS truth_at, l.said_by AS said_by
FROM {database}.events AS e
INNER JOIN {database}.newest_labels AS l ON e.stream = l.stream AND e.source = l.source AND e.id = l.id;
