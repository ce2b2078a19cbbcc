# There is one copy of the weights however many backends use them: the mapping of the
# weight file is shared and clean in each of them.

use strict;
use warnings;

use Cwd qw(getcwd);
use DSVL2;
use Test::More;

use constant BACKENDS => 8;

# Sums of a process's mappings of a file, in kB: Rss, Pss, Private_Dirty, ...
sub mapping
{
	my ($pid, $pattern) = @_;
	my (%sum, $inside);

	open my $handle, '<', "/proc/$pid/smaps" or return;
	while (my $line = <$handle>)
	{
		if ($line =~ /^[0-9a-f]+-[0-9a-f]+ (\S+)/)
		{
			$inside = $line =~ $pattern;
			$sum{writable} += $inside && $1 =~ /w/ ? 1 : 0;
		}
		elsif ($inside && $line =~ /^(\w+):\s+(\d+) kB/)
		{
			$sum{$1} += $2;
		}
	}
	return \%sum;
}

my $node = new_node('memory', preload => 1);
my $ask = 'SELECT vl_ocr(' . FIRST_RECEIPT . ')';
my @sessions = map { DSVL2::Session->new($node) } 1 .. BACKENDS;
my $idle = mapping($sessions[0]{pid}, qr/./);

plan skip_all => 'no readable /proc/PID/smaps here' unless $idle && $idle->{Rss};

my $weights_kb = (-s nano_dir() . '/model.safetensors') / 1024;
my $alone;
foreach my $i (0 .. $#sessions)
{
	is(sqlstate($sessions[$i]->query($ask)), '', "backend $i answers");
	$alone = mapping($sessions[0]{pid}, qr/model\.safetensors$/) if $i == 0;
}
cmp_ok($alone->{Rss} // 0, '>', 0.5 * $weights_kb, 'the weights are mapped, and have been read');

my $pss = 0;
foreach my $i (0 .. $#sessions)
{
	my $map = mapping($sessions[$i]{pid}, qr/model\.safetensors$/);

	is($map->{Private_Dirty} + $map->{Anonymous}, 0, "backend $i has no copy of any page");
	# a page that happens to have been read by one backend alone counts as private, too
	cmp_ok($map->{Private_Clean}, '<', 0.1 * $weights_kb, "backend $i shares what it has mapped");
	is($map->{writable}, 0, "backend $i cannot write to them");
	$pss += $map->{Pss};
}
cmp_ok($pss, '<', 1.1 * $weights_kb, BACKENDS . ' backends hold one copy of the weights');

my $all = mapping($sessions[0]{pid}, qr/./);
note sprintf 'weights: %d kB; Pss of them in %d backends: %d kB', $weights_kb, BACKENDS, $pss;
note sprintf 'a backend: private %d kB before its first call, %d kB after it',
  $idle->{Private_Dirty} + $idle->{Private_Clean}, $all->{Private_Dirty} + $all->{Private_Clean};

# What a call takes is given back, not piled up.
my $session = $sessions[0];
$session->query("SELECT count(vl_ask(scan, 'total?')) FROM scans");
my $before = mapping($session->{pid}, qr/./);
$session->query("SELECT count(vl_ask(scan, 'Total?')) FROM scans") foreach 1 .. 5;
my $after = mapping($session->{pid}, qr/./);
cmp_ok($after->{Private_Dirty} - $before->{Private_Dirty},
	'<', 4096, 'five more rounds over all scans leave the memory as it was');
note sprintf 'private dirty: %d kB, %d kB after five more rounds', $before->{Private_Dirty},
  $after->{Private_Dirty};

# A model in several files, opened beside nano by all of them
my $shards = getcwd() . '/test/golden/small-like';
my $shards_kb = 0;
$shards_kb += (-s $_) / 1024 foreach glob "$shards/*.safetensors";
$session->query("SELECT vl_register_model('shards', '$shards')");
$pss = 0;
foreach my $i (0 .. $#sessions)
{
	is(sqlstate($sessions[$i]->query("SELECT vl_prewarm('shards');
		SELECT vl_ask(" . FIRST_RECEIPT . q{, 'total?', 'shards', '{"max_tokens": 2}')})),
		'', "backend $i answers by a model in shards");
}
foreach my $i (0 .. $#sessions)
{
	my $map = mapping($sessions[$i]{pid}, qr/model-\d+-of-\d+\.safetensors$/);

	is($map->{Private_Dirty} + $map->{Private_Clean}, 0, "backend $i shares all of them");
	$pss += $map->{Pss};
}
cmp_ok($pss, '<', 1.1 * $shards_kb, 'one copy of the shards');
note sprintf 'shards: %d kB; Pss of them in %d backends: %d kB', $shards_kb, BACKENDS, $pss;

$_->quit foreach @sessions;
$node->stop;
done_testing();
