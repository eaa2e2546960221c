-- Which versions served before a release, the last one last: where a rollback goes.
ALTER TABLE {database}.releases ADD COLUMN IF NOT EXISTS served_before Array(Int32) AFTER run_id;
