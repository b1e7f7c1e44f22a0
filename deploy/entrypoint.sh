#!/bin/sh
# The entrypoint of the images: airgap's verbs; and `cat`, for /app/model_inventory.json.
set -eu

inventory=/tmp/model_inventory.json # what the name in /app leads to

# Where several bundles are mounted, none of them is the inventory: `airgap list` names them.
link_the_only() {
    if [ $# -eq 1 ] && [ -e "$1" ]; then ln -sfn "$1" "$inventory"; fi
}

link_the_only "$AIRGAP_ROOT"/mounts/*/current/model_inventory.json || true # /tmp may be read-only
case "${1-}" in
cat) exec "$@" ;;
*) exec airgap "$@" ;;
esac
