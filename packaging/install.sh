#!/bin/sh
# Installs Semblance from the folder that this script is in.
#
#   sudo ./install.sh                      to /opt/semblance, with the command in /usr/local/bin and a systemd unit
#   PREFIX=$HOME/semblance ./install.sh    to another folder, for one user, without a unit
#   DESTDIR=stage ./install.sh             to a stage, for packages
#
# A second run is an upgrade: program and models are replaced, settings and data are kept.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
prefix=${PREFIX:-/opt/semblance}
target=${DESTDIR:-}$prefix
units=${DESTDIR:-}${UNIT_DIR:-/etc/systemd/system}
settings=${DESTDIR:-}/etc/semblance
commands=${DESTDIR:-}${COMMAND_DIR:-/usr/local/bin}

mkdir -p "$target"
# A running server has its program open and its models loaded: the new files are renamed into their place.
for part in bin models doc; do
    rm -rf "${target:?}/$part.new" "${target:?}/$part.old"
    cp -R "$here/$part" "$target/$part.new"
    if [ -e "$target/$part" ]; then mv "$target/$part" "$target/$part.old"; fi
    mv "$target/$part.new" "$target/$part"
    rm -rf "${target:?}/$part.old"
done
cp "$here/LICENSE" "$here/THIRD-PARTY.txt" "$here/sbom.json" "$target/"
echo "installed: $prefix"

if [ "$prefix" = /opt/semblance ]; then
    mkdir -p "$settings" "$commands"
    ln -sf /opt/semblance/bin/semblance "$commands/semblance"
    if [ ! -e "$settings/semblance.toml" ]; then
        cp "$here/semblance.toml" "$settings/"
        echo "installed: /etc/semblance/semblance.toml"
    fi
    if [ -n "${DESTDIR:-}" ] || [ -d /run/systemd/system ]; then
        mkdir -p "$units"
        cp "$here/semblance.service" "$units/"
        echo "installed: ${units#"${DESTDIR:-}"}/semblance.service"
        [ -n "${DESTDIR:-}" ] || echo "next: systemctl daemon-reload && systemctl enable --now semblance"
        exit 0
    fi
fi
echo "next: $prefix/bin/semblance serve"
