/* A result as a line of a table for people. */
#pragma once

#include <stdio.h>

#include "wire/result.h"

void result_line_head(FILE *to);
void result_line_print(const struct result *result, FILE *to);
