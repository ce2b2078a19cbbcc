
=pod

=head1 NAME

DSVL2 - what the tests of dsvl2 have in common

=head1 DESCRIPTION

C<new_node> makes a server with the extension and a table C<scans> of nano's samples.
C<DSVL2::Session> is a psql that stays connected and whose statements may run while
the test does something else.  Nothing here, and no test that uses it, depends on what
nano answers.  To be run from the repository's root.

=cut

package DSVL2;

use strict;
use warnings;

use Carp;
use Compress::Zlib ();
use Cwd qw(getcwd);
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(new_node nano_dir grey_png noise_png load_noise sqlstate tasks until_true
  create_watcher act_in_phase FIRST_RECEIPT TIMEOUT);

use constant TIMEOUT => $ENV{PG_TEST_TIMEOUT_DEFAULT} || 120;

# A subquery with the one scan that most tests look at
use constant FIRST_RECEIPT =>
  "(SELECT scan FROM scans WHERE file LIKE '%receipt%' ORDER BY file LIMIT 1)";

sub nano_dir { return getcwd() . '/models/nano'; }

# new_node(NAME, preload => bool, conf => text)
sub new_node
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $samples = nano_dir() . '/samples';

	$node->init;
	# the answers that the tests know are of fp32
	$node->append_conf('postgresql.conf', "dsvl2.precision = fp32\n");
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'dsvl2'\n")
	  if $options{preload};
	$node->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	$node->start;
	$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION dsvl2;
CREATE TABLE scans (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, file text, scan bytea);
INSERT INTO scans (file, scan)
SELECT file, pg_read_binary_file('$samples/' || file)
  FROM pg_ls_dir('$samples') AS file WHERE file ~ '\\.(png|jpg)\$' ORDER BY file;
SQL
	return $node;
}

# An 8-bit grey PNG of the given pixels (width * height bytes)
sub grey_png
{
	my ($width, $height, $pixels, $level) = @_;
	my $raw = join '', map { "\0" . substr($pixels, $_ * $width, $width) } 0 .. $height - 1;
	my $chunk = sub {
		my ($type, $data) = @_;
		return pack('N', length $data) . $type . $data . pack('N', Compress::Zlib::crc32($type . $data));
	};

	return "\x89PNG\r\n\x1a\n"
	  . $chunk->('IHDR', pack('NNCCCCC', $width, $height, 8, 0, 0, 0, 0))
	  . $chunk->('IDAT', Compress::Zlib::compress($raw, $level // 1))
	  . $chunk->('IEND', '');
}

# A picture that no other seed gives, so that nothing of it can be in a cache.
sub noise_png
{
	my ($seed, $width, $height) = @_;
	my $block;

	srand($seed);
	$block = join '', map { chr int rand 256 } 1 .. 4096;
	return grey_png($width, $height,
		substr($block x (1 + int($width * $height / 4096)), 0, $width * $height));
}

# A table of that many noise pictures
sub load_noise
{
	my ($node, $table, $count, $width, $height) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my $file = "$dir/$table.copy";

	open my $handle, '>', $file or croak "$file: $!";
	foreach my $seed (1 .. $count)
	{
		print $handle "$seed\t\\\\x", unpack('H*', noise_png($seed, $width, $height)), "\n";
	}
	close $handle;
	$node->safe_psql('postgres',
		"CREATE TABLE $table (id int, scan bytea); COPY $table FROM '$file'");
	return;
}

# The SQLSTATE of the first error in what a session printed, or ''
sub sqlstate
{
	my $text = shift;

	return $text =~ /^(?:ERROR|FATAL):\s+([0-9A-Z]{5}):/m ? $1 : '';
}

# Thread ids of a process
sub tasks
{
	my $pid = shift;

	opendir my $handle, "/proc/$pid/task" or return ();
	my @tasks = grep { /^\d+$/ } readdir $handle;
	return @tasks;
}

# Calls the code every few milliseconds until it is true; false after TIMEOUT.
sub until_true
{
	my $code = shift;
	my $end = time() + TIMEOUT;

	while (!$code->())
	{
		return 0 if time() > $end;
		usleep(5_000);
	}
	return 1;
}

# A function in the server that waits for a backend to be in a phase, and to be in it still
# after a delay, and then does something to it: from outside, by one psql call each time, a
# phase of nano would be over before it was seen.
sub create_watcher
{
	my $node = shift;

	$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION act_in_phase(victim int, wanted text, action text, delay_ms int) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  seen text;
  deadline timestamptz := clock_timestamp() + interval '60 s';
BEGIN
  LOOP
    SELECT a.phase INTO seen FROM vl_stat_activity a WHERE a.pid = victim;
    IF seen ~ wanted AND delay_ms > 0 THEN
      PERFORM pg_sleep(delay_ms / 1000.0);
      SELECT a.phase INTO seen FROM vl_stat_activity a WHERE a.pid = victim;
    END IF;
    IF seen ~ wanted THEN
      IF action = 'cancel' THEN
        PERFORM pg_cancel_backend(victim);
      ELSIF action = 'terminate' THEN
        PERFORM pg_terminate_backend(victim);
      END IF;
      RETURN seen || ' ' || extract(epoch FROM clock_timestamp());
    END IF;
    IF clock_timestamp() > deadline THEN
      RETURN 'never seen';
    END IF;
    PERFORM pg_sleep(0.0005);
  END LOOP;
END
$$;
SQL
	return;
}

# Waits until the session's running statement is in a phase (and is so milliseconds later),
# acts (cancel, terminate, or anything else for nothing); returns the phase seen and the
# time just after.
sub act_in_phase
{
	my ($watcher, $victim, $phase, $action, $delay) = @_;

	return split / /, $watcher->query(
		"SELECT act_in_phase($victim->{pid}, '$phase', '$action', " . ($delay // 0) . ')');
}

package DSVL2::Session;

use strict;
use warnings;

use Carp;
use IPC::Run;

sub new
{
	my ($class, $node, %options) = @_;
	my $database = $options{database} // 'postgres';
	my $self = bless { in => '', out => '', marks => 0 }, $class;

	$self->{timer} = IPC::Run::timeout(DSVL2::TIMEOUT());
	$self->{run} = IPC::Run::start(
		[
			'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d',
			 $node->connstr($database) . ($options{user} ? " user=$options{user}" : '')
		],
		'<', \$self->{in}, '>&', \$self->{out}, $self->{timer});
	$self->{pid} = $self->query('SELECT pg_backend_pid()');
	croak "no session: $self->{pid}" unless $self->{pid} =~ /^\d+$/;
	return $self;
}

# Sends statements without waiting for them.
sub send
{
	my ($self, $sql) = @_;

	$self->{marks}++;
	$self->{timer}->start(DSVL2::TIMEOUT());
	$self->{in} .= "$sql\n;\n\\echo -- mark $self->{marks}\n";
	eval { IPC::Run::pump_nb($self->{run}) };
	return;
}

# Waits for what was sent; returns all that psql printed, errors and notices included.
sub wait
{
	my $self = shift;
	my $mark = "-- mark $self->{marks}\n";

	while (index($self->{out}, $mark) < 0)
	{
		last unless $self->{run}->pumpable;
		eval { IPC::Run::pump($self->{run}); 1 } or last;
	}
	my $text = $self->{out};
	$self->{out} = '';
	$text =~ s/^-- mark \d+\n//mg;
	chomp $text;
	return $text;
}

sub query
{
	my ($self, $sql) = @_;

	$self->send($sql);
	return $self->wait;
}

sub quit
{
	my $self = shift;

	$self->{in} .= "\\q\n";
	eval { IPC::Run::finish($self->{run}) };
	return;
}

1;
