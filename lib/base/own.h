/* Ownership: cleanup attributes on locals; TAKE_PTR() and take_fd() are the only ways out of a scope. */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup_(f) __attribute__((cleanup(f)))
#define cleanup_free cleanup_(own_freep)
#define cleanup_fd cleanup_(own_closep)
#define cleanup_file cleanup_(own_fclosep)
#define cleanup_dir cleanup_(own_closedirp)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define TAKE_PTR(p)                        \
	({                                 \
		__typeof__(p) *own_pp = &(p); \
		__typeof__(p) own_p = *own_pp; \
		*own_pp = NULL;            \
		own_p;                     \
	})

/* cleanup_(x_freep) for a type whose destructor is x_free(). */
#define DEFINE_FREEP(type, free_fn)                   \
	static inline void free_fn##p(type **p)       \
	{                                             \
		free_fn(*p);                          \
	}

static inline void own_freep(void *p)
{
	free(*(void **)p);
}

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Close and forget; accepts -1. The close error of a descriptor that we only read or already synced means nothing. */
static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static inline void own_closep(int *fd)
{
	close_fd(fd);
}

static inline void own_fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static inline void own_closedirp(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}
