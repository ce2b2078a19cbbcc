# Pictures without a model: canceled in the middle, page by page in bounded memory, hostile
# documents whose reader is a process of its own, and a backend that stays as it was.

use strict;
use warnings;

use DSVL2;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;

use constant BOUND => 2.0;

my $node = new_node('pictures', conf => "restart_after_crash = on\n");
load_noise($node, 'big', 1, 6000, 6000);

sub load_file
{
	my ($name, $content) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . "/$name";

	open my $handle, '>:raw', $file or die "$file: $!";
	print $handle $content;
	close $handle;
	$node->safe_psql('postgres',
		"INSERT INTO doc VALUES ('$name', pg_read_binary_file('$file'))");
	return;
}

# Grey noise, and as many directories for it as wanted
sub tiff
{
	my ($width, $height, $pages) = @_;
	my $file = pack('a4V', "II*\0", 8 + $width * $height)
	  . join('', map { chr int rand 256 } 1 .. 4096) x ($width * $height / 4096);

	foreach my $page (1 .. $pages)
	{
		my @entries = ([256, $width], [257, $height], [258, 8], [259, 1], [262, 1], [273, 8],
			[277, 1], [278, $height], [279, $width * $height]);
		my $next = $page < $pages ? length($file) + 2 + 12 * @entries + 4 : 0;

		$file .= pack('v', scalar @entries)
		  . join('', map { pack('vvVV', $_->[0], 4, 1, $_->[1]) } @entries)
		  . pack('V', $next);
	}
	return $file;
}

# A document from its objects
sub pdf
{
	my @objects = @_;
	my $file = "%PDF-1.5\n";
	my $table = '';

	foreach my $i (0 .. $#objects)
	{
		$table .= sprintf "%010d 00000 n \n", length $file;
		$file .= ($i + 1) . " 0 obj\n$objects[$i]\n";
	}
	my $size = @objects + 1;
	my $at = length $file;
	return $file . "xref\n0 $size\n0000000000 65535 f \n${table}trailer\n"
	  . "<< /Size $size /Root 1 0 R >>\nstartxref\n$at\n%%EOF\n";
}

# For each of its pages the reader looks through all that follows for the end of a stream.
sub slow_pdf
{
	my $pages = shift;
	my @objects = ('<< /Type /Catalog /Pages 2 0 R >>',
		'<< /Kids [' . join(' ', map { (1 + 2 * $_) . ' 0 R' } 1 .. $pages) . '] >>');

	foreach my $i (1 .. $pages)
	{
		push @objects, '<< /Kids ' . (2 + 2 * $i) . ' 0 R >>', "<< /Length 9999999 >>\nstream";
	}
	$objects[-1] .= 'endstrea ' x 1_000_000;
	return pdf(@objects);
}

# A chain of lengths that its reader follows by recursion
sub deep_pdf
{
	my $depth = shift;
	my @objects = ('<< /Type /Catalog /Pages 2 0 R >>', '<< /Kids [3 0 R] >>',
		'<< /MediaBox [0 0 9 9] /Contents 4 0 R >>');

	push @objects, "<< /Length " . (5 + $_) . " 0 R >>\nstream\n\nendstream\nendobj"
	  foreach 0 .. $depth - 1;
	return pdf(@objects, '0');
}

$node->safe_psql('postgres', 'CREATE TABLE doc (name text, image bytea)');
load_file('pages', tiff(2048, 2048, 200));
load_file('slow', slow_pdf(5000));
load_file('deep', deep_pdf(40_000));

my $session = DSVL2::Session->new($node);
my $pid = $session->{pid};

# Lines of /proc/PID/status
sub facts
{
	my ($process, @names) = @_;
	my $status = slurp_file("/proc/$process/status");

	return map { $status =~ /^$_:\s+(\S+)/m; $1 } @names;
}

# Processes that a process has started
sub children
{
	my $parent = shift;
	my @found;

	foreach my $file (glob '/proc/[0-9]*/stat')
	{
		my $stat = eval { slurp_file($file) } or next;
		push @found, $1 if $stat =~ /^(\d+) .*\) \S (\d+) / && $2 == $parent;
	}
	return @found;
}

# ---- a guest leaves no trace ----

my @signals = qw(SigBlk SigIgn SigCgt);
my @before = facts($pid, @signals);
$session->query('SELECT vl_image_info(' . FIRST_RECEIPT . ')');
is_deeply([ facts($pid, @signals) ], \@before, 'loading the libraries changes no signal');
is(scalar tasks($pid), 1, 'and starts no thread');

# ---- cancel ----

my %slow = (
	vl_crop => q{SELECT length(vl_crop(scan, box '(0,0),(6000,6000)')) FROM big},
	vl_rotate => q{SELECT length(vl_rotate(scan, 1)) FROM big},
	vl_annotate => q{SELECT length(vl_annotate(scan, '[{"label": "a", "px": [1, 2, 3, 4]}]')) FROM big},
	vl_pages => q{SELECT count(*) FROM doc, vl_pages(image) WHERE name = 'pages'},
	vl_image_info => q{SELECT vl_image_info(image) FROM doc WHERE name = 'slow'},
	'vl_pages of a PDF document' => q{SELECT count(*) FROM doc, vl_pages(image) WHERE name = 'slow'},
	'vl_ask about a PDF document' => q{SELECT vl_ask(image, 'total?') FROM doc WHERE name = 'slow'},
);

foreach my $what (sort keys %slow)
{
	foreach my $milliseconds (20, 300)
	{
		my $clock = 'SELECT extract(epoch FROM clock_timestamp())';
		my $said = $session->query("SET client_min_messages = warning;
			SET statement_timeout = $milliseconds; $clock; $slow{$what}; $clock;
			RESET statement_timeout");
		my ($start, $end) = $said =~ /^([\d.]+)$/mg;

		is(sqlstate($said), '57014', "$what: statement_timeout of $milliseconds ms");
		like($said, qr/canceling statement due to statement timeout/, 'with the usual message');
		cmp_ok($end - $start, '<', $milliseconds / 1000 + BOUND, 'stops soon');
		note sprintf '%s, statement_timeout %d ms: %.0f ms in all', $what, $milliseconds,
		  1000 * ($end - $start);
	}
}
# pg_cancel_backend signals the whole process group, the reader included.
my $watcher = DSVL2::Session->new($node);
foreach my $try (1 .. 5)
{
	$session->send($slow{vl_image_info});
	ok(until_true(sub { children($pid) }), "the reader runs, $try");
	$watcher->query("SELECT pg_cancel_backend($pid)");
	is(sqlstate($session->wait), '57014', 'pg_cancel_backend');
}
$watcher->quit;
is(scalar children($pid), 0, 'no process is left behind');

# ---- hostile documents ----

my $text = $session->query(q{SELECT vl_image_info(image) FROM doc WHERE name = 'deep'});
is(sqlstate($text), 'VL001', 'a document that overflows the stack of its reader is an error');
like($text, qr/could not read the PDF document/, 'of the image');
is($session->query('SELECT pg_backend_pid()'), $pid, 'the session goes on');
is($session->query(q{SELECT vl_ask(image, 'total?', options => '{"on_error": "null"}') IS NULL
	FROM doc WHERE name = 'deep'}), 't', 'and on_error holds');
is_deeply([ facts($pid, @signals) ], \@before, 'signals are as they were');

# ---- memory ----

sub peak_after
{
	my $pages = shift;
	my $other = DSVL2::Session->new($node);
	my $rows = $other->query("SELECT count(*) FROM (SELECT vl_pages(image) FROM doc
		WHERE name = 'pages' LIMIT $pages) s");
	my ($peak) = facts($other->{pid}, 'VmHWM');

	is($rows, $pages, "$pages pages of 200 are made");
	$other->quit;
	return $peak;
}

my ($few, $many) = (peak_after(3), peak_after(30));
cmp_ok($many, '<', $few + 10_000, 'ten times the pages take no more memory');
note "3 pages: $few kB, 30 pages: $many kB";

# ---- ends ----

my $victim = DSVL2::Session->new($node);
my @readers;
$victim->send($slow{vl_image_info});
ok(until_true(sub { @readers = children($victim->{pid}) }), 'a document is read by a process');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($victim->{pid})");
is(sqlstate($victim->wait), '57P01', 'its backend can be terminated');
ok(until_true(sub { !-e "/proc/$readers[0]" }), 'and the process ends with it');
$victim->quit;

$victim = DSVL2::Session->new($node);
@readers = ();
$victim->send($slow{vl_image_info});
ok(until_true(sub { @readers = children($victim->{pid}) }), 'another one');
kill 'KILL', $victim->{pid};
ok(until_true(sub { !-e "/proc/$readers[0]" }), 'ends with a backend that is killed');
$victim->quit;
$session->quit;
ok($node->poll_query_until('postgres', 'SELECT true'), 'the server is back');

$node->stop;
done_testing();
