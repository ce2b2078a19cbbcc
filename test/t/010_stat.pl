# vl_stat counts every call of every session exactly, whoever is at work beside whom; who
# may look and reset; what happens when there are too many entries, and without preload.

use strict;
use warnings;

use DSVL2;
use Test::More;

use constant SESSIONS => 6;
use constant CALLS => 60;

# ---- not preloaded ----

my $plain = new_node('plain');
my $session = DSVL2::Session->new($plain);
my $seen = $session->query('SELECT count(*) FROM vl_stat');
like($seen, qr/^0$/m, 'vl_stat is empty without preload');
like($seen, qr/shared_preload_libraries/, 'and says why');
unlike($session->query('SELECT count(*) FROM vl_stat'), qr/NOTICE/, 'once a session');
$seen = $session->query('SELECT vl_stat_reset()');
is(sqlstate($seen), '', 'a reset does nothing');
is($session->query("SELECT count(*) FROM vl_config() WHERE name = 'dsvl2.stat_max'"), '0',
	'there is no setting for what is not there');
like($session->query('SET dsvl2.stat_max = 20'), qr/ERROR/, 'nor can it be set');
$session->quit;
$plain->stop;

# ---- preloaded ----

my $node = new_node('stat', preload => 1, conf => "dsvl2.stat_max = 10\n");
load_noise($node, 'noise', CALLS, 30, 30);
$node->safe_psql('postgres', <<"SQL");
CREATE ROLE ann LOGIN;
CREATE ROLE bob LOGIN;
GRANT pg_read_all_data TO ann, bob;
CREATE DATABASE other;
SQL
my $owner = DSVL2::Session->new($node);
my @sessions = map { DSVL2::Session->new($node, user => $_ % 2 ? 'bob' : 'ann') } 1 .. SESSIONS;
$_->query("SET client_min_messages = warning; SET dsvl2.threads = 1; SET dsvl2.on_error = 'null'")
  foreach @sessions;

# each picture once by inference and once by the memo
my $ask = q{SELECT count(vl_ask(scan, 'a', options => '{"max_tokens": 2}')),
	max(vl_ask(scan, 'a', options => '{"max_tokens": 2}')) FROM noise};
$owner->query('SELECT vl_stat_reset()');
$_->send($ask) foreach @sessions;
$_->wait foreach @sessions;
my $each = SESSIONS / 2 * CALLS;
is($owner->query('SELECT usename, task, model, calls, memo_hits, images FROM vl_stat ORDER BY 1'),
	join("\n", map { "$_|ask|nano|" . 2 * $each . "|$each|$each" } qw(ann bob)),
	'calls of sessions side by side add up');

# What sessions say of themselves is what is counted of them.
my @own = map { $_->query('SELECT total_output_tokens, input_tokens FROM vl_last_usage()') } @sessions;
my @sum = (0, 0);
foreach my $own (@own)
{
	my @numbers = split /\|/, $own;
	$sum[$_] += $numbers[$_] foreach 0, 1;
}
is($owner->query('SELECT sum(output_tokens), sum(prompt_tokens) FROM vl_stat'), "$sum[0]|$sum[1]",
	'tokens are those that the sessions counted');

# ---- who may look, who may reset ----

like($sessions[0]->query('SELECT DISTINCT usename FROM vl_stat'), qr/^bob$/, 'a role sees its own rows');
is(sqlstate($sessions[0]->query('SELECT vl_stat_reset()')), '42501', 'and may not reset');
$node->safe_psql('postgres', 'GRANT pg_read_all_stats TO bob');
is($sessions[0]->query('SELECT count(DISTINCT usename) FROM vl_stat'), '2',
	'a member of pg_read_all_stats sees all');
$node->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION vl_stat_reset() TO ann');
is(sqlstate($sessions[1]->query('SELECT vl_stat_reset()')), '', 'the privilege to reset can be given');
is($owner->query('SELECT count(*) FROM vl_stat'), '0', 'then nothing is left');

# Other databases are shown by name.
$node->safe_psql('other', 'CREATE EXTENSION dsvl2');
is($node->safe_psql('other', q{SELECT vl_ask('\x00', 'x', options => '{"on_error": "null"}') IS NULL}),
	't', 'a call in another database');
is($owner->query('SELECT datname, calls, vl001 FROM vl_stat'), 'other|1|1', 'is told apart');

# ---- a reset in the middle loses no call twice ----

$owner->query('SELECT vl_stat_reset()');
$_->send($ask) foreach @sessions;
my $before = 0;
foreach (1 .. 5)
{
	$before = $owner->query('SELECT coalesce(sum(calls), 0) FROM vl_stat');
	$owner->query('SELECT vl_stat_reset()');
}
$_->wait foreach @sessions;
my $after = $owner->query('SELECT coalesce(sum(calls), 0) FROM vl_stat');
cmp_ok($after, '<=', 2 * SESSIONS * CALLS, "after a reset there are not more calls than were made");
is($owner->query('SELECT count(*) FROM vl_stat WHERE least(calls, images, tiles, output_tokens) < 0'),
	'0', 'and no counter is below zero');

# ---- canceled ----

create_watcher($node);
load_noise($node, 'large', 20, 900, 900);
$owner->query('SELECT vl_stat_reset()');
$sessions[0]->send(q{SELECT count(vl_ocr(scan)) FROM large});
my ($phase) = act_in_phase($owner, $sessions[0], 'vision|prefill|decode', 'cancel');
is(sqlstate($sessions[0]->wait), '57014', "a call canceled in phase $phase");
like($owner->query('SELECT canceled, failed, calls >= 1, image_ms > 0 FROM vl_stat'), qr/^1\|0\|t\|t$/,
	'is counted as such, with the time that it took');
$sessions[0]->send(q{SELECT count(vl_ocr(scan)) FROM large});
($phase) = act_in_phase($owner, $sessions[0], '.', 'terminate');
$sessions[0]->wait;
ok(until_true(sub { return $owner->query('SELECT sum(canceled) FROM vl_stat') eq '2' }),
	'so is that of a session that was ended');

# ---- what pg_stat_activity shows ----

$sessions[1]->send(q{SELECT count(vl_ocr(scan)) FROM large});
my $event = $node->pg_version >= 17 ? 'Dsvl2Inference' : 'Extension';
ok(until_true(sub {
		return $owner->query("SELECT wait_event_type || '/' || wait_event FROM pg_stat_activity
			WHERE pid = $sessions[1]->{pid}") eq "Extension/$event";
	}), "a backend that computes waits for $event");
$owner->query("SELECT pg_cancel_backend($sessions[1]->{pid})");
$sessions[1]->wait;
ok(until_true(sub {
		return $owner->query("SELECT wait_event_type FROM pg_stat_activity
			WHERE pid = $sessions[1]->{pid}") eq 'Client';
	}), 'and for its client afterwards');

# ---- more entries than there is room for ----

$owner->query('SELECT vl_stat_reset()');
$owner->query("SET client_min_messages = warning; SET dsvl2.on_error = 'null'");
foreach my $i (1 .. 25)
{
	$owner->query("CREATE ROLE r$i; SET ROLE r$i");
	$owner->query(q{SELECT vl_ask('\x00', 'x')}) foreach 1 .. 2;
	$owner->query('RESET ROLE');
}
is($owner->query('SELECT count(usename), count(*) FROM vl_stat'), '10|11',
	'ten entries are left, and a row of the rest');
is($owner->query('SELECT sum(calls), sum(vl001) FROM vl_stat'), '50|50', 'the sums are exact');
is($owner->query('SELECT calls, vl001, task, model, datname FROM vl_stat WHERE usename IS NULL'), '30|30|||',
	'the rest has what had to go');
is($owner->query("SELECT string_agg(usename, ' ' ORDER BY usename) FROM vl_stat"),
	'r16 r17 r18 r19 r20 r21 r22 r23 r24 r25', 'those used last are left');
$owner->query('SET ROLE r16');
$owner->query(q{SELECT vl_ask('\x00', 'x')});
is($owner->query('SELECT calls FROM vl_stat'), '3', 'a role sees neither others nor the rest');
$owner->query('RESET ROLE; SET ROLE r1');
$owner->query(q{SELECT vl_ask('\x00', 'x')});
$owner->query('RESET ROLE');
is($owner->query("SELECT string_agg(usename, ' ' ORDER BY usename) FROM vl_stat"),
	'r1 r16 r18 r19 r20 r21 r22 r23 r24 r25', 'a use is what keeps an entry');
is($owner->query('SELECT sum(calls) FROM vl_stat'), '52', 'and the sums stay exact');

# ---- the postmaster's memory ----

$node->restart;
is($node->safe_psql('postgres', 'SELECT count(*) FROM vl_stat'), '0', 'a restart begins anew');
is($node->safe_psql('postgres', 'SHOW dsvl2.stat_max'), '10', 'the setting is there at once');

$_->quit foreach @sessions, $owner;
$node->stop;
done_testing();
