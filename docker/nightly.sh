#!/bin/sh
# The scheduler of docker/compose.yml: runs the job every day at $GEOCORRECT_AT (HH:MM, UTC), for ever.
# GEOCORRECT_AT=now runs it once and ends with its exit code. The arguments are those of `geocorrect run`.
# SIGTERM is passed on; a job at work then finishes what it has at hand. $ALIVE is touched while all is well: not any
# more when $GEOCORRECT_FAILURES jobs in a row (2) have failed, until one succeeds.
set -u
at=${GEOCORRECT_AT:-02:30}
alive=${ALIVE:-/tmp/geocorrect-alive}
allowed=${GEOCORRECT_FAILURES:-2}
failed=0
job=
stopping=

stop() {
  stopping=yes
  if [ -n "$job" ]; then kill -TERM "$job" 2>/dev/null; fi
}
trap stop TERM INT

# A background sleep, because a trap waits for a foreground one.
nap() {
  [ "$failed" -ge "$allowed" ] || touch "$alive"
  sleep "$1" &
  wait $!
}

wait_for_the_hour() {
  due=$(date -u -d "today $at" +%s) || exit 2
  if [ "$due" -le "$(date -u +%s)" ]; then due=$((due + 86400)); fi
  while [ -z "$stopping" ] && [ "$(date -u +%s)" -lt "$due" ]; do nap 10; done
}

run_job() {
  geocorrect --log-format json --log-level info run "$@" &
  job=$!
  while kill -0 "$job" 2>/dev/null; do nap 1; done
  wait "$job"
  code=$?
  job=
  # 75: another run holds the scene. 9: holes in the harvest, asked for again tomorrow. 130, 143: on request.
  case $code in
    75 | 130 | 143) ;;
    0 | 9) failed=0 ;;
    *)
      failed=$((failed + 1))
      echo "geocorrect-nightly: the job failed with exit code $code, $failed in a row" >&2
      ;;
  esac
}

code=0
while [ -z "$stopping" ]; do
  [ "$at" = now ] || wait_for_the_hour
  [ -n "$stopping" ] || run_job "$@"
  [ "$at" != now ] || break
done
exit "$code"
