/* A new hash seed for an interpreter that is already running.
 *
 * All clones of a template begin with one memory, and so with one seed, from which a str's hash could be told in advance.
 * So every clone draws its own and rewrites what the old one left:
 *
 *   str, bytes     the hash that each keeps. Recomputed where there is one
 *   dict           the index over its entries. Rebuilt; entries, their order and so everything that knows an entry's number
 *                  (split dicts, the code's inline caches) stay. Dicts whose keys are all str keep no hash in an entry, others do
 *   set            the table itself, which is its order. Refilled
 *   frozenset      also the hash that it keeps. Forgotten
 *
 * Where they are is found before the snapshot, off every program's way: each aligned word of writable memory that
 * points to such a type, preceded by a reference count, is an object's head. For str and bytes that is proved: the hash that
 * it keeps is that of its contents. Nothing is allocated from hashes_find() on until the new seed is in place. */
#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE 1
#include <Python.h>
#include <internal/pycore_dict.h>
#include <internal/pycore_gc.h>
#include <internal/pycore_interp.h>

#include "guest/warm/python/hashes.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/random.h>

#include "guest/warm/python/memory_scan.h"

#define REFCOUNT_MAX (1L << 22) /* where this executable's own addresses begin: above, it is a pointer, but for */
#define IMMORTAL     999999999L /* what objects of the executable begin with (_PyObject_IMMORTAL_REFCNT) */
#define OBJECT_MAX   (1L << 28) /* bytes; none at the start is as long */
#define PERTURB_SHIFT 5		/* Objects/dictobject.c, setobject.c */
#define LINEAR_PROBES 9		/* Objects/setobject.c */

static struct pointers strs, bytes_objects, sets, dict_keys;

static bool is_live(const PyObject *object)
{
	Py_ssize_t count = object->ob_refcnt;

	return (count > 0 && count < REFCOUNT_MAX) || (count > IMMORTAL - REFCOUNT_MAX && count < IMMORTAL + REFCOUNT_MAX);
}

#define STR_HASH(object)   (((PyASCIIObject *)(object))->hash)
#define BYTES_HASH(object) (((struct bytes *)(object))->hash)

struct bytes { /* PyBytesObject, whose field is marked as deprecated */
	PyVarObject head;
	Py_hash_t hash;
};

static Py_hash_t str_hash(PyObject *object)
{
	return _Py_HashBytes(PyUnicode_DATA(object), PyUnicode_GET_LENGTH(object) * (Py_ssize_t)PyUnicode_KIND(object));
}

static Py_hash_t bytes_hash(PyObject *object)
{
	return _Py_HashBytes(PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object));
}

#define STR_HASH(object)   (((PyASCIIObject *)(object))->hash)

/* What looks like a str may be the rest of one: nothing is read that is not there. */
static bool keeps_str_hash(PyObject *object)
{
	const PyASCIIObject *head = (PyASCIIObject *)object;
	unsigned kind = head->state.kind;
	Py_ssize_t length = head->length;

	return head->hash != -1 && head->state.ready && (kind == 1 || kind == 2 || kind == 4) && length >= 0 &&
	       length < OBJECT_MAX && memory_holds(PyUnicode_DATA(object), (size_t)length * kind) &&
	       STR_HASH(object) == str_hash(object);
}

static bool keeps_bytes_hash(PyObject *object)
{
	return BYTES_HASH(object) != -1 && Py_SIZE(object) >= 0 && Py_SIZE(object) < OBJECT_MAX &&
	       memory_holds(PyBytes_AS_STRING(object), (size_t)Py_SIZE(object)) &&
	       BYTES_HASH(object) == bytes_hash(object);
}

/* Bytes of a keys object that is one, else 0. */
static size_t keys_bytes(const PyDictKeysObject *keys)
{
	size_t entry = keys->dk_kind == DICT_KEYS_GENERAL ? sizeof(PyDictKeyEntry) : sizeof(PyDictUnicodeEntry);
	unsigned size_log = keys->dk_log2_size, index_log = keys->dk_log2_index_bytes;

	if (keys->dk_refcnt <= 0 || keys->dk_refcnt >= REFCOUNT_MAX || size_log > 24 || index_log < size_log || index_log > size_log + 3 ||
	    keys->dk_kind > DICT_KEYS_SPLIT || keys->dk_nentries <= 0 || keys->dk_nentries > (1L << size_log))
		return 0;
	return sizeof(*keys) + ((size_t)1 << index_log) + (size_t)keys->dk_nentries * entry;
}

static int take_keys(PyDictKeysObject *keys)
{
	size_t bytes = memory_holds(keys, sizeof(*keys)) ? keys_bytes(keys) : 0;

	return bytes && memory_holds(keys, bytes) ? pointers_add(&dict_keys, keys) : 0;
}

/* Its entries are as many as it says. */
static bool is_dict(PyDictObject *dict)
{
	PyDictKeysObject *keys = dict->ma_keys;
	size_t bytes = memory_holds(keys, sizeof(*keys)) ? keys_bytes(keys) : 0;
	Py_ssize_t used = 0;

	if (bytes == 0 || !memory_holds(keys, bytes) || dict->ma_used <= 0 || dict->ma_used > keys->dk_nentries)
		return false;
	if (dict->ma_values)
		return keys->dk_kind == DICT_KEYS_SPLIT;
	for (Py_ssize_t i = 0; i < keys->dk_nentries; i++)
		used += (DK_IS_UNICODE(keys) ? DK_UNICODE_ENTRIES(keys)[i].me_value : DK_ENTRIES(keys)[i].me_value) ? 1 : 0;
	return used == dict->ma_used;
}

static bool is_set(const PySetObject *set)
{
	size_t size = (size_t)set->mask + 1;
	Py_ssize_t used = 0;

	if (set->mask < PySet_MINSIZE - 1 || set->mask >= OBJECT_MAX || (size & (size - 1)) ||
	    (set->mask == PySet_MINSIZE - 1) != (set->table == set->smalltable) || set->used > set->fill ||
	    set->fill > set->mask || !memory_holds(set->table, size * sizeof(setentry)))
		return false;
	for (size_t i = 0; i < size; i++)
		used += set->table[i].key && set->table[i].hash != -1 ? 1 : 0;
	return used == set->used;
}

static int take_object(PyObject *object)
{
	PyTypeObject *type = Py_TYPE(object);

	if (!is_live(object))
		return 0;
	if (PyType_HasFeature(type, Py_TPFLAGS_UNICODE_SUBCLASS))
		return keeps_str_hash(object) ? pointers_add(&strs, object) : 0;
	if (PyType_HasFeature(type, Py_TPFLAGS_BYTES_SUBCLASS))
		return keeps_bytes_hash(object) ? pointers_add(&bytes_objects, object) : 0;
	if (PyType_HasFeature(type, Py_TPFLAGS_DICT_SUBCLASS))
		return is_dict((PyDictObject *)object) ? take_keys(((PyDictObject *)object)->ma_keys) : 0;
	return is_set((PySetObject *)object) ? pointers_add(&sets, object) : 0;
}

static bool is_wanted(PyTypeObject *type)
{
	return PyType_HasFeature(type, Py_TPFLAGS_UNICODE_SUBCLASS) ||
	       PyType_HasFeature(type, Py_TPFLAGS_BYTES_SUBCLASS) || PyType_HasFeature(type, Py_TPFLAGS_DICT_SUBCLASS) ||
	       PyType_IsSubtype(type, &PySet_Type) || PyType_IsSubtype(type, &PyFrozenSet_Type);
}

/* Objects of a heap type keep their attributes without a dict of their own. */
static int take_type(PyTypeObject *type, struct pointers *wanted)
{
	if (PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
	    take_keys(((PyHeapTypeObject *)type)->ht_cached_keys) < 0)
		return -1;
	return is_wanted(type) ? pointers_add(wanted, type) : 0;
}

static int take_types(PyTypeObject *type, struct pointers *wanted)
{
	PyObject *ask = PyDict_GetItemString(PyType_Type.tp_dict, "__subclasses__"); /* borrowed */
	PyObject *list = ask ? PyObject_CallFunctionObjArgs(ask, type, NULL) : NULL;
	int r = 0;

	if (!list || take_type(type, wanted) < 0)
		r = -1;
	for (Py_ssize_t i = 0; r == 0 && i < PyList_GET_SIZE(list); i++)
		r = take_types((PyTypeObject *)PyList_GET_ITEM(list, i), wanted);
	Py_XDECREF(list);
	return r;
}

/* Does the hash of this key depend on the seed? When in doubt, it does. */
static bool is_seeded(PyObject *key)
{
	hashfunc hash = Py_TYPE(key)->tp_hash;

	if (PyTuple_CheckExact(key)) {
		for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); i++)
			if (is_seeded(PyTuple_GET_ITEM(key, i)))
				return true;
		return false;
	}
	if (PyWeakref_Check(key))
		return false; /* it keeps that of what it refers to */
	return hash != PyLong_Type.tp_hash && hash != PyFloat_Type.tp_hash && hash != PyBaseObject_Type.tp_hash &&
	       hash != PyType_Type.tp_hash && hash != PyCFunction_Type.tp_hash && hash != PyFunction_Type.tp_hash;
}

static bool is_keys_seeded(PyDictKeysObject *keys)
{
	PyDictKeyEntry *entries;

	if (DK_IS_UNICODE(keys))
		return true;
	entries = DK_ENTRIES(keys);
	for (Py_ssize_t i = 0; i < keys->dk_nentries; i++)
		if (entries[i].me_value && is_seeded(entries[i].me_key))
			return true;
	return false;
}

static bool is_set_seeded(PySetObject *set)
{
	for (Py_ssize_t i = 0; i <= set->mask; i++)
		if (set->table[i].key && set->table[i].hash != -1 && is_seeded(set->table[i].key))
			return true;
	return false;
}

static bool keep_keys(void *keys)
{
	return is_keys_seeded(keys);
}

static bool keep_set(void *set)
{
	return is_set_seeded(set);
}

static bool is_found(PyObject *object)
{
	PyDictObject *dict = (PyDictObject *)object;

	if (PyDict_Check(object))
		return dict->ma_used == 0 || pointers_have(&dict_keys, dict->ma_keys);
	return !PyAnySet_Check(object) || pointers_have(&sets, object);
}

/* Of what the collector knows, nothing was overlooked. */
static bool is_all_found(void)
{
	struct _gc_runtime_state *gc = &PyInterpreterState_Get()->gc;

	for (int i = 0; i <= NUM_GENERATIONS; i++) {
		PyGC_Head *head = i < NUM_GENERATIONS ? &gc->generations[i].head : &gc->permanent_generation.head;

		for (PyGC_Head *at = _PyGCHead_NEXT(head); at != head; at = _PyGCHead_NEXT(at))
			if (!is_found((PyObject *)(at + 1)))
				return false;
	}
	return true;
}

int hashes_find(void)
{
	struct pointers wanted = { 0 };
	int r = memory_look();

	if (r == 0)
		r = take_types(&PyBaseObject_Type, &wanted);
	pointers_sort(&wanted);
	if (r == 0)
		r = memory_scan(&wanted, take_object);
	pointers_sort(&dict_keys);
	pointers_sort(&sets);
	if (r < 0 || !is_all_found())
		return -1;
	pointers_filter(&dict_keys, keep_keys);
	pointers_filter(&sets, keep_set);
	return r;
}

static void set_index(PyDictKeysObject *keys, size_t at, Py_ssize_t entry)
{
	switch (keys->dk_log2_index_bytes - keys->dk_log2_size) {
	case 0:
		((int8_t *)keys->dk_indices)[at] = (int8_t)entry;
		break;
	case 1:
		((int16_t *)(void *)keys->dk_indices)[at] = (int16_t)entry;
		break;
	case 2:
		((int32_t *)(void *)keys->dk_indices)[at] = (int32_t)entry;
		break;
	default:
		((int64_t *)(void *)keys->dk_indices)[at] = entry;
	}
}

static Py_ssize_t get_index(const PyDictKeysObject *keys, size_t at)
{
	switch (keys->dk_log2_index_bytes - keys->dk_log2_size) {
	case 0:
		return ((const int8_t *)keys->dk_indices)[at];
	case 1:
		return ((const int16_t *)(const void *)keys->dk_indices)[at];
	case 2:
		return ((const int32_t *)(const void *)keys->dk_indices)[at];
	default:
		return ((const int64_t *)(const void *)keys->dk_indices)[at];
	}
}

static void insert_index(PyDictKeysObject *keys, Py_hash_t hash, Py_ssize_t entry)
{
	size_t mask = (size_t)DK_SIZE(keys) - 1, at = (size_t)hash & mask;

	for (size_t perturb = (size_t)hash; get_index(keys, at) != DKIX_EMPTY;) {
		perturb >>= PERTURB_SHIFT;
		at = (at * 5 + perturb + 1) & mask;
	}
	set_index(keys, at, entry);
}

static void clear_indices(PyDictKeysObject *keys)
{
	memset(keys->dk_indices, 0xff, (size_t)1 << keys->dk_log2_index_bytes);
}

static void rebuild_unicode(PyDictKeysObject *keys)
{
	PyDictUnicodeEntry *entries = DK_UNICODE_ENTRIES(keys);

	clear_indices(keys);
	for (Py_ssize_t i = 0; i < keys->dk_nentries; i++)
		if (entries[i].me_key)
			insert_index(keys, STR_HASH(entries[i].me_key), i);
}

static int rehash_general(PyDictKeysObject *keys)
{
	PyDictKeyEntry *entries = DK_ENTRIES(keys);

	for (Py_ssize_t i = 0; i < keys->dk_nentries; i++) {
		Py_hash_t hash = entries[i].me_key ? PyObject_Hash(entries[i].me_key) : 0;

		if (hash == -1)
			return -1;
		if (entries[i].me_key)
			entries[i].me_hash = hash;
	}
	return 0;
}

static void rebuild_general(PyDictKeysObject *keys)
{
	PyDictKeyEntry *entries = DK_ENTRIES(keys);

	clear_indices(keys);
	for (Py_ssize_t i = 0; i < keys->dk_nentries; i++)
		if (entries[i].me_key)
			insert_index(keys, entries[i].me_hash, i);
}

static void insert_key(PySetObject *set, PyObject *key, Py_hash_t hash)
{
	size_t mask = (size_t)set->mask, i = (size_t)hash & mask;

	for (size_t perturb = (size_t)hash;;) {
		setentry *entry = &set->table[i];
		size_t probes = i + LINEAR_PROBES <= mask ? LINEAR_PROBES : 0;

		for (size_t k = 0; k <= probes; k++, entry++)
			if (!entry->key) {
				entry->key = key;
				entry->hash = hash;
				return;
			}
		perturb >>= PERTURB_SHIFT;
		i = (i * 5 + 1 + perturb) & mask;
	}
}

static int rebuild_set(PySetObject *set)
{
	size_t bytes = ((size_t)set->mask + 1) * sizeof(setentry);
	setentry *old = malloc(bytes);
	int r = old ? 0 : -1;

	if (r == 0)
		memcpy(old, set->table, bytes);
	for (Py_ssize_t i = 0; r == 0 && i <= set->mask; i++)
		if (old[i].key && old[i].hash != -1) {
			old[i].hash = PyObject_Hash(old[i].key);
			r = old[i].hash == -1 ? -1 : 0;
		} else {
			old[i].key = NULL; /* it was never there, or is there no more */
		}
	if (r == 0)
		memset(set->table, 0, bytes);
	for (Py_ssize_t i = 0; r == 0 && i <= set->mask; i++)
		if (old[i].key)
			insert_key(set, old[i].key, old[i].hash);
	set->fill = set->used;
	set->finger = 0;
	set->hash = -1;
	free(old);
	return r;
}

/* In this order: what is hashed in C before what is hashed by a Python function, which looks things up. */
int hashes_reseed(void)
{
	int r = 0;

	if (getrandom(&_Py_HashSecret, sizeof(_Py_HashSecret), 0) != sizeof(_Py_HashSecret))
		return -1;
	for (size_t i = 0; i < strs.n; i++)
		STR_HASH(strs.at[i]) = str_hash(strs.at[i]);
	for (size_t i = 0; i < bytes_objects.n; i++)
		BYTES_HASH(bytes_objects.at[i]) = bytes_hash(bytes_objects.at[i]);
	for (size_t i = 0; i < dict_keys.n; i++)
		if (DK_IS_UNICODE((PyDictKeysObject *)dict_keys.at[i]))
			rebuild_unicode(dict_keys.at[i]);
	for (size_t i = 0; r == 0 && i < sets.n; i++)
		r = rebuild_set(sets.at[i]);
	for (size_t i = 0; r == 0 && i < dict_keys.n; i++)
		if (!DK_IS_UNICODE((PyDictKeysObject *)dict_keys.at[i]))
			r = rehash_general(dict_keys.at[i]);
	for (size_t i = 0; r == 0 && i < dict_keys.n; i++)
		if (!DK_IS_UNICODE((PyDictKeysObject *)dict_keys.at[i]))
			rebuild_general(dict_keys.at[i]);
	return r;
}

static bool has_index(PyDictKeysObject *keys, Py_hash_t hash, Py_ssize_t entry)
{
	size_t mask = (size_t)DK_SIZE(keys) - 1, at = (size_t)hash & mask;
	Py_ssize_t found;

	for (size_t perturb = (size_t)hash; (found = get_index(keys, at)) != DKIX_EMPTY;) {
		if (found == entry)
			return true;
		perturb >>= PERTURB_SHIFT;
		at = (at * 5 + perturb + 1) & mask;
	}
	return false;
}

static bool is_keys_right(PyDictKeysObject *keys)
{
	for (Py_ssize_t i = 0; i < keys->dk_nentries; i++) {
		PyObject *key = DK_IS_UNICODE(keys) ? DK_UNICODE_ENTRIES(keys)[i].me_key : DK_ENTRIES(keys)[i].me_key;

		if (key && !has_index(keys, PyObject_Hash(key), i))
			return false;
	}
	return true;
}

int hashes_check(void)
{
	for (size_t i = 0; i < dict_keys.n; i++)
		if (!is_keys_right(dict_keys.at[i]))
			return -1;
	for (size_t i = 0; i < sets.n; i++) {
		PySetObject *set = sets.at[i];

		for (Py_ssize_t k = 0; k <= set->mask; k++)
			if (set->table[k].key && set->table[k].hash != -1 &&
			    PySet_Contains((PyObject *)set, set->table[k].key) != 1)
				return -1;
	}
	return 0;
}
