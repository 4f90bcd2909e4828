#!/usr/bin/env bash
# Holds docs/unsafe.md against the code: each file's `unsafe` (blocks, impls, functions) must be as many as the page's
# rows for it say. So no unsafe code comes in without its reason. Without a build; a second.
set -euo pipefail
cd "$(dirname "$0")/.."

in_code() {
    git ls-files -co --exclude-standard '*.rs' | sort | while read -r file; do
        count=$(grep -vE '^[[:space:]]*//' "$file" | grep -oE '\bunsafe[[:space:]]*(\{|impl\b|fn\b|extern\b|trait\b)' | wc -l || true)
        [[ $count == 0 ]] || echo "$file $count"
    done
}

in_page() {
    awk -F '|' '/^\| `/ { gsub(/[` ]/, "", $2); gsub(/ /, "", $4); sum[$2] += $4 } END { for (file in sum) print file, sum[file] }' \
        docs/unsafe.md | sort
}

if ! difference=$(diff <(in_page | sort) <(in_code | sort)); then
    echo "docs/unsafe.md (<) and the code (>) differ:"
    echo "$difference"
    exit 1
fi
echo "$(in_code | awk '{ sum += $2 } END { print sum }') times unsafe in $(in_code | wc -l) files, each with its reason in docs/unsafe.md"
