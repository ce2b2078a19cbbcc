# A call can be canceled in each of its phases, at their start and in their middle, by
# pg_cancel_backend, statement_timeout and the option timeout_ms, at once; the session goes
# on and still answers right.

use strict;
use warnings;

use DSVL2;
use List::Util qw(max);
use Test::More;

# Half of the cancellations must be as fast as dsvl2 promises for nano; all of them within a
# bound that a busy machine keeps, too.  What was measured is printed.
use constant PROMISE => 0.2;
use constant BOUND => 2.0;

# Without PostgreSQL's just-in-time compiler, which the cost of the functions calls in and
# which hears no cancel.
my $node = new_node('cancel', preload => 1, conf => "dsvl2.threads = 1\njit = off\n");
create_watcher($node);
load_noise($node, 'noise', 48, 630, 420);
load_noise($node, 'big', 2, 6000, 6000);

my $watcher = DSVL2::Session->new($node);
my $session = DSVL2::Session->new($node);
my $ask = 'SELECT vl_ocr(' . FIRST_RECEIPT . ')';

$session->query('SET client_min_messages = warning');
my $right = $session->query($ask);
is(sqlstate($right), '', 'a call that nobody disturbs');

# Each goes through its phase again and again, on pictures and prompts that are in no cache,
# so that the phase cannot be missed.  nano is fast: decoding a picture of 36 million pixels,
# two dozen pictures in a prompt, a prompt that fills the context and long answers make its
# phases last.
my $seed = 0;
my %slow = (
	image => sub {
		q{SELECT count(vl_ask(scan, 'total?')) FROM big};
	},
	vision => sub {
		$seed++;
		qq{SELECT count(vl_ask_multi((SELECT array_agg(other) FROM (
			SELECT scan || '\\x00'::bytea || int4send($seed * 1000 + n) AS other
			  FROM noise ORDER BY id OFFSET n % 24 LIMIT 24) s), 'total?',
			options => '{"max_tokens": 1}')) FROM generate_series(1, 1000) n};
	},
	prefill => sub {
		q{SELECT count(vl_ask(scan, n || repeat(' total?', 400),
			options => '{"max_tokens": 1}')) FROM noise, generate_series(1, 100) n};
	},
	decode => sub {
		$seed++;
		qq{SELECT count(vl_ask(scan, 'Read all the text in the image.', options =>
			format('{"max_tokens": 2000, "temperature": 2, "seed": %s}', $seed * 1000 + n)::jsonb))
		   FROM noise, generate_series(1, 100) n};
	},
	scoring => sub {
		$seed++;
		qq{SELECT count(vl_classify(scan, ARRAY(
			SELECT format('%s %s', k, n + $seed * 1000) FROM generate_series(1, 200) k)))
		   FROM noise, generate_series(1, 100) n};
	});
# What a statement says under a statement_timeout, and the time it takes by the server's clock
sub timed
{
	my ($milliseconds, $sql) = @_;
	my $clock = 'SELECT extract(epoch FROM clock_timestamp())';
	my $said = $session->query("SET statement_timeout = $milliseconds; $clock; $sql; $clock;
		RESET statement_timeout");
	my ($start, $end) = $said =~ /^([\d.]+)$/mg;

	return ($said, $end - $start);
}

# Scoring candidates takes the place of decoding.
my %phase_of = (scoring => 'decode');
my %delays = (image => [0, 50, 200], vision => [0, 10, 30], prefill => [0, 50, 150],
	decode => [0, 1, 3], scoring => [0, 1, 3]);
my @phases = qw(image vision prefill decode scoring);

foreach my $phase (@phases)
{
	my @took;

	foreach my $delay (@{ $delays{$phase} })
	{
		$session->send($slow{$phase}->()
			  . ";\nSELECT 'after ' || extract(epoch FROM clock_timestamp())");
		my $named = $phase_of{$phase} // $phase;
		my ($seen, $acted) = act_in_phase($watcher, $session, $named, 'cancel', $delay);
		my $text = $session->wait;

		is($seen, $named, "phase $phase is seen, for $delay ms");
		is(sqlstate($text), '57014', 'canceled in it');
		my ($after) = $text =~ /^after ([\d.]+)$/m;
		push @took, ($after // 1e9) - ($acted // 0);
		note sprintf 'phase %s, after %d ms: canceled within %.1f ms', $phase, $delay,
		  1000 * $took[-1];
		is($watcher->query('SELECT count(*) FROM vl_stat_activity'), '0', 'nothing runs any more');
		is($session->query($ask), $right, 'the session goes on');
	}
	my $median = (sort { $a <=> $b } @took)[ @took / 2 ];
	cmp_ok($median, '<', PROMISE, "phase $phase: stops at once");
	cmp_ok(max(@took), '<', BOUND, "phase $phase: always stops soon");
}

foreach my $phase (@phases)
{
	foreach my $milliseconds (30, 200)
	{
		my ($text, $took) = timed($milliseconds, $slow{$phase}->());

		is(sqlstate($text), '57014', "statement_timeout of $milliseconds ms, slow $phase");
		like($text, qr/canceling statement due to statement timeout/, 'with the usual message');
		cmp_ok($took, '<', $milliseconds / 1000 + BOUND, 'stops soon');
		note sprintf 'phase %s, statement_timeout %d ms: %.1f ms in all', $phase, $milliseconds,
		  1000 * $took;
	}
}
is($session->query($ask), $right, 'the session goes on after statement_timeout');

# The name of a large value is computed before it is known to be no picture.
$node->safe_psql('postgres', q{CREATE TABLE large (v bytea);
	ALTER TABLE large ALTER v SET STORAGE EXTERNAL;
	INSERT INTO large SELECT decode(repeat('00', 60000000), 'hex')});
my ($text, $took) = timed(1, "SELECT vl_ask(v || v || v, 'total?') FROM large");
is(sqlstate($text), '57014', 'canceled before a large value is read');
cmp_ok($took, '<', BOUND, 'soon');
note sprintf '180 MB that are no picture: canceled within %.1f ms', 1000 * $took;

# What looks at long texts and large schemas without asking a model hears it as well.
$node->safe_psql('postgres', q{CREATE TABLE wide AS
	SELECT jsonb_build_object('type', 'object', 'properties', jsonb_object_agg('k' || i, '{}'::jsonb),
		'required', jsonb_agg('k' || i)) AS fields FROM generate_series(1, 60000) i});
foreach my $long (q{vl_count_tokens(repeat('a', 50000000))}, q{vl_count_tokens(repeat('a 1,', 10000000))},
	q{vl_extract('\x', fields) FROM wide})
{
	($text, $took) = timed(200, "SELECT $long");
	is(sqlstate($text), '57014', "canceled: $long");
	cmp_ok($took, '<', 0.2 + BOUND, 'soon');
	note sprintf 'canceled after %.1f ms', 1000 * $took;
}

# The call's own limit
$text = $session->query(q{SELECT vl_ask(scan, repeat('total? ', 400),
	options => '{"timeout_ms": 20}') FROM big});
is(sqlstate($text), '57014', 'option timeout_ms');
like($text, qr/timeout_ms/, 'is named in the message');
is($session->query($ask), $right, 'the session goes on after timeout_ms');

# In a transaction block: a savepoint takes the session back to where it was.
$text = $session->query("BEGIN; SAVEPOINT s; SET LOCAL statement_timeout = 50;
	${\ $slow{vision}->()}; ROLLBACK TO s; $ask; COMMIT");
is(sqlstate($text), '57014', 'canceled within a savepoint');
like($text, qr/\n\Q$right\E\z/, 'the transaction goes on after ROLLBACK TO');

# PL/pgSQL can catch a cancel: nothing of the call may be left behind.
$text = $session->query(q{DO $$ BEGIN
	PERFORM set_config('statement_timeout', '0', false);
	PERFORM vl_ask(scan, 'total?', options => '{"timeout_ms": 1}') FROM big;
EXCEPTION WHEN query_canceled THEN RAISE WARNING 'caught'; END $$;
	RESET statement_timeout; } . $ask);
like($text, qr/caught.*\Q$right\E\z/s, 'PL/pgSQL can catch it and go on');

$session->quit;
$watcher->quit;
$node->stop;
done_testing();
