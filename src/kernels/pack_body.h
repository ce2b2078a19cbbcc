/*
 * pack_body.h
 *		Packing of activations; kernels.h has the layout of a record.
 */

/* Largest magnitude of a group; NaN when a number is not finite */
INLINE float
group_magnitude(const vf x[KERN_GROUP / VL])
{
	vf			most = splat(0.0f);
	vf			odd = splat(0.0f);
	float		largest = 0;
	float		sum = 0;

	for (int i = 0; i < KERN_GROUP / VL; i++)
	{
		most = vmax(most, (vf) ((vu) x[i] & 0x7fffffffu));
		odd += x[i] - x[i];		/* 0, or NaN */
	}
	for (int l = 0; l < VL; l++)
	{
		largest = most[l] > largest ? most[l] : largest;
		sum += odd[l];
	}
	return largest + sum;
}

/* A group's record.  Magnitudes whose inverse would overflow are as good as zero. */
INLINE void
pack_integers(const vf x[KERN_GROUP / VL], kern_act act, char *record)
{
	const float magic = 0x1.8p23f;	/* adding it rounds to an integer, in the low bits */
	const float range = act == KERN_ACT_I8 ? 127.0f : 32767.0f;
	float		magnitude = group_magnitude(x);
	float		inverse = magnitude >= 0x1p-100f ? range / magnitude : 0.0f;
	float		scale = magnitude >= 0x1p-100f ? magnitude / range : magnitude != magnitude ? magnitude : 0.0f;
	int32_t		q[KERN_GROUP];
	int32_t		sum = 0;

	for (int i = 0; i < KERN_GROUP / VL; i++)
	{
		vf			finite = choose(x[i] - x[i] == 0.0f, x[i], splat(0.0f));
		vi			whole = (vi) ((vu) (finite * inverse + magic) - 0x4b400000u);

		memcpy(q + i * VL, &whole, sizeof(whole));
	}
	for (int i = 0; i < KERN_GROUP; i++)
		sum += q[i];
	for (int i = 0; i < KERN_GROUP; i += 4)
	{
		if (act == KERN_ACT_I8)
		{
			const int8_t quad[4] = {(int8_t) q[i], (int8_t) q[i + 1], (int8_t) q[i + 2], (int8_t) q[i + 3]};

			memcpy(record + i, quad, sizeof(quad));
		}
		else
		{
			const int16_t quad[4] = {(int16_t) q[i], (int16_t) q[i + 2], (int16_t) q[i + 1], (int16_t) q[i + 3]};

			memcpy(record + 2 * i, quad, sizeof(quad));
		}
	}
	memcpy(record + KERN_ACT_SCALE(act), &scale, sizeof(scale));
	memcpy(record + KERN_ACT_SCALE(act) + 4, &sum, sizeof(sum));
}

INLINE void
pack_row(const float *x, int k, kern_act act, char *out)
{
	for (int at = 0; at < k; at += KERN_GROUP, out += KERN_ACT_RECORD(act))
	{
		vf			group[KERN_GROUP / VL];

		for (int i = 0; i < KERN_GROUP / VL; i++)
			group[i] = load_some(x, KERN_F32, at + i * VL, k - at - i * VL);
		if (act == KERN_ACT_BF16)
			for (int i = 0; i < KERN_GROUP / VL; i++)
				store16((uint16_t *) (void *) out + i * VL, narrow16((vu) round_bf16_lanes(group[i]) >> 16));
		else
			pack_integers(group, act, out);
	}
}

static void
kern_pack(const float *x, size_t ldx, int m, int k, kern_act act, void *out, size_t row_bytes)
{
	char	   *row = out;

	for (int i = 0; i < m; i++, x += ldx, row += row_bytes)
		switch (act)
		{
			case KERN_ACT_F32:
				break;			/* not offered */
			case KERN_ACT_BF16:
				pack_row(x, k, KERN_ACT_BF16, row);
				break;
			case KERN_ACT_I8:
				pack_row(x, k, KERN_ACT_I8, row);
				break;
			case KERN_ACT_I16:
				pack_row(x, k, KERN_ACT_I16, row);
				break;
		}
}

