#!/usr/bin/env bash
# What `make demo` shows: ingest the sample documents, then ask three questions. The argument is the ckllm command.
set -euo pipefail

ckllm=$1
documents=$(cd "$(dirname "$0")" && pwd)/documents

bold='' plain=''
if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

ask() {
    say "\$ ckllm ask \"$1\""
    "$ckllm" ask "$1"
}

say "\$ ckllm ingest examples/documents"
"$ckllm" ingest "$documents"
ask "When is a domestic meter replaced?"
ask "How long does the generator's fuel last?"
ask "¿A los cuántos días nace la reina?"

say "Now your own documents:"
cat <<END
  source .venv/bin/activate
  ckllm ingest ~/Documents            # files, folders, globs, URLs
  ckllm ask "…"                       # add --json for scripts
  ckllm search "…"                    # passages only
  ckllm documents list
The demonstration's documents are in $CKLLM_HOME: ckllm --home $CKLLM_HOME ask "…"
END
