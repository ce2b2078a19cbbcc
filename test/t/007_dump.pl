# A dump carries registered models and aliases over to another database, and the built-in
# model is not doubled.

use strict;
use warnings;

use DSVL2;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('dump', preload => 1);
my $copy = PostgreSQL::Test::Utils::tempdir() . '/copy';
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';

PostgreSQL::Test::RecursiveCopy::copypath(nano_dir(), $copy);
$node->safe_psql('postgres', "SELECT vl_register_model('copy', '$copy')");
$node->safe_psql('postgres', "SELECT vl_alias('reader', 'copy')");

my $names = 'SELECT name FROM vl_models ORDER BY name';
my $ask = q{SELECT vl_ask(} . FIRST_RECEIPT . q{, 'What is the total?'%s)};
my $by_nano = $node->safe_psql('postgres', sprintf $ask, '');
my $by_copy = sprintf $ask, q{, model => 'copy'};
my $by_alias = sprintf $ask, q{, model => 'reader'};
my $before = $node->safe_psql('postgres', $names);

like($before, qr/^copy$/m, 'the model is registered');
is($node->safe_psql('postgres', $by_copy), $by_nano, 'and answers, being a copy of nano');
is($node->safe_psql('postgres', $by_alias), $by_nano, 'under its alias too');

foreach my $format (qw(plain custom))
{
	my $database = "restored_$format";

	$node->command_ok(
		[ 'pg_dump', '-F', $format, '-f', $dump, $node->connstr('postgres') ],
		"pg_dump, $format");
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->command_ok(
		$format eq 'plain'
		? [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', $dump ]
		: [ 'pg_restore', '--exit-on-error', '-d', $node->connstr($database), $dump ],
		"restore, $format");
	is($node->safe_psql($database, $names), $before, 'the same models, each once');
	is($node->safe_psql($database, $by_copy), $by_nano, 'the registered model answers');
	is($node->safe_psql($database, $by_alias), $by_nano, 'the alias is there');
}

# The extension goes and comes without a trace.
$node->safe_psql('restored_plain', 'DROP EXTENSION dsvl2; CREATE EXTENSION dsvl2');
unlike($node->safe_psql('restored_plain', $names), qr/copy/, 'DROP EXTENSION forgets the models');

$node->stop;
done_testing();
