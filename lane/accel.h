/* What microVMs run on. */
#pragma once

enum accel { ACCEL_TCG, ACCEL_KVM, ACCEL_COUNT };

const char *accel_name(enum accel accel); /* as in results: "tcg", "kvm" */
