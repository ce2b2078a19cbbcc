# Model folders that are broken, incomplete or hostile: each is refused by a clear error,
# and the session goes on.  And who may register a model at all.

use strict;
use warnings;

use DSVL2;
use File::Path qw(remove_tree);
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('models', preload => 1);
my $session = DSVL2::Session->new($node);
my $ask = 'SELECT vl_ocr(' . FIRST_RECEIPT . '%s)';
my $number = 0;

$session->query('SET client_min_messages = warning');
my $right = $session->query(sprintf $ask, '');

sub copy_nano
{
	PostgreSQL::Test::RecursiveCopy::copypath(nano_dir(), shift,
		filterfn => sub { $_[0] !~ /^samples/ });
	return;
}

sub write_file
{
	my ($path, $content) = @_;

	open my $handle, '>:raw', $path or die "$path: $!";
	print $handle $content;
	close $handle;
	return;
}

sub read_file
{
	my $path = shift;

	open my $handle, '<:raw', $path or die "$path: $!";
	local $/;
	return <$handle>;
}

# The weight file's header, given to the code as $_ to change; its length may change.
sub change_header
{
	my ($dir, $code) = @_;
	my $data = read_file("$dir/model.safetensors");
	my $length = unpack 'Q<', $data;
	my $header = substr $data, 8, $length;

	local $_ = $header;
	$code->() or die 'nothing to change in the header';
	write_file("$dir/model.safetensors",
		pack('Q<', length $_) . $_ . substr($data, 8 + $length));
	return;
}

sub change_json
{
	my ($path, $code) = @_;

	local $_ = read_file($path);
	$code->() or die "nothing to change in $path";
	write_file($path, $_);
	return;
}

# The weight file as two shards with an index: the head's matrix is alone in the second.
sub split_weights
{
	my $dir = shift;
	my $data = read_file("$dir/model.safetensors");
	my $length = unpack 'Q<', $data;
	my $header = JSON::PP::decode_json(substr $data, 8, $length);
	my $json = JSON::PP->new->canonical;
	my %shard = ('1' => { bytes => '' }, '2' => { bytes => '' });
	my %map;

	delete $header->{__metadata__};
	foreach my $name (sort keys %$header)
	{
		my $which = $shard{ $name =~ /lm_head/ ? 2 : 1 };
		my ($from, $to) = @{ $header->{$name}{data_offsets} };
		my $at = length $which->{bytes};

		$which->{bytes} .= substr $data, 8 + $length + $from, $to - $from;
		$which->{header}{$name} =
		  { %{ $header->{$name} }, data_offsets => [ $at, $at + $to - $from ] };
		$map{$name} = 'model-0000' . ($name =~ /lm_head/ ? 2 : 1) . '-of-00002.safetensors';
	}
	foreach my $number (keys %shard)
	{
		my $text = $json->encode($shard{$number}{header});

		$text .= ' ' x (-length($text) % 8);
		write_file("$dir/model-0000$number-of-00002.safetensors",
			pack('Q<', length $text) . $text . $shard{$number}{bytes});
	}
	write_file("$dir/model.safetensors.index.json",
		$json->encode({ metadata => { total_size => length($data) - 8 - $length },
				weight_map => \%map }));
	unlink "$dir/model.safetensors";
	return;
}

# A copy of nano that the code spoils must be refused with one of the SQLSTATEs and a
# message that names what is wrong.
sub refused
{
	my ($what, $states, $message, $code) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir() . '/model';

	copy_nano($dir);
	$code->($dir);
	$number++;
	my $text = $session->query("SELECT vl_register_model('broken$number', '$dir')");
	$text = $session->query(sprintf $ask, ", model => 'broken$number'") if sqlstate($text) eq '';
	like(sqlstate($text), qr/^(?:$states)$/, "$what: refused ($states)") or diag $text;
	# neither the statement, which psql repeats, nor the server's source line
	my $said = join "\n", grep { /^(?:ERROR|DETAIL|HINT):/ } split /\n/, $text;
	like($said, $message, "$what: the message says it");
	is($session->query(sprintf $ask, ''), $right, "$what: the next call works");
	remove_tree($dir);
	return;
}

refused('no folder', '58P01', qr/config\.json|\/model/, sub { rename $_[0], "$_[0].away" });
refused('no config', '58P01', qr/config\.json/, sub { unlink "$_[0]/config.json" });
refused('no tokenizer', '58P01', qr/tokenizer\.json/, sub { unlink "$_[0]/tokenizer.json" });
refused('no weights', '58P01', qr/safetensors/, sub { unlink "$_[0]/model.safetensors" });
refused('an unreadable file', '42501|58030', qr/model\.safetensors/,
	sub { chmod 0000, "$_[0]/model.safetensors" });
refused('a folder for a file', 'XX001|58030|58P01|42809', qr/config\.json/,
	sub { unlink "$_[0]/config.json"; mkdir "$_[0]/config.json" });

refused('config that is not JSON', 'XX001', qr/config\.json/,
	sub { write_file("$_[0]/config.json", '{"language_config": {') });
refused('config nested deeply', 'XX001', qr/config\.json/,
	sub { write_file("$_[0]/config.json", '[' x 100_000) });
refused('an unknown scoring function', '0A000', qr/mystery/,
	sub { change_json("$_[0]/config.json", sub { s/"softmax"/"mystery"/s }) });
refused('an unknown activation', '0A000', qr/mystery/,
	sub { change_json("$_[0]/config.json", sub { s/"silu"/"mystery"/s }) });
refused('a negative size', 'XX001|0A000', qr/hidden_size/,
	sub { change_json("$_[0]/config.json", sub { s/"hidden_size": \d+/"hidden_size": -192/ }) });
refused('a size that overflows', 'XX001|0A000|54000', qr/hidden_size/, sub {
	change_json("$_[0]/config.json",
		sub { s/"hidden_size": \d+/"hidden_size": 4611686018427387904/ });
});
refused('fewer layers than the config says', 'XX001', qr/layers\./, sub {
	change_json("$_[0]/config.json",
		sub { s/("num_hidden_layers": )(\d+)/$1 . ($2 + 1)/e });
});

refused('a truncated weight file', 'XX001', qr/model\.safetensors/,
	sub { truncate "$_[0]/model.safetensors", 5_000_000 });
refused('a weight file cut within its header', 'XX001', qr/model\.safetensors/,
	sub { truncate "$_[0]/model.safetensors", 1000 });
refused('an empty weight file', 'XX001', qr/model\.safetensors/,
	sub { truncate "$_[0]/model.safetensors", 0 });
foreach my $length (~0, ~0 >> 1, 1 << 40, 0xfffffff8)
{
	refused(sprintf('a header length of 0x%x', $length), 'XX001', qr/model\.safetensors/, sub {
		my $data = read_file("$_[0]/model.safetensors");

		substr($data, 0, 8) = pack 'Q<', $length;
		write_file("$_[0]/model.safetensors", $data);
	});
}
refused('a header that is not JSON', 'XX001', qr/model\.safetensors/,
	sub { change_header($_[0], sub { s/"dtype"/"dtype/ }) });
refused('a wrong shape', 'XX001', qr/shape|embed_tokens/, sub {
	change_header($_[0], sub {
		s/("language\.model\.embed_tokens\.weight":\s*\{.*?"shape":\s*\[)(\d+),\s*(\d+)\]/$1$3,$2]/s
	});
});
refused('a shape that overflows', 'XX001', qr/shape|embed_tokens/, sub {
	change_header($_[0], sub {
		s/("language\.model\.embed_tokens\.weight":\s*\{.*?"shape":\s*\[)(\d+),/${1}9223372036854775807,/s
	});
});
refused('an unknown element type', 'XX001|0A000', qr/I16/,
	sub { change_header($_[0], sub { s/"BF16"/"I16"/ }) });
refused('a missing tensor', 'XX001', qr/lm_head/,
	sub { change_header($_[0], sub { s/language\.lm_head\.weight/language.xx_head.weight/ }) });
refused('tensors that overlap', 'XX001', qr/offset|overlap|lm_head/, sub {
	change_header($_[0], sub {
		s/("language\.lm_head\.weight":\s*\{.*?"data_offsets":\s*\[)(\d+),\s*(\d+)\]/
			$1 . ($2 - 2) . ',' . ($3 - 2) . ']'/se
	});
});
refused('a tensor beyond the file', 'XX001', qr/offset|file|lm_head/, sub {
	change_header($_[0], sub {
		s/("language\.lm_head\.weight":\s*\{.*?"data_offsets":\s*\[)(\d+),\s*(\d+)\]/
			$1 . ($2 + (1 << 40)) . ',' . ($3 + (1 << 40)) . ']'/se
	});
});
{
	my $sound = PostgreSQL::Test::Utils::tempdir() . '/model';

	copy_nano($sound);
	split_weights($sound);
	is(sqlstate($session->query("SELECT vl_register_model('split', '$sound')")),
		'', 'the weights in two shards are taken');
	is($session->query(sprintf $ask, ", model => 'split'"), $right, 'and answer the same');
	remove_tree($sound);
}
refused('a missing shard', '58P01', qr/00002-of-00002/, sub {
	split_weights($_[0]);
	unlink "$_[0]/model-00002-of-00002.safetensors";
});
refused('a shard that holds nothing', 'XX001', qr/00002-of-00002/, sub {
	split_weights($_[0]);
	truncate "$_[0]/model-00002-of-00002.safetensors", 0;
});
refused('a tensor in another shard than the index says', 'XX001', qr/lm_head/, sub {
	split_weights($_[0]);
	change_json("$_[0]/model.safetensors.index.json",
		sub { s/("language\.lm_head\.weight": ?")model-00002/$1model-00001/ });
});
refused('a pipe for a file', '58030|42809', qr/model\.safetensors/, sub {
	unlink "$_[0]/model.safetensors";
	POSIX::mkfifo("$_[0]/model.safetensors", 0600);
});
refused('a shard outside of the folder', 'XX001|0A000|58P01', qr/\.\.|index|shard|name/, sub {
	my $dir = shift;

	rename "$dir/model.safetensors", "$dir/../model.safetensors";
	write_file("$dir/model.safetensors.index.json",
		'{"weight_map": {"language.lm_head.weight": "../model.safetensors"}}');
});

refused('a tokenizer that is not JSON', 'XX001', qr/tokenizer\.json/,
	sub { write_file("$_[0]/tokenizer.json", "\0" x 100) });
refused('a tokenizer of an unknown kind', '0A000', qr/Mystery/,
	sub { change_json("$_[0]/tokenizer.json", sub { s/"type": "BPE"/"type": "Mystery"/s }) });
refused('a tokenizer with an unknown part', '0A000', qr/Mystery/, sub {
	change_json("$_[0]/tokenizer.json", sub { s/("type": )"Split"/$1"Mystery"/s });
});

# ---- registered, then changed behind the server's back ----

my $dir = PostgreSQL::Test::Utils::tempdir() . '/model';
copy_nano($dir);
my $taken = $session->query("SELECT vl_register_model('later', '$dir')");
is(sqlstate($taken), '', 'a sound folder is taken');
is($session->query(sprintf $ask, ", model => 'later'"), $right, 'and answers');
my $fresh = DSVL2::Session->new($node);
rename $dir, "$dir.away";
my $text = $fresh->query(sprintf $ask, ", model => 'later'");
is(sqlstate($text), '58P01', 'a registered folder that has gone: an error in a new session');
is($session->query(sprintf $ask, ", model => 'later'"),
	$right, 'a session that has it mapped goes on');
$fresh->quit;

# ---- a name is a model's or an alias, whoever comes first ----

rename "$dir.away", $dir;
my $rival = DSVL2::Session->new($node);
$session->query("BEGIN; SELECT vl_register_model('both', '$dir')");
$rival->send("SELECT vl_alias('both', 'nano')");
ok($node->poll_query_until('postgres',
		"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $rival->{pid}"),
	'a second writer waits');
$session->query('COMMIT');
is(sqlstate($rival->wait), '42710', 'and finds the name taken');
$session->query("SELECT vl_drop_model('both')");
$rival->quit;

# ---- privileges ----

$node->safe_psql('postgres', 'CREATE ROLE bob LOGIN; GRANT SELECT ON scans TO bob');
my %privileged = (
	vl_register_model => "'mine', '$dir'",
	vl_drop_model => "'later'",
	vl_alias => "'a', 'nano'");
foreach my $function (sort keys %privileged)
{
	$text = $session->query(
		"SET ROLE bob; SELECT $function($privileged{$function}); RESET ROLE");
	is(sqlstate($text), '42501', "an ordinary user cannot call $function");
}
$text = $session->query('SET ROLE bob; ' . sprintf($ask, '') . '; RESET ROLE');
is($text, $right, 'an ordinary user can ask');
$text = $session->query('SET ROLE bob; ' . sprintf($ask, ", model => 'later'") . '; RESET ROLE');
is($text, $right, 'a registered model too');
foreach my $setting ('dsvl2.max_image_pixels = 1', 'dsvl2.max_image_bytes = 1')
{
	$text = $session->query("SET ROLE bob; SET $setting; RESET ROLE");
	is(sqlstate($text), '42501', "an ordinary user cannot SET $setting");
}

$session->quit;
$node->stop;
done_testing();
