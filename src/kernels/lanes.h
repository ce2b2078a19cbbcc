/*
 * lanes.h
 *		Loads and stores of any number of lanes, on top of the primitives of kernels_vec.h.
 */
#ifndef LANES_H
#define LANES_H

/* n elements from p[i] as floats, the lanes beyond n zero; n >= VL: a whole register */
INLINE vf
load_some(const void *p, kern_dtype t, size_t i, int n)
{
	vh			h;

	if (n <= 0)
		return splat(0.0f);
	if (t == KERN_F32)
		return n >= VL ? load((const float *) p + i) : load_part((const float *) p + i, n);
	h = n >= VL ? load16((const uint16_t *) p + i) : load_part16((const uint16_t *) p + i, n);
	if (t == KERN_F16)
		return widen_half(h);
	return (vf) (widen16(h) << 16);
}

INLINE vf
load_as(const void *p, kern_dtype t, size_t i)
{
	return load_some(p, t, i, VL);
}

INLINE void
store_some(float *p, vf v, int n)
{
	if (n >= VL)
		store(p, v);
	else if (n > 0)
		store_part(p, v, n);
}

/* lanes that a loop of VL has left at i */
INLINE int
lanes_left(size_t n, size_t i)
{
	return n - i >= VL ? VL : (int) (n - i);
}

INLINE void
zero_parts(vf acc[PARTS])
{
	for (int p = 0; p < PARTS; p++)
		acc[p] = splat(0.0f);
}

#endif
