#!/usr/bin/env bash
# Submits audio to hearken as a task, and prints the answer while it arrives.
#
#     HEARKEN_API_KEY=sk-... ./submit.sh AUDIO [MODEL] [PROMPT]
#
# AUDIO is a file or an http(s) URL. HEARKEN_URL is the server (default: http://127.0.0.1:8080). The answer goes to
# standard output; reasoning and messages go to standard error. The exit status is 0 if the task completes, else 1.
# Ctrl-C cancels the task. Needs bash, curl 7.55 and jq.
set -euo pipefail

fail() {
  printf '\nerror: %s\n' "$*" >&2
  exit 1
}

if (($# < 1 || $# > 3)) || [[ -z ${HEARKEN_API_KEY:-} ]]; then
  echo 'usage: HEARKEN_API_KEY=sk-... ./submit.sh AUDIO [MODEL] [PROMPT]' >&2
  exit 1
fi
audio=$1 model=${2:-local-inspect} prompt=${3:-Please transcribe this audio file}
server=${HEARKEN_URL:-http://127.0.0.1:8080}
server=${server%/}
max_retries=8 # How often one request is repeated before the script gives up.

# The files of this run. Only this user can read them.
umask 077
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# curl reads the key from a file, because every user of the machine can see the arguments of a command.
printf 'Authorization: Bearer %s\n' "$HEARKEN_API_KEY" >"$dir/key"

# Sends a request. curl's output goes to standard output; the head of the response goes to a file. After 90 seconds of
# silence, curl treats the connection as lost.
request() {
  : >"$dir/head"
  curl --silent --show-error --connect-timeout 10 --speed-limit 1 --speed-time 90 --header "@$dir/key" \
    --dump-header "$dir/head" "$@"
}

# Print the code of the error in $dir/body, and the whole error. Without an error of hearken's there, the connection was
# lost, or a proxy in front of hearken has answered.
error_code() { from_error .code connection; }
error() { from_error '"\(.code): \(.message)"' 'the connection was lost'; }
from_error() {
  local found
  found=$(jq -r ".error | objects | $1" "$dir/body" 2>"$dir/ignored") || true
  printf '%s\n' "${found:-$2}"
}

# Waits before the next attempt, and counts it in $retries. Ends the script if another attempt is useless.
try_again() {
  local seconds
  case $(error_code) in
    # These failures end by themselves.
    connection | idempotency_conflict | queue_full | rate_limit_exceeded) ;;
    shutting_down | storage_full | storage_unavailable) ;;
    *) fail "$(error)" ;;
  esac
  if ((retries == max_retries)); then fail "$(error)"; fi
  seconds=$(tr -d '\r' <"$dir/head" | awk 'tolower($1) == "retry-after:" && $2 ~ /^[0-9]+$/ { print $2 }')
  seconds=${seconds:-$((retries < 5 ? 1 << retries : 30))}
  echo "$(error); trying again in $seconds s" >&2
  retries=$((retries + 1))
  sleep "$seconds"
}

# Sends a request until it has an answer, which goes to $dir/body.
persist() {
  retries=0
  : >"$dir/body"
  until [[ $(request --output "$dir/body" --write-out '%{http_code}' "$@") == 2* ]]; do
    try_again
    : >"$dir/body"
  done
}

# Reads a stream of events, and prints the text of each chunk. Remembers the number of the last chunk in $last_id, and
# how the stream ended in $ending. An error goes to $dir/body.
read_events() {
  local line name='' id='' is_thinking=''
  # A line without a line end is a part of a frame, which is read again later, or the error of a refused request.
  while IFS= read -r line || [[ $line == '{'* ]]; do
    case $line in
      '{'*) printf '%s' "$line" >"$dir/body" ;;
      'event: '*) name=${line#event: } ;;
      'id: '*) id=${line#id: } ;;
      'data: '*)
        case $name in
          chunk)
            last_id=$id retries=0
            if [[ $line == *'"reasoning_content"'* ]]; then
              is_thinking=yes
              jq -j '.choices[0].delta.reasoning_content // empty' <<<"${line#data: }" >&2
            elif [[ -n $is_thinking ]]; then
              is_thinking=''
              echo >&2
            fi
            # A model that refuses to answer says so in `refusal`.
            jq -j '.choices[0].delta | .content // .refusal // empty' <<<"${line#data: }" | tee -a "$dir/text"
            ;;
          'done') ending='done' ;;
          error)
            ending=error
            printf '%s\n' "${line#data: }" >"$dir/body"
            ;;
        esac
        ;;
      # Anything else is a comment (a keep-alive), the hint `retry`, or the empty line that ends an event.
    esac
  done
}

# ---- Submit. However often the request is sent, the key makes it one task. ----

if [[ $audio == http://* || $audio == https://* ]]; then
  printf '%s' "$audio"
else
  [[ -f $audio && -r $audio ]] || fail "there is no file $audio that can be read"
  # hearken recognises the format by the bytes.
  printf 'data:application/octet-stream;base64,'
  base64 <"$audio" | tr -d '\n'
fi |
  jq --raw-input --slurp --compact-output --arg model "$model" --arg prompt "$prompt" \
    '{model: $model, prompt: $prompt, stream: true, reasoning: true, audio_url: .}' >"$dir/request"
key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
persist "$server/v1/llm/generations" --data-binary "@$dir/request" \
  --header 'Content-Type: application/json' --header "Idempotency-Key: $key"
task=$(jq -r .id "$dir/body")
stream=$server$(jq -r .stream.url "$dir/body")
echo "task $task" >&2

cancel() {
  persist --request POST "$server/v1/tasks/$task/cancel"
  fail 'cancelled'
}
trap cancel INT

# ---- Stream. After a lost connection, Last-Event-ID asks for the chunks that are missing. ----

last_id='' ending='' retries=0
: >"$dir/text"
until [[ -n $ending ]]; do
  resume=()
  if [[ -n $last_id ]]; then resume=(--header "Last-Event-ID: $last_id"); fi
  : >"$dir/body"
  # hearken sends a keep-alive every 15 seconds, so a silent connection is lost.
  read_events < <(request --no-buffer ${resume[@]+"${resume[@]}"} "$stream")
  # The chunks are kept for a limited time; the result is kept longer.
  if [[ $(error_code) == stream_expired ]]; then ending=expired; fi
  case $ending in
    '') try_again ;;
    error) fail "$(error)" ;;
  esac
done

# ---- Wait for the result. It has the whole text, so print what the stream did not. ----

persist "$server/v1/tasks/$task?wait=60"
while [[ $(jq -r .status "$dir/body") == p* ]]; do # pending, processing
  persist "$server/v1/tasks/$task?wait=60"
done
if [[ $(jq -r .status "$dir/body") == failed ]]; then fail "$(error)"; fi
jq -j '.results[0].choices[0].message | if .content then .content else .refusal end // empty' "$dir/body" >"$dir/whole"
tail -c "+$(($(wc -c <"$dir/text") + 1))" "$dir/whole"
echo
jq -r '.results[0] | "completed (\(.choices[0].finish_reason)), \(.usage.total_tokens) tokens"' "$dir/body" >&2
