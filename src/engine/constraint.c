/*
 * constraint.c
 *		Token masks and forced runs over a grammar's automaton.
 *
 * Masks.  The tries of the vocabulary and the automaton are walked together.  Of a string's
 * inside, where nearly every token may come, the walk is cut short: when all plain text may
 * come, so may all tokens of the plain trie, and that set is known.  A mask depends on the
 * state alone; the last DSV_MASKS are kept.
 *
 * Forced runs.  Where the grammar leaves no choice its bytes are tokenised as the model saw
 * them in training, and go into the answer without asking it.  Not all of the run, though: how
 * its last bytes are tokenised may depend on what follows (` "` and `$` may be one token, which
 * the model would have chosen).  So the run ends at the first boundary of its tokens from which
 * some one token could reach beyond the run's end and still obey the grammar.  What is held back
 * is left to the model: it chooses among the tokens that begin with those bytes.  Where more than
 * one token is held back, shorter ones may come, too.
 *
 * When the automaton's memory is full it forgets all states but the answer's, and with them the
 * masks; the walk in progress finds its states again by their bytes.  No result depends on when
 * that happens.
 */
#include "constraint.h"

#include <string.h>

#include "utf8.h"

/* States while the answer's prefix is written: IN_PREFIX + bytes written */
#define IN_PREFIX 0x40000000

/* Bytes of a walk: a run, a token that reaches beyond it, a special token in that one's way */
#define PATH (DSV_RUN + 2 * DSV_TRIE_DEPTH)

/* For the encoder: its text, its tables, and what the regular expressions need */
#define SCRATCH (64 * 1024)

/* ---- states ---- */

void
dsv_constraint_layout(dsv_constraint *c, dsv_arena *arena)
{
	c->path = dsv_arena_take(arena, PATH + 1, sizeof(int32_t));
	c->bytes = dsv_arena_take(arena, PATH, 1);
	c->masks = dsv_arena_take(arena, (size_t) DSV_MASKS * c->trie->words, sizeof(uint32_t));
	c->scratch = dsv_arena_take(arena, SCRATCH, 1);
}

static void
forget_masks(dsv_constraint *c)
{
	for (int i = 0; i < DSV_MASKS; i++)
	{
		c->mask_state[i] = -1;
		c->mask_used[i] = 0;
	}
}

/* Where nothing has been written; the automaton may have to forget all states for it. */
static int32_t
first_state(dsv_constraint *c)
{
	int32_t		state = dsv_automaton_start(c->automaton);

	if (state != DSV_STATE_FULL)
		return state;
	forget_masks(c);
	dsv_automaton_restart(c->automaton, 0);
	return dsv_automaton_start(c->automaton);
}

void
dsv_constraint_reset(dsv_constraint *c)
{
	forget_masks(c);
	c->path[0] = c->nprefix > 0 ? IN_PREFIX : first_state(c);
	c->settled = false;
	c->held = -1;
	c->broken = false;
}

static int32_t
next_state(dsv_constraint *c, int32_t state, uint8_t byte)
{
	int			at = state - IN_PREFIX;

	if (at < 0)
		return dsv_automaton_next(c->automaton, state, byte);
	if (byte != (uint8_t) c->prefix[at])
		return DSV_STATE_DEAD;
	return at + 1 < c->nprefix ? state + 1 : first_state(c);
}

static bool
accepts(const dsv_constraint *c, int32_t state)
{
	return state < IN_PREFIX && dsv_automaton_accepts(c->automaton, state);
}

/* The automaton is full: it forgets all but the answer's state, from which the walk's are found
 * again, up to path[n]. */
static void
start_over(dsv_constraint *c, int n)
{
	bool		in_prefix = c->path[0] >= IN_PREFIX;
	int32_t		state = dsv_automaton_restart(c->automaton, in_prefix ? first_state(c) : c->path[0]);

	forget_masks(c);
	if (!in_prefix)
		c->path[0] = state;
	for (int i = 0; i < n; i++)
	{
		c->path[i + 1] = next_state(c, c->path[i], c->bytes[i]);
		if (c->path[i + 1] == DSV_STATE_FULL)
		{
			c->broken = true;
			return;
		}
	}
}

/* path[at + 1] = the state behind path[at] and a byte; false when that is dead, or c->broken. */
static bool
extend(dsv_constraint *c, int at, uint8_t byte)
{
	if (c->broken)
		return false;
	c->bytes[at] = byte;
	c->path[at + 1] = next_state(c, c->path[at], byte);
	if (c->path[at + 1] == DSV_STATE_FULL)
		start_over(c, at + 1);
	return !c->broken && c->path[at + 1] >= 0;
}

/* ---- walking tries ---- */

static bool walk(dsv_constraint *c, int first, int last, int shift, int most, uint32_t *mask);

/* An ordinary token may not go on with this byte at path[at]: it would begin a text that is
 * written as a special token there. */
static bool
is_blocked(dsv_constraint *c, int at, uint8_t byte)
{
	const dsv_vocab_trie *t = c->trie;

	if (!c->specials || !t->special_first[byte])
		return false;
	for (int i = t->other_end; i < t->nnodes; i = (int) t->nodes[i].skip)
		if (t->nodes[i].byte == byte && walk(c, i, (int) t->nodes[i].skip, at, 0, NULL))
			return true;
	return false;
}

/*
 * Visits the nodes first .. last - 1, whole subtrees, that a text of the grammar can take; the
 * state before a node of depth d is path[d - 1 + shift].  Adds their tokens to the mask, if
 * there is one.  True, and the walk ends, when there are more tokens than `most`.
 */
static bool
walk(dsv_constraint *c, int first, int last, int shift, int most, uint32_t *mask)
{
	const dsv_vocab_trie *t = c->trie;
	const dsv_trie_node *nodes = t->nodes;
	const dsv_transitions known = dsv_automaton_transitions(c->automaton);
	int32_t    *path = c->path;
	uint8_t    *bytes = c->bytes;
	bool		blocks = c->specials && first < t->other_end;

	for (int i = first; i < last;)
	{
		dsv_trie_node node = nodes[i];
		int			at = (int) node.depth - 1 + shift;
		int32_t		state = DSV_STATE_UNKNOWN;

		/* hundreds of thousands of times for one mask, so the usual case is without a call */
		if (path[at] < IN_PREFIX)
			state = known.rows[(uint32_t) path[at] * known.nclasses + known.class_of[node.byte]];
		path[at + 1] = state;
		bytes[at] = node.byte;
		if ((state < 0 && (state == DSV_STATE_DEAD || !extend(c, at, node.byte))) ||
			(blocks && is_blocked(c, at, node.byte)))
		{
			if (c->broken)
				break;
			i = (int) node.skip;
			continue;
		}
		most -= (int) node.token < t->vocab;
		if (most < 0)
			return true;
		if (mask != NULL)
			mask[node.token / 32] |= 1u << (node.token % 32);	/* the spare bit when none ends here */
		i++;
	}
	return false;
}

/* ---- one token ---- */

/* Follows a token's bytes from path[at]; the bytes of them, or 0 when it may not come there. */
static int
follow(dsv_constraint *c, int at, int32_t token)
{
	dsv_token_kind kind = dsv_token_kind_of(c->tok, c->trie->vocab, token);
	size_t		len;
	const char *bytes = dsv_tokenizer_bytes(c->tok, token, &len);

	if (kind == DSV_TOKEN_NONE || token == c->end || (kind == DSV_TOKEN_SPECIAL && !c->specials))
		return 0;
	for (int i = 0; i < (int) len; i++)
		if (!extend(c, at + i, (uint8_t) bytes[i]) ||
			(kind == DSV_TOKEN_ORDINARY && is_blocked(c, at + i, (uint8_t) bytes[i])))
			return 0;
	return (int) len;
}

bool
dsv_constraint_allows(dsv_constraint *c, int32_t token)
{
	int			len;
	size_t		least;

	if (token == c->end)
		return accepts(c, c->path[0]);
	len = follow(c, 0, token);
	dsv_tokenizer_bytes(c->tok, c->held, &least);
	return len > 0 && len >= (int) least;
}

bool
dsv_constraint_take(dsv_constraint *c, int32_t token)
{
	int			len = follow(c, 0, token);

	if (len == 0)
		return false;
	c->path[0] = c->path[len];
	c->settled = false;
	c->held = -1;
	return true;
}

bool
dsv_constraint_ended(dsv_constraint *c)
{
	if (c->broken || !accepts(c, c->path[0]))
		return false;
	for (int b = 0; b < 256; b++)
		if (extend(c, 0, (uint8_t) b))
			return false;
	return true;
}

/* ---- masks ---- */

/* The node at which the bytes end in the plain or the other trie, or -1 */
static int
find_node(const dsv_vocab_trie *t, bool plain, const char *bytes, int len)
{
	int			first = plain ? 0 : t->plain_end;
	int			last = plain ? t->plain_end : t->other_end;
	int			depth = 0;

	while (first < last)
	{
		dsv_trie_node node = t->nodes[first];

		if (node.byte != (uint8_t) bytes[depth])
		{
			first = (int) node.skip;
			continue;
		}
		if (++depth == len)
			return first;
		last = (int) node.skip;
		first++;
	}
	return -1;
}

/* The slot of a remembered mask, or of the one that was not used for longest */
static int
mask_slot(const dsv_constraint *c)
{
	int			oldest = 0;

	for (int i = 0; i < DSV_MASKS; i++)
	{
		if (c->mask_state[i] == c->path[0] && c->mask_held[i] == c->held)
			return i;
		if (c->mask_used[i] < c->mask_used[oldest])
			oldest = i;
	}
	return oldest;
}

/* Tokens that only begin what the token held back has */
static void
clear_shorter(dsv_constraint *c, uint32_t *mask)
{
	const dsv_vocab_trie *t = c->trie;
	size_t		len;
	const char *bytes = dsv_tokenizer_bytes(c->tok, c->held, &len);

	for (int n = 1; n < (int) len; n++)
		for (int plain = 0; plain < 2; plain++)
		{
			int			node = find_node(t, plain, bytes, n);

			if (node >= 0)
				mask[t->nodes[node].token / 32] &= ~(1u << (t->nodes[node].token % 32));
		}
}

/* False, and the mask is not whole, when some trie has more tokens than `most` to allow. */
static bool
make_mask(dsv_constraint *c, int most, uint32_t *mask)
{
	const dsv_vocab_trie *t = c->trie;
	int			first = 0;

	memset(mask, 0, (size_t) t->words * sizeof(*mask));
	if (c->path[0] < IN_PREFIX && dsv_automaton_takes_text(c->automaton, c->path[0], DSV_PLAIN_CHARS))
	{
		if (most < t->vocab)
			return false;
		memcpy(mask, t->plain, (size_t) t->words * sizeof(*mask));
		first = t->plain_end;
	}
	if (walk(c, first, t->other_end, 0, most, mask) ||
		(c->specials && walk(c, t->other_end, t->nnodes, 0, most, mask)))
		return false;
	clear_shorter(c, mask);
	mask[t->vocab / 32] &= ~(1u << (t->vocab % 32));
	if (accepts(c, c->path[0]))
		mask[c->end / 32] |= 1u << (c->end % 32);
	return true;
}

static int
count_tokens(const dsv_constraint *c, const uint32_t *mask)
{
	int			n = 0;

	for (int i = 0; i < c->trie->words; i++)
		n += __builtin_popcount(mask[i]);
	return n;
}

const uint32_t *
dsv_constraint_mask(dsv_constraint *c, int most)
{
	int			slot = mask_slot(c);
	uint32_t   *mask = c->masks + (size_t) slot * c->trie->words;

	if (c->mask_state[slot] != c->path[0] || c->mask_held[slot] != c->held)
	{
		/* the walk may number the states anew */
		bool		whole = make_mask(c, most, mask);

		c->mask_state[slot] = whole ? c->path[0] : -1;
		c->mask_held[slot] = c->held;
		if (!whole)
			return NULL;
		c->mask_tokens[slot] = count_tokens(c, mask);
	}
	c->mask_used[slot] = ++c->clock;
	return !c->broken && c->mask_tokens[slot] > 0 && c->mask_tokens[slot] <= most ? mask : NULL;
}

/* ---- forced runs ---- */

/* Memory of an encoder: taken from one block, given back all at once. */
typedef struct block
{
	char	   *base;
	size_t		used;
} block;

static void *
block_alloc(void *ud, size_t size)
{
	block	   *b = ud;
	size_t		at = b->used;

	if (size > SCRATCH - at)
		return NULL;
	b->used += (size + 15) / 16 * 16;
	return b->base + at;
}

static void
block_free(void *ud, void *ptr)
{
}

/* The bytes that must come next, whole characters only; path[n] is the state behind n of them. */
static int
forced_bytes(dsv_constraint *c, char run[DSV_RUN])
{
	int			n = 0;
	int			whole = 0;
	int			size;

	for (; n < DSV_RUN; n++)
	{
		if (c->path[n] >= IN_PREFIX)
			run[n] = c->prefix[c->path[n] - IN_PREFIX];
		else if (dsv_automaton_forced(c->automaton, c->path[n], (uint8_t *) run + n, 1) == 0)
			break;
		if (!extend(c, n, (uint8_t) run[n]))
			break;
	}
	while (whole < n && dsv_utf8_next(run + whole, (size_t) (n - whole), &size) == DSV_UTF8_CHAR)
		whole += size;
	return whole;
}

/* Some ordinary token begins with these bytes, which led to path[at], and goes on beyond them. */
static bool
reaches_beyond(dsv_constraint *c, const char *bytes, int len, int at)
{
	const dsv_vocab_trie *t = c->trie;

	for (int plain = 0; plain < 2; plain++)
	{
		int			node = len < t->depth ? find_node(t, plain, bytes, len) : -1;

		if (node >= 0 && walk(c, node + 1, (int) t->nodes[node].skip, at - len, 0, NULL))
			return true;
	}
	return false;
}

/* Follows the tokens, which must spell the run; returns the bytes up to the first one that does
 * not, or may not come. */
static int
follow_run(dsv_constraint *c, const char *run, int n, const dsv_tokens *tokens)
{
	int			at = 0;

	for (size_t i = 0; i < tokens->n; i++)
	{
		size_t		len;
		const char *bytes = dsv_tokenizer_bytes(c->tok, tokens->ids[i], &len);

		if (len > (size_t) (n - at) || memcmp(bytes, run + at, len) != 0 ||
			follow(c, at, tokens->ids[i]) == 0)
			break;
		at += (int) len;
	}
	return at;
}

int
dsv_constraint_force(dsv_constraint *c, int32_t *out, int max)
{
	char		run[DSV_RUN];
	block		memory = {c->scratch, 0};
	dsv_mem		mem = {block_alloc, block_free, &memory};
	dsv_tokens	tokens = {0};
	dsv_span	span = {run, 0, c->specials};
	int			n;
	int			at = 0;
	int			count = 0;

	if (c->settled)
		return 0;
	span.len = (size_t) forced_bytes(c, run);
	/* should the scratch not do for the encoder, the model chooses */
	if (span.len > 0)
		dsv_tokenizer_encode(c->tok, &span, 1, NULL, &mem, &tokens, NULL);
	n = follow_run(c, run, (int) span.len, &tokens);
	while (count < max && at < n && !reaches_beyond(c, run + at, n - at, n))
	{
		size_t		len;

		dsv_tokenizer_bytes(c->tok, tokens.ids[count], &len);
		out[count] = tokens.ids[count];
		count++;
		at += (int) len;
	}
	if (count == 0 && n == (int) span.len && tokens.n == 1)
		c->held = tokens.ids[0];
	c->path[0] = c->path[at];
	c->settled = count == 0;
	return count;
}
