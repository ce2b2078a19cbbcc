# Streams, batches and vl_map: rows come while the answer is written; whatever ends them in
# whatever phase, nothing is left behind; thousands of rows take no more memory than a few.
# DSVL2_SOAK=1 (make check-soak) takes ten thousand rows.

use strict;
use warnings;

use DSVL2;
use IO::Socket::UNIX;
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);

use constant ROWS => $ENV{DSVL2_SOAK} ? 10_000 : 2_000;
use constant BOUND => 2.0;

my $node = new_node('jobs', preload => 1,
	conf => "dsvl2.threads = 1\njit = off\ndsvl2.kv_memory = 32MB\n");
create_watcher($node);
load_noise($node, 'noise', 48, 630, 420);
load_noise($node, 'tiny_noise', 100, 40, 30);
load_noise($node, 'big', 2, 6000, 6000);

my $watcher = DSVL2::Session->new($node);
my $session = DSVL2::Session->new($node);
my $ask = 'SELECT vl_ask(' . FIRST_RECEIPT . ", 'Read all the text in the image.')";

$session->query('SET client_min_messages = warning');
my $right = $session->query($ask);
is(sqlstate($right), '', 'a call that nobody disturbs');
$session->query('SET client_min_messages = notice');

# ---- whatever ends it ----

my $seed = 0;
my $hot = sub {
	$seed++;
	return qq{format('{"max_tokens": 1000, "temperature": 2, "seed": %s%s}', $seed * 1000 + n, '$_[0]')::jsonb};
};
# Each form goes through its phase again and again, on what is in no cache
my %forms = (
	stream => {
		image => sub { q{SELECT vl_ask_stream(scan, 'total?') FROM big} },
		vision => sub {
			$seed++;
			qq{SELECT vl_ask_stream(scan, 'total?', options => '{"max_tokens": 1, "system": "$seed"}')
				FROM noise};
		},
		prefill => sub {
			$seed++;
			qq{SELECT vl_ask_stream(scan, $seed || ' ' || n || repeat(' total?', 400),
				options => '{"max_tokens": 1}') FROM noise, generate_series(1, 100) n};
		},
		decode => sub {
			qq{SELECT vl_ask_stream(scan, 'Read all the text in the image.', options => ${\ $hot->('')})
				FROM noise, generate_series(1, 100) n};
		},
	},
	batch => {
		image => sub { q{SELECT * FROM vl_ask_batch(ARRAY(SELECT scan FROM big), 'total?')} },
		prefill => sub {
			$seed++;
			qq{SELECT * FROM vl_ask_batch(ARRAY(SELECT scan FROM noise ORDER BY id),
				ARRAY(SELECT $seed || repeat(' total?', 400) FROM noise), options => '{"max_tokens": 1}')};
		},
		decode => sub {
			$seed++;
			qq{SELECT * FROM vl_ask_batch(ARRAY(SELECT scan FROM noise ORDER BY id), 'Read all the text.',
				options => '{"max_tokens": 1000, "temperature": 2, "seed": $seed}')};
		},
	},
	map => {
		image => sub { q{SELECT * FROM vl_map('SELECT id, scan FROM big', prompt => 'total?')} },
		decode => sub {
			$seed++;
			qq{SELECT vl_map('SELECT id, scan FROM noise', prompt => 'Read all the text.',
				options => '{"max_tokens": 1000, "temperature": 2, "seed": $seed}')};
		},
	});

foreach my $form (sort keys %forms)
{
	my $phases = $forms{$form};

	foreach my $phase (sort keys %$phases)
	{
		my @took;

		foreach my $delay (0, 5)
		{
			$session->send("\\o /dev/null\n" . $phases->{$phase}->()
				  . ";\n\\o\nSELECT 'after ' || extract(epoch FROM clock_timestamp())");
			my ($seen, $acted) = act_in_phase($watcher, $session, $phase, 'cancel', $delay);
			my $text = $session->wait;

			is($seen, $phase, "$form: phase $phase is seen, for $delay ms");
			is(sqlstate($text), '57014', 'canceled in it');
			my ($after) = $text =~ /^after ([\d.]+)$/m;
			push @took, ($after // 1e9) - ($acted // 0);
		}
		cmp_ok(max(@took), '<', BOUND, 'it stops soon');
		note sprintf '%s, phase %s: canceled within %.1f ms', $form, $phase, 1000 * max(@took);
		is($watcher->query('SELECT count(*) FROM vl_stat_activity'), '0', 'nothing runs any more');
		unlike($session->query('SELECT vl_unload()'), qr/at work/, 'nothing is left at work');
		is($session->query("SET client_min_messages = warning; $ask; SET client_min_messages = notice"),
			$right, 'the session goes on');
	}
}

# An error in the middle of an open stream, in a savepoint and in PL/pgSQL
my $stream = q{SELECT vl_ask_stream(scan, 'Read all the text in the image.', options =>
	'{"max_tokens": 500, "temperature": 2, "seed": 1}') FROM noise WHERE id = 1};
my $text = $session->query("BEGIN; SAVEPOINT s; DECLARE c CURSOR FOR $stream; MOVE 5 FROM c;
	SELECT 1 / 0; ROLLBACK TO s; SELECT vl_unload(); COMMIT");
like($text, qr/division by zero/, 'an error while a stream is open');
unlike($text, qr/at work/, 'ends it, when it was opened in the savepoint');
$text = $session->query("BEGIN; DECLARE c CURSOR FOR $stream; MOVE 5 FROM c; SELECT vl_unload(); ROLLBACK;
	SELECT vl_unload()");
like($text, qr/NOTICE.*1 model is at work/, 'a model cannot be unloaded under a stream');
is(() = $text =~ /at work/g, 1, 'but can be after a rollback');

# The timeout of a statement that fetches
$text = $session->query("BEGIN; DECLARE c CURSOR FOR $stream; MOVE 1 FROM c; SET LOCAL statement_timeout = 20;
	MOVE ALL FROM c; ROLLBACK");
is(sqlstate($text), '57014', 'statement_timeout ends a FETCH');
unlike($session->query('SELECT vl_unload()'), qr/at work/, 'and its stream');

# ---- what others see of it ----

my $mine = "SELECT count(*) FROM vl_stat_activity WHERE pid = $session->{pid}";
$session->query("BEGIN; DECLARE c CURSOR FOR $stream; MOVE 3 FROM c");
is($watcher->query($mine), '0', 'a stream that nobody reads is not at work');
my $before = $session->query('SELECT total_output_tokens FROM vl_last_usage()');
$session->send(q{\o /dev/null
SELECT vl_ask(scan, 'total?') FROM big;
\o});
my ($seen) = act_in_phase($watcher, $session, 'image', 'nothing');
is($seen, 'image', 'another call is shown beside it');
$session->wait;
$session->query('MOVE 1 FROM c; COMMIT');
cmp_ok($session->query('SELECT total_output_tokens FROM vl_last_usage()') - $before,
	'<', 20, 'the stream wrote nothing meanwhile');

# ---- rows appear as tokens do ----

# A client that speaks the protocol itself, since psql shows no row before it has all
sub read_message
{
	my $socket = shift;
	my ($head, $body) = ('', '');

	while (length $head < 5)
	{
		sysread($socket, $head, 5 - length $head, length $head) or return ('', '');
	}
	my ($type, $length) = unpack('A N', $head);
	while (length $body < $length - 4)
	{
		sysread($socket, $body, $length - 4 - length $body, length $body) or return ('', '');
	}
	return ($type, $body);
}

my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port);
SKIP:
{
	skip 'no Unix socket', 4 unless $socket;
	my $user = $watcher->query('SELECT current_user');
	my $start = pack('N', 196608) . "user\0$user\0database\0postgres\0application_name\0reader\0\0";
	my @rows;

	syswrite($socket, pack('N', 4 + length $start) . $start);
	while ((my ($type) = read_message($socket))[0] ne 'Z')
	{
		last unless $type;
	}
	# slow enough to be watched: 60 tokens are 3 seconds
	my $sql = q{SELECT vl_ask_stream(scan, 'Read.', options => '{"max_tokens": 60, "temperature": 2, "seed": 1}'),
		pg_sleep(0.05) FROM noise WHERE id = 1} . "\0";
	syswrite($socket, 'Q' . pack('N', 4 + length $sql) . $sql);
	my ($type, $body);
	do { ($type, $body) = read_message($socket) } until $type eq 'D' || $type eq 'E' || $type eq '';
	is($type, 'D', 'a row has come');
	is($watcher->query(q{SELECT state FROM pg_stat_activity WHERE application_name = 'reader'}),
		'active', 'while the statement runs on');
	my $rest = 0;
	while (1)
	{
		($type, $body) = read_message($socket);
		last if $type eq 'Z' || $type eq '';
		$rest++ if $type eq 'D';
	}
	is($type, 'Z', 'it ends in order');
	cmp_ok($rest, '>', 10, 'many rows came after it');
	close $socket;
}

# ---- several at once ----

my @readers = map { DSVL2::Session->new($node) } 1 .. 2;
my @alone;
my $two = sub {
	my $i = shift;
	return qq{SELECT md5(string_agg(p, '')) FROM (SELECT vl_ask_stream(scan, 'Read.',
		options => '{"max_tokens": 300, "temperature": 2, "seed": $i}') AS p FROM noise WHERE id = 1) s};
};
$_->query('SET client_min_messages = warning') foreach @readers;
push @alone, $readers[0]->query($two->($_)) foreach 0, 1;
$readers[$_]->send($two->($_)) foreach 0, 1;
is($readers[$_]->wait, $alone[$_], "session $_ reads the stream that it reads alone") foreach 0, 1;

# In turns, in one session
$readers[0]->query(q{CREATE FUNCTION in_turns() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  a CURSOR FOR SELECT vl_ask_stream(scan, 'Read.', options =>
    '{"max_tokens": 300, "temperature": 2, "seed": 0}') FROM noise WHERE id = 1;
  b CURSOR FOR SELECT vl_ask_stream(scan, 'Read.', options =>
    '{"max_tokens": 300, "temperature": 2, "seed": 1}') FROM noise WHERE id = 1;
  piece text;
  first text := '';
  second text := '';
  more bool := true;
BEGIN
  OPEN a;
  OPEN b;
  WHILE more LOOP
    FETCH a INTO piece;
    more := FOUND;
    first := first || COALESCE(piece, '');
    FETCH b INTO piece;
    more := more OR FOUND;
    second := second || COALESCE(piece, '');
  END LOOP;
  RETURN md5(first) || ' ' || md5(second);
END $$});
is($readers[0]->query('SELECT in_turns()'), "$alone[0] $alone[1]", 'two streams read in turns');

# ---- the end of the session ----

foreach my $end (qw(quit terminate))
{
	my $other = DSVL2::Session->new($node);

	$other->query("BEGIN; DECLARE c CURSOR FOR $stream; MOVE 5 FROM c;
		DECLARE m CURSOR FOR SELECT vl_map('SELECT id, scan FROM noise', 'ocr'); MOVE 2 FROM m");
	$watcher->query("SELECT pg_terminate_backend($other->{pid})") if $end eq 'terminate';
	$other->quit;
	ok( until_true(sub {
			$watcher->query("SELECT count(*) FROM pg_stat_activity WHERE pid = $other->{pid}") eq '0'
		}),
		"$end with open streams ends the session");
}
is($watcher->query('SELECT count(*) FROM vl_stat_activity'), '0', 'nothing runs any more');
is($readers[1]->query($two->(0)), $alone[0], 'the server goes on');

# ---- memory ----

# What a process has of its own, in kB
sub private
{
	my $pid = shift;
	my $sum = 0;

	open my $handle, '<', "/proc/$pid/smaps" or return;
	while (my $line = <$handle>)
	{
		$sum += $1 if $line =~ /^Private_Dirty:\s+(\d+) kB/;
	}
	return $sum;
}

# Rows of all kinds: answered, damaged, NULL
my $rows = 'SELECT n, CASE WHEN n % 11 = 3 THEN NULL WHEN n % 7 = 5 THEN substr(scan, 1, 60) ELSE scan END,
	\'What is \' || n FROM generate_series(1, %d) n JOIN tiny_noise ON id = 1 + n %% 100 ORDER BY n';
$rows =~ s/% (?=11|7)/%% /g;
my $few = sprintf $rows, ROWS / 10;
my $many = sprintf $rows, ROWS;
my $map = sub {
	my $sql = shift;
	return "vl_map(\$q\$$sql\$q\$, options => '{\"max_tokens\": 2}')";
};

SKIP:
{
	skip 'no readable /proc/PID/smaps here', 8 unless private($readers[0]{pid});
	my ($reader, $pid) = ($readers[0], $readers[0]{pid});
	my $begin = time();

	# row by row
	$reader->query("BEGIN; DECLARE c CURSOR FOR SELECT ${\ $map->($many)}");
	$reader->query('MOVE ' . ROWS / 10 . ' FROM c');
	my $after_few = private($pid);
	my $moved = $reader->query('\o /dev/null' . "\nMOVE ALL FROM c;\n\\o\n");
	my $after_many = private($pid);
	$reader->query('COMMIT');
	is(sqlstate($moved), '', ROWS . ' rows by a cursor');
	cmp_ok($after_many - $after_few, '<', 4096, 'take no more memory than a tenth of them');
	note sprintf 'a cursor: %d kB after %d rows, %d kB after %d, %.1f s', $after_few, ROWS / 10,
	  $after_many, ROWS, time() - $begin;

	# as a table, which the server keeps: in memory up to work_mem, in a file beyond
	my $count = 'SELECT count(*), count(value), count(DISTINCT error_code), count(*) FILTER (WHERE
		error_code IS NULL AND value IS NULL), bool_and(key = ordinality::text) FROM ';
	$begin = time();
	$reader->query("SET work_mem = '64kB'");
	$reader->query($count . $map->($few) . ' WITH ORDINALITY');
	$after_few = private($pid);
	my $counts = $reader->query($count . $map->($many) . ' WITH ORDINALITY');
	$after_many = private($pid);
	my @counts = split /\|/, $counts;
	is($counts[0], ROWS, 'a row for each row');
	is($counts[2] >= 1 && $counts[3], int((ROWS + 8) / 11), 'damaged ones and NULLs among them');
	is($counts[4], 't', 'in their order');
	cmp_ok($counts[1], '>', ROWS / 2, 'most are answered');
	cmp_ok($after_many - $after_few, '<', 4096, 'they take no more memory than a tenth of them');
	note sprintf 'a table: %d kB after %d rows, %d kB after %d, %.1f s', $after_few, ROWS / 10,
	  $after_many, ROWS, time() - $begin;

	# what is left early gives back what it took
	my $leave = q{DO $$ BEGIN FOR n IN 1 .. 60 LOOP
		PERFORM vl_ask_stream(scan, 'What is ' || n) FROM noise WHERE id = 1 LIMIT 1;
		PERFORM vl_map('SELECT id, scan FROM tiny_noise', prompt => 'What is ' || n,
			options => '{"max_tokens": 1, "in_flight": 3}') LIMIT 1; END LOOP; END $$};
	$reader->query($leave);
	$after_few = private($pid);
	$reader->query($leave);
	cmp_ok(private($pid) - $after_few, '<', 1024, 'what is left early leaves nothing');
}

$_->quit foreach @readers;
$session->quit;
$watcher->quit;
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|signal \d+|TRAP|resource was not closed|leak/,
	'nothing of it is in the log');
$node->stop;
done_testing();
