# The extension with and without shared_preload_libraries: answers are the same; what a
# running call is doing can be seen from another session only with it.

use strict;
use warnings;

use DSVL2;
use Test::More;

my $ask = 'SELECT vl_ocr(' . FIRST_RECEIPT . ')';

# ---- not preloaded ----

my $plain = new_node('plain');
my $session = DSVL2::Session->new($plain);

my $first = $session->query($ask);
like($first, qr/^NOTICE:.*nano/m, 'the first use of nano says what nano is');
like($first, qr/vl_register_model/, 'and how to get a better model');
is(sqlstate($first), '', 'a call works without preload');

my $second = $session->query($ask);
unlike($second, qr/NOTICE/, 'it is said once a session');
like($second, qr/\w/, 'the answer is not empty');
like($first, qr/\Q$second\E\z/, 'the same call gives the same answer');

my $activity = $session->query('SELECT count(*) FROM vl_stat_activity');
like($activity, qr/^0$/m, 'vl_stat_activity is empty without preload');
like($activity, qr/shared_preload_libraries/, 'and says why');
$session->quit;
$plain->stop;

# ---- preloaded ----

my $node = new_node('preloaded', preload => 1);
create_watcher($node);
load_noise($node, 'noise', 40, 210, 210);
$session = DSVL2::Session->new($node);
my $other = DSVL2::Session->new($node);

$session->query('SET client_min_messages = warning');
is($session->query($ask), $second, 'the answer with preload is that without');
$activity = $other->query('SELECT count(*) FROM vl_stat_activity');
is($activity, '0', 'nothing runs, nothing is shown, and no hint is due');

# The role is the session's, whoever the call runs as.
$other->query('CREATE ROLE eve; GRANT pg_read_all_data TO eve');
$session->query('SET ROLE eve');
$session->send(q{SELECT count(vl_ask(scan, 'Read all the text in the image.',
	options => '{"on_error": "null"}')) FROM noise});
my ($phase) = act_in_phase($other, $session, '.', 'look');
like($phase, qr/^\w+$/, "a running call is seen by another session, in phase $phase");
my $row = '';
until_true(sub {
	$row = $other->query("SELECT task, model, done >= 0, total >= done, output_tokens >= 0
		FROM vl_stat_activity WHERE pid = $session->{pid}");
	return $row ne '';
});
is($row, 'ask|nano|t|t|t', 'its task, model and progress are there');

# What others do is theirs to know, as in pg_stat_activity.
is($other->query("SELECT usename = session_user FROM vl_stat_activity WHERE pid = $session->{pid}"),
	't', 'and the session\'s role');
$other->query('GRANT pg_read_all_stats TO eve');
my $seen = "SELECT task IS NULL, phase IS NULL, done IS NULL FROM vl_stat_activity
	WHERE pid = $session->{pid}";
is($other->query("SET ROLE eve; $seen"), 'f|f|f', 'pg_read_all_stats sees what others do');
$other->query('RESET ROLE; REVOKE pg_read_all_stats FROM eve; SET ROLE eve');
is($other->query($seen), 't|t|t', 'without it, one sees that they do something');
$other->query('RESET ROLE');

like($session->wait, qr/^\d+$/, 'looking does not disturb the call');
is($other->query('SELECT count(*) FROM vl_stat_activity'), '0', 'what has ended is gone');

# Of the library's own names none can meet another library's.
my $library = $node->config_data('--pkglibdir') . '/dsvl2.so';
my @exported = map { (split)[2] } split /\n/, `nm -D --defined-only '$library'`;
ok(@exported > 20, 'the library exports the SQL functions');
is(join(' ', grep { !/^(?:(?:pg_finfo_)?vl_\w+|_PG_init|Pg_magic_func)$/ } @exported),
	'', 'and nothing else');

$session->quit;
$other->quit;
$node->stop;
done_testing();
