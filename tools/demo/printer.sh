# Prints 10 MiB: 655,360 numbered lines of 16 bytes.
exec seq -f '%015.0f' 1 655360
