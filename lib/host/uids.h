/* Uids of processes of ours that are nobody's choice: no slot's, no engine's, no user's of the host. */
#pragma once

#define UID_PROBE  65533 /* the VMM of a microVM that only shows whether a guest starts here */
#define UID_READER 65532 /* who hears that guest on behalf of a supervisor */
#define UID_GUARD  65531 /* guards, and the group that may remove workspaces' control groups */
