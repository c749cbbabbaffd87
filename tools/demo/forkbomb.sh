# Makes processes until it is not allowed to, which a shell that may not fork says aloud. To wait for that forks nothing.
# shellcheck disable=SC2264 # that is the point
bomb() { bomb | bomb & }
bomb 2>said
why=
while [ "${why#*Cannot fork}" = "$why" ]; do read -r why <said; done
echo "the bomb went off until a shell said: Cannot fork"
