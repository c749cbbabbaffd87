"""Random choices of a test, with a seed that is printed: MAYFLY_SEED makes the same ones again."""
import os
import random


def seeded():
    seed = int(os.environ.get("MAYFLY_SEED") or random.randrange(1 << 32))
    print(f"MAYFLY_SEED={seed}", flush=True)
    return random.Random(seed)
