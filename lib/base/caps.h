/* Capabilities(7). */
#pragma once

/* Takes every capability that this kernel has out of the bounding set of this thread: no exec(2) brings one back. It needs
 * CAP_SETPCAP, and keeps what the thread holds now: that goes with its uid, or by capset(2). A negative errno. */
int caps_drop_bounding(void);
