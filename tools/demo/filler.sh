# Fills its disk, and says how far it came.
dd if=/dev/zero of=fill bs=1M 2>errors
grep -q 'No space left on device' errors || { cat errors; exit 1; }
echo "the disk was full after $(($(stat -c %s fill) >> 20)) MiB"
