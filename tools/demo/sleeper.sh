# Outlives its limit, and does not want to hear of it.
trap 'echo "TERM is ignored"' TERM
echo "going to sleep for an hour"
while true; do sleep 3600; done
