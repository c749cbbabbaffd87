"""Eats memory until there is none."""
eaten = []
while True:
    eaten.append(b"x" * (8 << 20))
    print(f"{len(eaten) * 8} MiB eaten", flush=True)
