# Models in q8 and q4: packed once a server, found again by other databases and after a
# restart; damage is found; packing can be canceled and asks for a privilege.

use strict;
use warnings;

use DSVL2;
use Fcntl qw(:flock);
use File::Copy qw(copy);
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('pack', preload => 1);
my $session = DSVL2::Session->new($node);
my $folder = PostgreSQL::Test::Utils::tempdir() . '/model';
my $dir = $node->data_dir . '/dsvl2';
my $ask = 'SELECT vl_ocr(' . FIRST_RECEIPT . ', model => %s)';
my $logprob = "SELECT (vl_run('ocr', " . FIRST_RECEIPT
  . q{, model => %s, options => '{"max_tokens": 40, "scores": true}')).logprobs[30]};

PostgreSQL::Test::RecursiveCopy::copypath(nano_dir(), $folder,
	filterfn => sub { $_[0] !~ /^samples/ });
$session->query('SET client_min_messages = warning');
$session->query('SET dsvl2.memo_size = 0');

sub packed_files
{
	return sort map { s{.*/}{}r } glob "$dir/*";
}

sub flip
{
	my ($file, $at) = @_;
	my $byte;

	open my $handle, '+<:raw', $file or die "$file: $!";
	seek $handle, $at, 0;
	read $handle, $byte, 1;
	seek $handle, $at, 0;
	print $handle chr(ord($byte) ^ 1);
	close $handle;
	return;
}

# ---- registering packs ----

my $source = $session->query("SELECT digest FROM vl_models WHERE name = 'nano'");
is($session->query("SELECT vl_register_model('eight', '$folder', 'q8')"), 'eight', 'q8 is taken');
is($session->query("SELECT vl_register_model('four', '$folder', 'q4')"), 'four', 'q4 is taken');
is_deeply([ packed_files() ],
	[ "$source-q4.safetensors", "$source-q8.safetensors" ],
	'the files lie in the data directory, named by what they are made of');
is(sprintf('%o', (stat "$dir/$source-q8.safetensors")[2] & 0777), '600', 'the server\'s own');
is( $session->query(
		"SELECT name, quantisation, path = '$folder', bytes < 9000000 FROM vl_models "
		  . "WHERE name <> 'nano' ORDER BY name"),
	"eight|q8|t|t\nfour|q4|t|t",
	'the catalog knows the folder and the quantisation');
is($session->query("SELECT count(DISTINCT digest) FROM vl_models"), '3', 'each has a digest');

my %answer;
foreach my $name (qw(eight four))
{
	$answer{$name} = $session->query(sprintf $ask, "'$name'");
	is(sqlstate($answer{$name}), '', "$name answers");
	my $fresh = DSVL2::Session->new($node);
	$fresh->query('SET client_min_messages = warning');
	is($fresh->query(sprintf $ask, "'$name'"), $answer{$name}, 'the same in a new session');
	$fresh->quit;
	is($session->query("SELECT vl_verify_model('$name')"), '', 'its checksums are right');
}
# ---- activations ----

my %first;
foreach my $format (qw(int16 int8 auto))
{
	$session->query("SET dsvl2.activations = $format");
	$first{$_}{$format} = $session->query(sprintf $logprob, "'$_'") foreach qw(nano eight four);
}
cmp_ok($first{eight}{int16}, '!=', $first{eight}{int8}, 'activations of q8 have a format');
cmp_ok(abs($first{eight}{int16} - $first{eight}{int8}), '<', 0.05, 'and differ little');
cmp_ok($first{four}{auto}, '!=', $first{four}{int16}, 'by itself int8 with q4');
is($first{nano}{int16}, $first{nano}{int8}, 'published weights have none');
$session->query('RESET dsvl2.activations');

is($session->query("SELECT vl_verify_model('nano')"), '', 'a folder can be verified too');
is($session->query("SELECT vl_prewarm('eight') = bytes FROM vl_models WHERE name = 'eight'"),
	't', 'a packed file can be warmed');

# ---- a second database finds the file ----

my $made = (stat "$dir/$source-q8.safetensors")[1];
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION dsvl2');
is($node->safe_psql('other', "SELECT vl_register_model('acht', '$folder', 'q8')"),
	'acht', 'a second database registers it');
is((stat "$dir/$source-q8.safetensors")[1], $made, 'and finds the file');
is($node->safe_psql('other', "SELECT digest FROM vl_models WHERE name = 'acht'"),
	$session->query("SELECT digest FROM vl_models WHERE name = 'eight'"), 'with the same digest');

# ---- a packed file by its path ----

my $moved = PostgreSQL::Test::Utils::tempdir() . '/moved.safetensors';
copy("$dir/$source-q4.safetensors", $moved);
is($session->query("SELECT vl_register_model('file', '$moved')"), 'file', 'a packed file is taken');
is($session->query("SELECT quantisation FROM vl_models WHERE name = 'file'"),
	'q4', 'the file says what it is');
is($session->query(sprintf $ask, "'file'"), $answer{four}, 'and answers');
is(sqlstate($session->query("SELECT vl_register_model('file2', '$moved', 'q8')")),
	'22023', 'another quantisation than the file\'s');
is(sqlstate($session->query("SELECT vl_register_model('file2', '$folder/model.safetensors', 'q8')")),
	'XX001', 'published weights without their folder');
is(sqlstate($session->query("SELECT vl_register_model('eight', '$folder', 'q8')")),
	'42710', 'a name that is taken');

# ---- damage ----

my $size = -s $moved;
flip($moved, $size - 1000);
my $text = $session->query("SELECT vl_verify_model('file')");
is(sqlstate($text), 'XX001', 'a flipped byte is found');
like($text, qr/tensor "[a-z0-9_.]+" of/, 'and where it is');
flip($moved, $size - 1000);
is($session->query("SELECT vl_verify_model('file')"), '', 'flipped back');
flip($moved, 100);
my $fresh = DSVL2::Session->new($node);
is(sqlstate($fresh->query(sprintf $ask, "'file'")), 'XX001', 'a damaged header is not opened');
$fresh->quit;
$session->query("SELECT vl_drop_model('file')");
ok(-e $moved, 'dropping leaves the file');

# a header that cannot be read is no reason not to register: the file is made anew
flip("$dir/$source-q4.safetensors", 100);
$session->query("SELECT vl_drop_model('four')");
is($session->query("SELECT vl_register_model('four', '$folder', 'q4')"), 'four', 'registered again');
is($session->query("SELECT vl_verify_model('four')"), '', 'packed anew');
is($session->query(sprintf $ask, "'four'"), $answer{four}, 'with the same answers');

# ---- a file that has gone, as after a restore on another server ----

rename "$dir/$source-q8.safetensors", "$dir/away";
$fresh = DSVL2::Session->new($node);
$text = $fresh->query(sprintf $ask, "'eight'");
is(sqlstate($text), '58P01', 'a packed file that is not there');
like($text, qr/HINT:.*register it again/, 'and what to do');
$fresh->quit;
is($session->query(sprintf $ask, "'eight'"),
	$answer{eight}, 'a session that has it mapped goes on');
rename "$dir/away", "$dir/$source-q8.safetensors";

# ---- waiting for another packer, seen, canceled, and bounded by a timeout ----

unlink "$dir/$source-q4.safetensors";
open my $lock, '>', "$dir/$source-q4.safetensors.tmp" or die $!;
flock $lock, LOCK_EX;
my $watcher = DSVL2::Session->new($node);
$session->query("SELECT vl_drop_model('four')");
$session->send("SELECT vl_register_model('four', '$folder', 'q4')");
ok( $node->poll_query_until('postgres',
		"SELECT task = 'pack' AND model = 'four' AND phase = 'pack' FROM vl_stat_activity "
		  . "WHERE pid = $session->{pid}"),
	'a packer is shown');
$watcher->query("SELECT pg_cancel_backend($session->{pid})");
is(sqlstate($session->wait), '57014', 'and can be canceled');
is($watcher->query('SELECT count(*) FROM vl_stat_activity'), '0', 'it is gone');
is(sqlstate($session->query(
		"SET statement_timeout = 200; SELECT vl_register_model('four', '$folder', 'q4')")),
	'57014', 'statement_timeout works too');
$session->query('RESET statement_timeout');
unlink "$dir/$source-q4.safetensors.tmp";
close $lock;
is_deeply([ packed_files() ], ["$source-q8.safetensors"], 'nothing is left behind');

# ---- two at a time ----

my @pair = map { DSVL2::Session->new($node) } 0 .. 1;
$pair[$_]->send("SELECT vl_register_model('pair$_', '$folder', 'q4')") foreach 0 .. 1;
is($pair[$_]->wait, "pair$_", 'two sessions register at once') foreach 0 .. 1;
is_deeply([ packed_files() ],
	[ "$source-q4.safetensors", "$source-q8.safetensors" ], 'one file');
is($watcher->query("SELECT vl_verify_model('pair1')"), '', 'which is right');
$_->quit foreach @pair;

# ---- settings and privileges ----

my $elsewhere = PostgreSQL::Test::Utils::tempdir() . '/elsewhere';
is( $session->query("SET dsvl2.pack_dir = '$elsewhere'; "
		  . "SELECT vl_register_model('there', '$folder', 'q8'); RESET dsvl2.pack_dir"),
	'there', 'another folder');
ok(-e "$elsewhere/$source-q8.safetensors", 'is made and used');
is( sqlstate($session->query("SET dsvl2.pack_dir = '/proc/nothing'; "
		  . "SELECT vl_register_model('nowhere', '$folder', 'q8')")),
	'58P01', 'a folder that cannot be made');
$session->query('RESET dsvl2.pack_dir');
$session->query('CREATE ROLE bob LOGIN; GRANT SELECT ON scans TO bob');
foreach my $call ("vl_register_model('mine', '$folder', 'q8')", "vl_verify_model('eight')")
{
	is(sqlstate($session->query("SET ROLE bob; SELECT $call; RESET ROLE")),
		'42501', "an ordinary user cannot call $call");
	$session->query('RESET ROLE');
}
is($session->query('SET ROLE bob; ' . sprintf($ask, "'eight'") . '; RESET ROLE'),
	$answer{eight}, 'but can ask');

# ---- restart ----

$_->quit foreach $session, $watcher;
$node->restart;
is($node->safe_psql('postgres', sprintf $ask, "'eight'"), $answer{eight}, 'after a restart');

$node->stop;
done_testing();
