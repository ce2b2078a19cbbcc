# vl_extract_trigger under load: COPY of a thousand rows in bounded memory, seen from outside,
# canceled at once; several sessions that insert at the same time; pictures that are none.

use strict;
use warnings;

use DSVL2;
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);

# As in the test of cancel: half of them as fast as dsvl2 promises, all within what a busy machine keeps
use constant PROMISE => 0.2;
use constant BOUND => 2.0;

use constant ROWS => 1000;

# so little memory for pages that a hundred pictures fill it
my $node = new_node('trigger', preload => 1,
	conf => "dsvl2.threads = 1\ndsvl2.kv_memory = 16MB\njit = off\n");
my $dir = PostgreSQL::Test::Utils::tempdir();
create_watcher($node);
load_noise($node, 'noise', ROWS, 200, 200);
$node->safe_psql('postgres', <<"SQL");
CREATE TYPE kind AS ENUM ('receipt', 'letter', 'other');
CREATE TABLE receipts (id int, scan bytea, kind kind, paid boolean, paid_status text, scan_status text,
	scan_error text);
CREATE TRIGGER fields BEFORE INSERT OR UPDATE OF scan ON receipts FOR EACH ROW
	EXECUTE FUNCTION vl_extract_trigger('scan', '{"kind": "kind", "paid": "Has it been paid?"}');
COPY noise TO '$dir/all.copy';
COPY (SELECT * FROM noise ORDER BY id LIMIT 100) TO '$dir/hundred.copy';
SQL

my $watcher = DSVL2::Session->new($node);
my $session = DSVL2::Session->new($node);
$session->query('SET client_min_messages = error');

# kB of a process that are neither a file's nor shared memory
sub own_memory
{
	my $pid = shift;
	my $sum = 0;

	open my $handle, '<', "/proc/$pid/smaps_rollup" or return;
	while (<$handle>) { $sum += $1 if /^Anonymous:\s+(\d+) kB/; }
	return $sum;
}

# ---- COPY: memory and progress ----

is($session->query("COPY receipts (id, scan) FROM '$dir/hundred.copy'"), '', 'COPY of 100 rows');
my $small = own_memory($session->{pid});
my $start = time;
$session->send("COPY receipts (id, scan) FROM '$dir/all.copy'");
my (%tasks, @rows);
my $sees = q{SELECT coalesce((SELECT task || ' ' || phase FROM vl_stat_activity WHERE pid = PID), '-') || ' '
	|| coalesce((SELECT tuples_processed FROM pg_stat_progress_copy WHERE pid = PID), -1)};
$sees =~ s/PID/$session->{pid}/g;
my $rows = 0;
ok(until_true(sub {
	my $line = $watcher->query($sees);
	if ($line =~ /^(\w+) \w+ (\d+)$/)
	{
		$tasks{$1}++;
		push @rows, $2 if !@rows || $2 > $rows[-1];
	}
	return @rows >= 3 && $rows[-1] > 0;
}), 'COPY is seen at work');
is(join(',', keys %tasks), 'extract', 'vl_stat_activity tells the task');
note 'rows seen in pg_stat_progress_copy: ' . join(' ', @rows);
is($session->wait, '', 'COPY of 1000 rows');
note sprintf 'COPY of %d rows: %.1f s, %.1f rows a second', ROWS, time - $start, ROWS / (time - $start);
my $large = own_memory($session->{pid});
note "own memory: $small kB after 100 rows, $large kB after 1000 more";
SKIP:
{
	skip 'no readable /proc/PID/smaps_rollup here', 1 unless $small && $large;
	cmp_ok($large - $small, '<', 4096, 'memory does not grow with the rows');
}
is($session->query(q{SELECT count(*), count(DISTINCT scan_status), min(scan_status) FROM receipts}),
	ROWS + 100 . '|1|ok', 'all rows are there and read');

# ---- cancel ----

my $before = $session->query('SELECT count(*) FROM receipts');
foreach my $phase ('vision', 'prefill|decode')
{
	my @took;

	foreach my $delay (0, 1, 3)
	{
		$session->send("COPY receipts (id, scan) FROM '$dir/all.copy';
			SELECT 'after ' || extract(epoch FROM clock_timestamp())");
		my ($seen, $acted) = act_in_phase($watcher, $session, $phase, 'cancel', $delay);
		my $text = $session->wait;
		my ($after) = $text =~ /^after ([\d.]+)$/m;

		is(sqlstate($text), '57014', "COPY is canceled in phase $seen");
		like($text, qr/CONTEXT:.*trigger "fields" on relation "receipts"/s, 'and says where it was');
		push @took, ($after // 1e9) - ($acted // 0);
		note sprintf 'phase %s: canceled within %.1f ms', $seen, 1000 * $took[-1];
	}
	cmp_ok((sort { $a <=> $b } @took)[1], '<', PROMISE, "phase $phase: stops at once");
	cmp_ok(max(@took), '<', BOUND, "phase $phase: always stops soon");
}
my $text = $session->query("SET statement_timeout = 500; COPY receipts (id, scan) FROM '$dir/all.copy';
	RESET statement_timeout");
is(sqlstate($text), '57014', 'statement_timeout ends COPY');
is($session->query('SELECT count(*) FROM receipts'), $before, 'nothing of all that is left');

# ---- several at once ----

$node->safe_psql('postgres', q{
CREATE TABLE many (session int, id int, scan bytea, merchant text, total numeric, scan_status text,
	PRIMARY KEY (session, id));
CREATE TRIGGER fields BEFORE INSERT OR UPDATE OF scan ON many FOR EACH ROW
	EXECUTE FUNCTION vl_extract_trigger('scan', '{"merchant": "merchant", "total": "total"}',
		'{"on_error": "null"}');
});
my @sessions = map { DSVL2::Session->new($node) } 1 .. 4;
$_->query('SET client_min_messages = error') foreach @sessions;
foreach my $i (0 .. $#sessions)
{
	# one statement a row, by half of them in one transaction; then pictures change places
	my $insert = "INSERT INTO many (session, id, scan) SELECT $i, id, scan FROM scans WHERE id = ";
	my $sql = join ";\n", map { $insert . $_ } 1 .. 12;
	$sql = "BEGIN;\n$sql;\nCOMMIT" if $i % 2;
	$sessions[$i]->send("$sql;\nUPDATE many m SET scan = s.scan FROM scans s
		WHERE m.session = $i AND s.id = m.id % 12 + 1");
}
is($_->wait, '', 'a session that inserts beside three others') foreach @sessions;
is($session->query(q{SELECT count(*) FROM many}), 48, 'all rows are there');
is($session->query(q{
SELECT count(*) FROM many m JOIN scans s ON s.id = m.id % 12 + 1
  CROSS JOIN LATERAL vl_extract(s.scan, '["merchant: text", "total: number"]',
	options => '{"on_error": "null"}') e
 WHERE m.merchant IS DISTINCT FROM e->>'merchant' OR m.total IS DISTINCT FROM (e->>'total')::numeric
    OR (m.scan_status = 'ok') <> (e IS NOT NULL)}), 0, 'and have what their pictures say');
$_->quit foreach @sessions;

# ---- pictures that are none ----

$node->safe_psql('postgres', qq{
COPY (SELECT 1, scan FROM scans WHERE id = 1 UNION ALL SELECT 2, 'no picture'
	UNION ALL SELECT 3, NULL UNION ALL SELECT 4, '\\xffd8') TO '$dir/mixed.copy'});
foreach my $form ('error', 'null', 'warning')
{
	$session->query("SET client_min_messages = warning; TRUNCATE receipts; DROP TRIGGER fields ON receipts;
		CREATE TRIGGER fields BEFORE INSERT ON receipts FOR EACH ROW
		EXECUTE FUNCTION vl_extract_trigger('scan', '{\"kind\": \"kind\"}', '{\"on_error\": \"$form\"}')");
	my $said = $session->query("COPY receipts (id, scan) FROM '$dir/mixed.copy'");
	my $stored = $session->query(q{SELECT id || ' ' || coalesce(left(scan_error, 5), scan_status, 'NULL')
		FROM receipts WHERE id > 1 ORDER BY id});
	my $warnings = () = $said =~ /^WARNING:\s+VL001:/mg;

	is(sqlstate($said), $form eq 'error' ? 'VL001' : '', "on_error $form: COPY");
	is($warnings, $form eq 'warning' ? 2 : 0, 'warnings');
	is($stored, $form eq 'error' ? '' : "2 VL001\n3 NULL\n4 VL001", 'rows');
	like($said, qr/COPY receipts, line 2/, 'the line is told') if $form eq 'error';
}

# ---- a long page, strip by strip, is canceled as fast ----

load_noise($node, 'tall', 1, 400, 20000);
$text = $session->query(q{SET statement_timeout = 1000; SELECT extract(epoch FROM clock_timestamp());
	SELECT count(*) FROM tall, vl_ocr_strips(scan, options => '{"on_error": "null"}');
	SELECT extract(epoch FROM clock_timestamp()); RESET statement_timeout});
is(sqlstate($text), '57014', 'vl_ocr_strips is canceled');
my ($from, $to) = $text =~ /^([\d.]+)$/mg;
cmp_ok($to - $from, '<', 1 + BOUND, 'and stops soon');

$session->quit;
$watcher->quit;
$node->stop;
done_testing();
