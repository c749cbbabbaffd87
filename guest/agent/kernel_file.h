/* The small files of /proc and /sys through which the kernel is told and asked. */
#pragma once

/* Write a string to a file of /proc or /sys in one write. 0 or a negative errno. */
int write_file(const char *path, const char *text);

/* The start of a file of /proc or /sys, as text without its last newline. 0 or a negative errno. */
int read_file(const char *path, char *text, unsigned size);
