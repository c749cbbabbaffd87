#include "guest/warm/python/memory_scan.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define GROWTH	     (1 << 14) /* pointers */
#define MAPPINGS_MAX 1024

int pointers_add(struct pointers *pointers, void *pointer)
{
	if (pointers->n == pointers->room) {
		size_t bytes = pointers->room * sizeof(void *), more = GROWTH * sizeof(void *);
		void *grown = pointers->at ? mremap(pointers->at, bytes, bytes + more, MREMAP_MAYMOVE) :
					     mmap(NULL, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (grown == MAP_FAILED)
			return -1;
		pointers->at = grown;
		pointers->room += GROWTH;
	}
	pointers->at[pointers->n++] = pointer;
	return 0;
}

static int compare(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)*(void *const *)a, y = (uintptr_t)*(void *const *)b;

	return x < y ? -1 : x > y;
}

void pointers_sort(struct pointers *pointers)
{
	size_t n = 0;

	if (pointers->n)
		qsort(pointers->at, pointers->n, sizeof(void *), compare);
	for (size_t i = 0; i < pointers->n; i++)
		if (i == 0 || pointers->at[i] != pointers->at[n - 1])
			pointers->at[n++] = pointers->at[i];
	pointers->n = n;
}

void pointers_filter(struct pointers *pointers, bool (*keep)(void *pointer))
{
	size_t n = 0;

	for (size_t i = 0; i < pointers->n; i++)
		if (keep(pointers->at[i]))
			pointers->at[n++] = pointers->at[i];
	pointers->n = n;
}

bool pointers_have(const struct pointers *pointers, const void *pointer)
{
	size_t low = 0, high = pointers->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (pointers->at[middle] == pointer)
			return true;
		if ((uintptr_t)pointers->at[middle] < (uintptr_t)pointer)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static int scan(uintptr_t from, uintptr_t to, const struct pointers *types, int (*take)(PyObject *))
{
	uintptr_t lowest = (uintptr_t)types->at[0], highest = (uintptr_t)types->at[types->n - 1];

	for (uintptr_t at = from; at + sizeof(PyObject) <= to; at += sizeof(void *)) {
		PyObject *object = (PyObject *)at;
		uintptr_t type = (uintptr_t)object->ob_type;

		if (type >= lowest && type <= highest && pointers_have(types, (void *)type) &&
		    at + (size_t)object->ob_type->tp_basicsize <= to && take(object) < 0)
			return -1;
	}
	return 0;
}

/* What the kernel maps by itself, and the lists, have no objects. */
static bool is_scanned(const char *line)
{
	char mode[8] = "", path[256] = "";

	(void)sscanf(line, "%*s %7s %*s %*s %*s %255s", mode, path);
	return strcmp(mode, "rw-p") == 0 && strcmp(path, "[stack]") != 0;
}

static struct range {
	uintptr_t from, to;
} ranges[MAPPINGS_MAX];
static size_t n_ranges;

bool memory_holds(const void *from, size_t bytes)
{
	uintptr_t at = (uintptr_t)from;

	for (size_t i = 0; i < n_ranges; i++)
		if (at >= ranges[i].from && at < ranges[i].to)
			return bytes <= ranges[i].to - at;
	return false;
}

int memory_look(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned long from, to;

	n_ranges = 0;
	while (file && fgets(line, sizeof(line), file) && n_ranges < MAPPINGS_MAX) {
		if (!is_scanned(line) || sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		if (n_ranges && ranges[n_ranges - 1].to == from)
			ranges[n_ranges - 1].to = to;
		else
			ranges[n_ranges++] = (struct range){ from, to };
	}
	if (file)
		(void)fclose(file);
	return n_ranges == 0 || n_ranges == MAPPINGS_MAX ? -1 : 0;
}

int memory_scan(const struct pointers *types, int (*take)(PyObject *))
{
	for (size_t i = 0; types->n && i < n_ranges; i++)
		if (scan(ranges[i].from, ranges[i].to, types, take) < 0)
			return -1;
	return 0;
}
