# Eight sessions at once, with different numbers of threads and levels of instructions,
# give the answers that one gives alone.

use strict;
use warnings;

use DSVL2;
use Test::More;

my $node = new_node('concurrency', preload => 1);
my $everything = q{
SELECT string_agg(file || '>' || vl_ask(scan, 'What is the total?') || '>'
	|| vl_ask(scan, 'What is the merchant?') || '>' || vl_ocr(scan), E'\n' ORDER BY id)
  FROM scans WHERE id <= 6};

my @sessions = map { DSVL2::Session->new($node) } 1 .. 8;
$_->query('SET client_min_messages = warning') foreach @sessions;

my $alone = $sessions[0]->query($everything);
is(sqlstate($alone), '', 'one session alone');
like($alone, qr/receipt.*>.*>/, 'it answers something');

foreach my $i (0 .. $#sessions)
{
	$sessions[$i]->query('SET dsvl2.threads = ' . (1 + $i % 4));
}
$_->send($everything) foreach @sessions;
foreach my $i (0 .. $#sessions)
{
	is($sessions[$i]->wait, $alone, "session $i beside seven others gives the same answers");
}

# Sessions that come and go
my @short = map { DSVL2::Session->new($node) } 1 .. 8;
my $ask = 'SELECT vl_ocr(' . FIRST_RECEIPT . ')';
my $right = $sessions[0]->query($ask);
$_->send("SET client_min_messages = warning; $ask") foreach @short;
my @answers = map { my $answer = $_->wait; $_->quit; $answer } @short;
is_deeply(\@answers, [ ($right) x 8 ], 'eight new sessions that end at once');

$_->quit foreach @sessions;
$node->stop;
done_testing();
