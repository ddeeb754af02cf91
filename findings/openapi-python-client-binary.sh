#!/usr/bin/env bash
# openapi-python-client 0.29.1: a file of an OpenAPI 3.1 form is a file only with the `format: binary` of OpenAPI 3.0.
#
# OpenAPI 3.1 dropped `format: binary`: a part of a multipart form that is raw bytes is `type: string` with
# `contentMediaType`, or has no type at all. The generator takes the former for text: the property of the generated
# class is a `str`, and what is sent has no file name and the type text/plain. With `format: binary` beside it, which
# JSON Schema allows as an annotation, the property is a `File`. So a document for generated clients has both.
#
# Prints what it sees; ends with 1 when that changed.
set -euo pipefail
VERSION=0.29.1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "openapi-python-client==$VERSION"

document() { # the schema of the part
    cat << EOF
{
  "openapi": "3.1.0",
  "info": {"title": "t", "version": "1"},
  "paths": {"/photos": {"post": {
    "operationId": "send",
    "requestBody": {"required": true, "content": {"multipart/form-data": {"schema": {
      "type": "object", "required": ["photo"], "properties": {"photo": $1}
    }}}},
    "responses": {"204": {"description": "taken"}}
  }}}
}
EOF
}

echo '{"post_hooks": []}' > "$work/config.json"
declare -A schemas=(
    [media_type]='{"type": "string", "contentMediaType": "image/jpeg"}'
    [both]='{"type": "string", "format": "binary", "contentMediaType": "image/jpeg"}'
)
declare -A expected=([media_type]='photo: str' [both]='photo: File')
echo "openapi-python-client $VERSION"
changed=0
for name in media_type both; do
    document "${schemas[$name]}" > "$work/$name.json"
    "$work/venv/bin/openapi-python-client" generate --path "$work/$name.json" --meta none \
        --config "$work/config.json" --output-path "$work/$name" > "$work/$name.log" 2>&1
    seen=$(grep -rhoE '^    photo: \w+$' "$work/$name/models" | sed 's/^ *//')
    echo "${schemas[$name]}: $seen"
    [ "$seen" = "${expected[$name]}" ] || changed=1
done
exit "$changed"
