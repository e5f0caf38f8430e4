#!/bin/sh
# sleeper.sh SECONDS [EXIT]: prints "sleeping", sleeps SECONDS, prints "awake" and exits EXIT (0).
# It is the shell that sleeps in a child, so TERM to the shell alone leaves `sleep` behind.
echo sleeping
sleep "$1"
echo awake
exit "${2:-0}"
