/* Descriptors 0 to 2. Whoever starts a program may have closed them (`<&-`); the first file, socket or eventfd that it opens
 * would then become its standard input or output. Every main() begins with std_fds_fill(). */
#pragma once

#include <stdbool.h>

/* Opens /dev/null for each that is missing. A negative errno when that cannot be done: the program must not go on. */
int std_fds_fill(void);

/* Was it missing when this program began? Who needs it says so instead of reading nothing or writing into nothing. */
bool std_fds_was_closed(int fd);
