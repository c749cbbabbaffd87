/* Find objects in this process's memory by their type. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* A list that grows, of memory of its own: not the interpreter's, which is what is looked at. */
struct pointers {
	void **at;
	size_t n, room;
};

int pointers_add(struct pointers *pointers, void *pointer); /* 0, or -1 without memory */
void pointers_sort(struct pointers *pointers);		     /* and each of them once */
bool pointers_have(const struct pointers *pointers, const void *pointer); /* sorted */
void pointers_filter(struct pointers *pointers, bool (*keep)(void *pointer));

/* See what writable memory there is: first. What is mapped afterwards is not looked at. 0, or -1. */
int memory_look(void);

/* Does all of this lie in that memory? */
bool memory_holds(const void *from, size_t bytes);

/* `take` is called with every address in it whose ob_type is one of `types` (sorted); some are no object. Stops when that
 * fails. 0, or -1. */
int memory_scan(const struct pointers *types, int (*take)(PyObject *object));
