# A server binds a library's names to its own first: what dsvl2 wants of a library must not be
# the name of anything in the server, nor dsvl2 show names to others.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

my $bindir = qx($ENV{PG_CONFIG} --bindir);
my $libdir = qx($ENV{PG_CONFIG} --pkglibdir);
chomp($bindir, $libdir);
my $library = "$libdir/dsvl2.so";

# Names of a file's dynamic symbols, without versions
sub names
{
	my ($which, $file) = @_;
	my ($out, $err) = run_command([ 'nm', '-D', $which, $file ]);
	my %names = map { (split ' ', $_)[-1] =~ s/\@.*//r => 1 } split /\n/, $out;

	die "nm $which $file: $err" unless %names;
	return \%names;
}

my $server = names('--defined-only', "$bindir/postgres");
my $wanted = names('--undefined-only', $library);
my ($dependencies) = run_command([ 'ldd', $library ]);
my @libraries = grep { !m{/(?:libc|libm|libstdc\+\+|libgcc_s|ld-linux[^/]*|libpthread|libdl)\.so} }
  $dependencies =~ m{=> (/\S+)}g;

cmp_ok(scalar @libraries, '>=', 4, 'dsvl2 uses libraries');
ok($server->{palloc} && $wanted->{palloc}, 'it uses the server');
foreach my $file (@libraries)
{
	my $given = names('--defined-only', $file);
	my @taken = sort grep { $given->{$_} && $server->{$_} } keys %$wanted;

	is("@taken", '', "nothing that dsvl2 wants of $file is the server's: " . ($file =~ m{([^/]+)$})[0]);
}

my @shown = grep { !/^(?:Pg_magic_func|_PG_init|pg_finfo_vl_\w+|vl_\w+)$/ } sort keys %{ names('--defined-only', $library) };
is("@shown", '', 'dsvl2 shows the names of its SQL functions only');

done_testing();
