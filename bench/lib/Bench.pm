# What the benchmarks of the server share: sessions, medians, the machine's facts.
package Bench;

use strict;
use warnings;

use Exporter 'import';
use IPC::Open2;
use Time::HiRes qw(time);

our @EXPORT = qw(session median spread slurp print_machine open_csv csv_row);

# A psql that stays connected
sub session
{
	my %self;

	$self{process} = open2($self{out}, $self{in}, qw(psql -X -A -t -q -v ON_ERROR_STOP=1));
	my $session = bless \%self, __PACKAGE__;
	$session->ask('SET client_min_messages = warning');
	$session->{pid} = $session->ask('SELECT pg_backend_pid()');
	return $session;
}

sub ask
{
	my ($self, $sql) = @_;
	my $answer = '';

	print { $self->{in} } "$sql;\n\\echo .\n";
	$self->{in}->flush;
	while (defined(my $line = readline $self->{out}))
	{
		if ($line eq ".\n")
		{
			chomp $answer;
			return $answer;
		}
		$answer .= $line;
	}
	die "the session ended in: $sql\n";
}

sub end
{
	my $self = shift;

	close $self->{in};
	close $self->{out};
	waitpid $self->{process}, 0;
	return;
}

# Milliseconds
sub timed
{
	my ($self, $sql) = @_;
	my $start = time();

	$self->ask($sql);
	return 1000 * (time() - $start);
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	my $half = int(@sorted / 2);

	return @sorted % 2 ? $sorted[$half] : ($sorted[ $half - 1 ] + $sorted[$half]) / 2;
}

sub spread
{
	my @sorted = sort { $a <=> $b } @_;

	return sprintf '%.1f ms (median of %d, %.1f to %.1f)', median(@sorted), scalar @sorted,
	  $sorted[0], $sorted[-1];
}

sub slurp
{
	my $path = shift;

	open my $handle, '<', $path or return '';
	local $/;
	return <$handle>;
}

# (name, number) of the machine's processors
sub processor
{
	my $cpuinfo = slurp('/proc/cpuinfo');
	my ($name) = $cpuinfo =~ /^model name\s*:\s*(.*)$/m;
	my $number = () = $cpuinfo =~ /^processor\s*:/mg;

	return ($name // 'unknown', $number);
}

# ---- rows for doc/SPEED.md, as dsvl2 bench writes them ----

my ($csv, @common);

# Appends to a file what csv_row() is given from now on; without a path nothing.
sub open_csv
{
	my ($path, $session, $model) = @_;

	return unless $path;
	my ($cpu, $processors) = processor();
	my $level = $session->ask("SELECT value FROM vl_build_info() WHERE name = 'instruction set'");
	my $quant = $session->ask("SELECT quantisation FROM vl_models WHERE name = '$model->{registered}'");
	my $new = !-s $path;

	open $csv, '>>', $path or die "$path: $!\n";
	print $csv "figure,at,unit,value,limit,ratio,model,quant,threads,level,cpu,engine\n" if $new;
	@common = ($model->{name}, $quant, $session->ask('SHOW dsvl2.threads') || $processors, $level,
		$cpu =~ s/[",]//gr, 'dsvl2');
	return;
}

sub csv_row
{
	my ($figure, $at, $unit, $value) = @_;

	printf $csv "%s,%s,%s,%.6g,,,%s\n", $figure, $at, $unit, $value, join(',', @common) if $csv;
	return;
}

sub print_machine
{
	my $session = shift;
	my ($cpu, $cores) = processor();
	my ($total) = slurp('/proc/meminfo') =~ /^MemTotal:\s*(\d+)/m;

	printf "machine   %s, %d cores, %.1f GB\n", $cpu, $cores, $total / 1048576;
	printf "server    %s\n", $session->ask('SELECT version()') =~ s/,.*//r;
	print map { "build     $_\n" } split /\n/,
	  $session->ask(q{SELECT name || ' ' || value FROM vl_build_info()});
	return;
}

1;
