#!/bin/sh
# Signs every case of cases.json with the jose command; one JSON line a token on standard output.
set -eu
cd "$(dirname "$0")"
key=$(mktemp)
trap 'rm -f "$key"' EXIT
version=$(dpkg-query -W -f '${Version}' jose | cut -d - -f 1)
jq -c '.[]' cases.json | while read -r entry; do
  name=$(printf '%s\n' "$entry" | jq -r .case)
  printf '%s\n' "$entry" | jq -c '{kty: "oct", k: .secret}' >"$key"
  if token=$(printf '%s\n' "$entry" | jq -cj .claims |
    jose jws sig -I - -k "$key" -s '{"protected":{"alg":"HS256","typ":"JWT"}}' -c 2>&1); then
    jq -cn --arg v "$version" --arg c "$name" --arg t "$token" \
      '{library: "jose (latchset)", version: $v, language: "C", case: $c, token: $t}'
  else
    echo "jose (latchset) will not make $name: $(printf '%s\n' "$token" | head -n 1)" >&2
  fi
done
