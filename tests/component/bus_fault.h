/* Faults in the bus member's transactions, at points that a test names: the member links librdkafka's calls through here. */
#pragma once

#include <stdbool.h>

/* "die=POINT:N", "stop=POINT:N" (a SIGSTOP to itself), "lose=POINT:N" (the call answers that its outcome is not known),
 * "late=POINT:N" (it is believed to be made once the file "go" in the working directory exists): the Nth time that
 * the publisher comes to POINT: init begin send sent commit midway committed; for lose: commit (was not made), committed (was made).
 * "plain": no transactions; "highest": offsets of what was seen, not of what is done. false: not a
 * fault. */
bool bus_fault_add(const char *text);

/* For "highest". */
void bus_fault_seen(int partition, long long offset);
