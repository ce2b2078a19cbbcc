# Worker threads are a guest's: none before they are needed, as many as asked for, deaf to
# signals, none in the postmaster, and floating point stays as PostgreSQL has it.

use strict;
use warnings;

use DSVL2;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;

# Signals 1 to 31 but KILL and STOP, which nobody can block
use constant BLOCKABLE => 0x7ffbfeff;

my $node = new_node('threads', preload => 1);
my $session = DSVL2::Session->new($node);
my $pid = $session->{pid};
my $ask = 'SELECT vl_ocr(' . FIRST_RECEIPT . ')';
my $canary = q{SELECT 1e-310::float8 * 0.5, 4.9e-324::float8, sqrt(1e-320::float8),
	1e-30::float4 * 1e-10::float4};

plan skip_all => 'no /proc/PID/task here' unless tasks($pid);

my $pid_file = $node->data_dir . '/postmaster.pid';
my ($postmaster) = slurp_file($pid_file) =~ /^(\d+)/;
is(scalar tasks($postmaster), 1, 'the postmaster, which preloaded the library, has no threads');
is(scalar tasks($pid), 1, 'a new backend has none');
my $denormals = $session->query($canary);
like($denormals, qr/^5e-311\|5e-324\|/, 'denormal numbers are there before the first call');

$session->query("SET client_min_messages = warning; SET dsvl2.threads = 3");
$session->query('SELECT vl_image_info(' . FIRST_RECEIPT . ')');
is(scalar tasks($pid), 1, 'looking at a picture needs none');

# The signals that a thread blocks, as a number
sub blocked
{
	my $thread = shift;
	my $status = slurp_file("/proc/$pid/task/$thread/status");
	my ($mask) = $status =~ /^SigBlk:\s+[0-9a-f]*([0-9a-f]{8})$/m;

	return hex $mask;
}

my $mask = blocked($pid);
my $right = $session->query($ask);
my @workers = grep { $_ != $pid } tasks($pid);
is(scalar @workers, 2, 'dsvl2.threads = 3 is two workers');
foreach my $worker (@workers)
{
	is(blocked($worker) & BLOCKABLE, BLOCKABLE, "worker $worker blocks all signals");
}
is(blocked($pid), $mask, 'the backend itself blocks what it blocked before');
SKIP:
{
	my $blas = $session->query("SELECT value FROM vl_build_info() WHERE name = 'blas'");

	skip 'no OpenBLAS here', 3 unless $blas =~ /openblas/;
	like(slurp_file("/proc/$pid/maps"), qr/openblas/, "$blas is loaded");
	is(scalar tasks($pid), 3, 'and started no threads of its own');
	unlike(slurp_file("/proc/$postmaster/maps"), qr/openblas/, 'the postmaster has not loaded it');
}
is($session->query($canary), $denormals, 'denormal numbers are the same after it');

$session->query('SET dsvl2.threads = 1');
is($session->query($ask), $right, 'one thread gives the same answer');
$session->query('SET dsvl2.threads = 4');
is($session->query($ask), $right, 'so do four');
is($session->query($canary), $denormals, 'and denormal numbers are still there');

# Work parked between calls uses no processor.
my $ticks = sub {
	my @fields = split / /, slurp_file("/proc/$pid/stat") =~ s/^.*\) //sr;
	return $fields[11] + $fields[12];
};
my $before = $ticks->();
sleep 1;
cmp_ok($ticks->() - $before, '<', 5, 'workers without work sleep');

is($session->query('SELECT vl_unload()'), '1', 'vl_unload closes the one model');
is_deeply([ tasks($pid) ], [$pid], 'and ends the workers');
unlike(slurp_file("/proc/$pid/maps"), qr/model\.safetensors/,
	'the weights are not mapped any more');
is($session->query($ask), $right, 'the next call loads the model again');
is(scalar tasks($pid), 4, 'and starts workers');

$session->quit;
ok(until_true(sub { !-e "/proc/$pid" }), 'the backend ends with its session');
$node->stop;
done_testing();
