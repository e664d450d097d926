#!/usr/bin/env bash
# What `make demo` shows: ingest the sample documents, then ask three questions. The argument is the ckllm command.
set -euo pipefail

ckllm=$1
documents=$(cd "$(dirname "$0")" && pwd)/documents

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

ask() {
    say "\$ ckllm ask \"$1\""
    "$ckllm" ask "$1"
}

say "\$ ckllm ingest examples/documents"
"$ckllm" ingest "$documents"
ask "When is a domestic meter replaced?"
ask "How long is a bucket of set honey left in the warming cabinet?"
ask "टंकी को कितनी बार साफ़ करना चाहिए?"

say "Now your own documents:"
cat <<END
  source .venv/bin/activate
  ckllm ingest ~/Documents            # files, folders, globs, URLs
  ckllm ask "…"                       # add --json for scripts
  ckllm search "…"                    # passages only
  ckllm documents list
The demonstration's documents are in $CKLLM_HOME: ckllm --home $CKLLM_HOME ask "…"
END
