-- How near an answer is to the truth.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS dsvl2;
RESET client_min_messages;

-- edits a character of the truth
SELECT vl_cer('Total 12.40', 'Total 12.40') AS none, vl_cer('Total 12.4O', 'Total 12.40') AS one,
       vl_cer('otal 12.40', 'Total 12.40') AS missing, vl_cer('', 'abcd') AS all, vl_cer('abcdefgh', 'abcd') AS more;
-- case and white space count
SELECT vl_cer('TOTAL', 'total'), vl_cer(' a', 'a');
-- characters, not bytes
SELECT vl_cer('Grüße', 'Grüsse'), vl_cer('合計', '合 計'), vl_cer('😀b', 'ab');
-- nothing to divide by
SELECT vl_cer('', '') AS nothing, vl_cer('x', '') AS one, vl_cer('xyz', '') AS three;

-- the nearest truth counts
SELECT vl_anls('12.40', ARRAY['12.40']) AS same, vl_anls('12.40', ARRAY['99', '12.4O', 'x']) AS near,
       vl_anls('12.40', ARRAY['x', 'twelve']) AS far;
-- one half is near enough, less is not
SELECT vl_anls('abcd', ARRAY['abxx']) AS half, vl_anls('abcde', ARRAY['abxxx']) AS less;
-- neither case nor the amount of white space makes an edit
SELECT vl_anls('Total', ARRAY['tOTAL']) AS "case", vl_anls('ÄÖÜ Straße', ARRAY['äöü straße']) AS umlaut,
       vl_anls(E'\t two \n words ', ARRAY['two words']) AS space,
       vl_anls(U&'two\3000words\00A0', ARRAY['two words']) AS wide;
-- but, as in the published scripts, white space counts in the length
SELECT vl_anls('      abxd', ARRAY['abcd']) AS padded, vl_anls('abxd', ARRAY['abcd']) AS plain;
SELECT vl_anls('', ARRAY['']) AS both_empty, vl_anls(' ', ARRAY['']) AS blank, vl_anls('', ARRAY['a']) AS no_answer,
       vl_anls('a', ARRAY['']) AS no_truth;
-- NULL is no truth
SELECT vl_anls('a', ARRAY['b', NULL, 'a']) AS one, vl_anls('a', ARRAY[NULL]::text[]) AS none,
       vl_anls('a', '{}') AS empty, vl_anls(NULL, ARRAY['a']) AS no_answer, vl_anls('a', NULL) AS no_truths;
SELECT vl_anls('ab', '{{xx,ab},{cd,ef}}') AS any_shape;

-- pages are compared; books are not
SELECT vl_cer(repeat('ab', 4000), repeat('ba', 4000)) < 0.001 AS page;
SELECT vl_cer(repeat('x', 16001), repeat('y', 16000));
SELECT vl_anls(repeat('x', 25601), ARRAY[repeat('y', 10000)]);
\set VERBOSITY sqlstate
SELECT vl_cer(repeat('x', 16001), repeat('y', 16000));
\set VERBOSITY default
-- each is short enough, whatever the other is
SELECT vl_cer('x', repeat('y', 1000000));

SELECT proname, provolatile, proisstrict, proparallel FROM pg_proc WHERE proname IN ('vl_anls', 'vl_cer') ORDER BY 1;
