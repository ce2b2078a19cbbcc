\set ECHO none
-- calls to a model, tokens written and results remembered that a statement took
CREATE FUNCTION pg_temp.spent(sql text, OUT inferences bigint, OUT tokens bigint, OUT memo_hits bigint)
LANGUAGE plpgsql AS $$
DECLARE
  before record;
BEGIN
  SELECT * INTO before FROM vl_last_usage();
  EXECUTE sql;
  SELECT u.inferences - before.inferences, u.total_output_tokens - before.total_output_tokens,
         u.memo_hits - before.memo_hits
    INTO inferences, tokens, memo_hits FROM vl_last_usage() u;
END $$;
\set ECHO all
