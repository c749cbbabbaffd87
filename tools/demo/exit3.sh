# Fails on purpose.
echo "this program exits 3" >&2
exit 3
