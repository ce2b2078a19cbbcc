/*
 * json_value.h
 *		Looking into values that a jsonb is made of.
 */
#ifndef DSVL2_JSON_VALUE_H
#define DSVL2_JSON_VALUE_H

#include "compat.h"

#include "utils/jsonb.h"

/* NULL when the object has no such key */
static inline JsonbValue *
FindMember(JsonbContainer *object, const char *key)
{
	return getKeyJsonValueFromContainer(object, key, strlen(key), NULL);
}

/* v may be NULL */
static inline bool
IsArrayValue(const JsonbValue *v)
{
	return v != NULL && v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data);
}

/* v may be NULL */
static inline bool
IsObjectValue(const JsonbValue *v)
{
	return v != NULL && v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data);
}

/* Of a jbvString, palloc'd and zero-terminated */
static inline char *
StringOfValue(const JsonbValue *v)
{
	return pnstrdup(v->val.string.val, v->val.string.len);
}

#endif
