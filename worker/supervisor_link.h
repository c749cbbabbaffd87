/* The socket between a worker's supervisor and its engine. A message is one byte: the number of a lane, when the engine wants another
 * one, and when the supervisor brings it, with its socket; or, from the engine, that this host is fit. */
#pragma once

#include <stdbool.h>

enum engine_lane { ENGINE_LANE_DISK, ENGINE_LANE_VMM, ENGINE_LANE_COUNT };

/* The engine's side. */
int supervisor_ask_lane(int supervisor_fd, enum engine_lane lane); /* negative: the supervisor is gone */
void supervisor_tell_fit(int supervisor_fd); /* this host proved itself: the mark of an unfit one goes */
int supervisor_receive_lane(int supervisor_fd, enum engine_lane *ret_lane, int *ret_fd); /* negative: the supervisor is gone */

/* The supervisor's side. */
enum engine_wish {
	ENGINE_WISH_NONE, /* nothing, or nothing that it may say */
	ENGINE_WISH_LANE,
	ENGINE_WISH_FIT
};

enum engine_wish engine_receive_wish(int engine_fd, enum engine_lane *ret_lane);
void engine_give_lane(int engine_fd, enum engine_lane lane, int lane_fd); /* an engine that is gone is seen by its exit */
