# A call can be canceled in each of its phases, by pg_cancel_backend and by
# statement_timeout, at once; the session goes on and still answers right.

use strict;
use warnings;

use DSVL2;
use Test::More;
use Time::HiRes qw(time);

# What is asserted is loose, since test machines are what they are; what was measured is
# printed.
use constant BOUND => 2.0;

my $node = new_node('cancel', preload => 1, conf => "dsvl2.threads = 1\n");
create_watcher($node);
load_noise($node, 'noise', 300, 210, 210);
load_noise($node, 'big', 4, 6000, 6000);

my $watcher = DSVL2::Session->new($node);
my $session = DSVL2::Session->new($node);
my $ask = 'SELECT vl_ocr(' . FIRST_RECEIPT . ')';

$session->query('SET client_min_messages = warning');
my $right = $session->query($ask);
is(sqlstate($right), '', 'a call that nobody disturbs');

# Each goes through its phase again and again, on pictures that are in no cache, so that
# the phase cannot be missed.
my %slow = (
	image => q{SELECT count(vl_ask(scan, 'total?', options => '{"on_error": "null"}')) FROM big},
	vision => q{SELECT count(vl_ask(scan, 'total?',
		options => '{"on_error": "null", "max_tokens": 1}')) FROM noise},
	prefill => q{SELECT count(vl_ask(scan, repeat('total? ', 400),
		options => '{"on_error": "null", "max_tokens": 1}')) FROM noise},
	decode => q{SELECT count(vl_ask(scan, 'Read all the text in the image.',
		options => '{"on_error": "null", "max_tokens": 2000, "temperature": 2}')) FROM noise});

foreach my $phase (qw(image vision prefill decode))
{
	$session->send("$slow{$phase};\nSELECT 'after ' || extract(epoch FROM clock_timestamp())");
	my ($seen, $acted) = cancel_in_phase($watcher, $session, $phase);
	my $text = $session->wait;

	like($seen, qr/$phase/, "phase $phase is seen");
	is(sqlstate($text), '57014', "canceled in phase $phase");
	my ($after) = $text =~ /^after ([\d.]+)$/m;
	cmp_ok(($after // 1e9) - ($acted // 0), '<', BOUND, "stops soon in phase $phase");
	note sprintf 'phase %s: canceled after %.1f ms', $phase, 1000 * ($after - $acted)
	  if $after && $acted;
	is($session->query($ask), $right, "the session goes on after phase $phase");
	is($watcher->query('SELECT count(*) FROM vl_stat_activity'), '0', 'and nothing runs any more');
}

foreach my $phase (qw(image vision prefill decode))
{
	foreach my $milliseconds (30, 200)
	{
		my $start = time();
		my $text = $session->query(
			"SET statement_timeout = $milliseconds; $slow{$phase}; RESET statement_timeout");
		my $took = time() - $start;

		is(sqlstate($text), '57014', "statement_timeout of $milliseconds ms, slow $phase");
		cmp_ok($took, '<', $milliseconds / 1000 + BOUND, 'stops soon');
		note sprintf 'statement_timeout %d ms: %.1f ms in all', $milliseconds, 1000 * $took;
	}
}
is($session->query($ask), $right, 'the session goes on after statement_timeout');

# In a transaction block: a savepoint takes the session back to where it was.
my $text = $session->query("BEGIN; SAVEPOINT s; SET LOCAL statement_timeout = 50; $slow{vision};
	ROLLBACK TO s; $ask; COMMIT");
is(sqlstate($text), '57014', 'canceled within a savepoint');
like($text, qr/\n\Q$right\E\z/, 'the transaction goes on after ROLLBACK TO');

$session->quit;
$watcher->quit;
$node->stop;
done_testing();
