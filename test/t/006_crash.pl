# A backend that ends in the middle of a call: by pg_terminate_backend it ends at once and
# alone; by kill -9 the server restarts, as it does for every backend, and goes on.

use strict;
use warnings;

use DSVL2;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('crash', preload => 1, conf => "restart_after_crash = on\n");
create_watcher($node);
load_noise($node, 'noise', 300, 210, 210);

my $quiet = 'SET client_min_messages = warning';
my $slow = q{SELECT count(vl_ask(scan, 'Read all the text in the image.',
	options => '{"on_error": "null"}')) FROM noise};
my $ask = 'SELECT vl_ocr(' . FIRST_RECEIPT . ')';
my $right = $node->safe_psql('postgres', $ask);

foreach my $phase (qw(vision decode))
{
	my $watcher = DSVL2::Session->new($node);
	my $victim = DSVL2::Session->new($node);

	$victim->query($quiet);
	$victim->send($slow);
	my ($seen, $acted) = act_in_phase($watcher, $victim, $phase, 'terminate');
	my $text = $victim->wait;
	is(sqlstate($text), '57P01', "pg_terminate_backend in phase $seen");
	ok(until_true(sub { !-e "/proc/$victim->{pid}" }), 'the backend is gone');
	my $seconds = time() - $acted;
	cmp_ok($seconds, '<', 3, 'soon');
	note sprintf 'terminated in phase %s: gone after %.0f ms', $seen, 1000 * $seconds;
	is($watcher->query('SELECT count(*) FROM vl_stat_activity'), '0', 'nothing of it is shown');
	is($watcher->query("$quiet; $ask"), $right, 'other sessions never noticed');
	$victim->quit;
	$watcher->quit;
}

foreach my $phase (qw(vision decode))
{
	my $watcher = DSVL2::Session->new($node);
	my $victim = DSVL2::Session->new($node);

	$victim->query($quiet);
	$victim->send($slow);
	my ($seen) = act_in_phase($watcher, $victim, $phase, 'look');
	is(kill('KILL', $victim->{pid}), 1, "kill -9 in phase $seen");
	$victim->quit;
	$watcher->quit;
	ok(until_true(sub { !-e "/proc/$victim->{pid}" }), 'the backend is gone');
	ok($node->poll_query_until('postgres', 'SELECT true'), 'the server is back');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM vl_stat_activity'),
		'0', 'nothing of the dead backend is shown');
	is($node->safe_psql('postgres', $ask), $right, 'and the next call is answered');
}

$node->stop;
done_testing();
