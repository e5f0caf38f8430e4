# A small agent for the fault campaign: tells in $WORLD/stamps when it begins and how it ends, and prints numbered lines.
#   agent.sh plain LINES PAUSE CODE           exits with CODE after so many lines
#   agent.sh flaky LINES PAUSE CODE           the same, and with 0 from its second launch on
#   agent.sh messy LINES PAUSE CODE           as plain, and leaves two processes behind
#   agent.sh fresh|resumed SESSION PROMPT     one with a provider: PROMPT is "LINES PAUSE LIMITS"
# A stamp is one write to a file that is only appended to, so their order is the order in which things happened.
cd "$WORLD" || exit 99
me="$TIDEGATE_JOB $TIDEGATE_ATTEMPT $$" kind=$1 n=0
stamp() { echo "$*" >>stamps; }

trap 'stamp end "$me" TERM $n; exit 143' TERM
old=
[ -e "alive/$TIDEGATE_JOB" ] && read -r old <"alive/$TIDEGATE_JOB"
echo $$ >"alive/$TIDEGATE_JOB"
if [ -n "$old" ] && [ "$old" != $$ ] && kill -0 "$old" 2>/dev/null &&
  tr '\0' '\n' <"/proc/$old/environ" 2>/dev/null | grep -qx "TIDEGATE_JOB=$TIDEGATE_JOB"; then
  stamp twice "$me" "$old"
fi
stamp start "$me"

leave() { # leave CODE
  trap '' TERM
  stamp end "$me" "$1" "$n"
  exit "$1"
}

work() { # work LINES PAUSE: two lines for each step, the one on stderr first
  while [ $n -lt "$1" ]; do
    n=$((n + 1))
    echo "error $n" >&2
    echo "line $n"
    sleep "$2"
  done
}

frame() { echo "{\"type\":\"$1\",\"session_id\":\"$session\",$2}"; }

answer() { # answer LINES PAUSE: goes on behind what the session has done
  read -r _ done _ <"sessions/$session"
  while [ "$done" -lt "$1" ]; do
    n=$((n + 1)) done=$((done + 1))
    frame assistant "\"message\":{\"id\":\"msg_$n\",\"model\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\"line $done\"}],\"usage\":{\"input_tokens\":10}}"
    frame rate_limit_event "\"rate_limit_info\":{\"status\":\"allowed\",\"rateLimitType\":\"five_hour\",\"utilization\":0.0$((done % 10))}"
    echo "$TIDEGATE_JOB $done" >"sessions/$session"
    sleep "$2"
  done
}

refuse() { # refuse EPOCH
  stamp refuse "$me" "$1"
  frame rate_limit_event "\"rate_limit_info\":{\"status\":\"rejected\",\"resetsAt\":$1,\"rateLimitType\":\"five_hour\"}"
  frame result "\"subtype\":\"success\",\"is_error\":true,\"result\":\"You've hit your limit\",\"num_turns\":$n"
  leave 1
}

provider() { # provider LIMITS: says no until its time; a job that has not used up its LIMITS brings a new time
  exec 9>>provider.lock
  flock 9 # two at once bring two times
  read -r until <provider
  now=$(date +%s)
  used=0
  [ -e "limits/$TIDEGATE_JOB" ] && read -r used <"limits/$TIDEGATE_JOB"
  if [ "$used" -lt "$1" ]; then
    echo $((used + 1)) >"limits/$TIDEGATE_JOB"
    [ "$until" -gt "$now" ] && until=$((until + 2)) || until=$((now + 2)) # one second later is the same end
    echo $until >"provider.$$" && mv "provider.$$" provider
  fi
  exec 9>&-
  [ "$until" -gt "$now" ] && refuse $until
}

case $kind in
plain)
  work "$2" "$3"
  leave "$4"
  ;;
flaky)
  work "$2" "$3"
  [ -e "failed/$TIDEGATE_JOB" ] && leave 0
  : >"failed/$TIDEGATE_JOB"
  leave "$4"
  ;;
messy)
  (sleep 300 >/dev/null 2>&1 &)
  setsid sleep 300 >/dev/null 2>&1 &
  work "$2" "$3"
  leave "$4"
  ;;
fresh | resumed)
  session=$2
  if [ "$kind" = fresh ]; then
    [ -e "sessions/$session" ] && stamp again "$me" "$session"
    echo "$TIDEGATE_JOB 0 $3" >"sessions/$session"
    echo "$3" >"plans/$TIDEGATE_JOB"
  fi
  read -r owner _ <"sessions/$session"
  [ "$owner" = "$TIDEGATE_JOB" ] || stamp stranger "$me" "$session" "$owner"
  frame system '"subtype":"init"'
  read -r lines pause limits <"plans/$TIDEGATE_JOB"
  provider "$limits"
  answer "$lines" "$pause"
  frame result "\"subtype\":\"success\",\"is_error\":false,\"result\":\"$TIDEGATE_JOB did $lines\",\"num_turns\":$n"
  leave 0
  ;;
esac
