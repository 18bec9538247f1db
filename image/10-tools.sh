#!/usr/bin/env bash
# Step 1: the tools root, a Debian 13 in a folder. Every later step runs its programs, so that what is built
# depends on this machine in nothing but its package mirror. Made once for each list of packages.
source "$(dirname "$0")/where.sh"

if [ ! -e "$TOOLS/complete" ]; then
    say "bootstrapping the tools root, once: about a minute"
    rm -rf "$TOOLS" "$TOOLS.new"
    mkdir -p "$CACHE"
    sources | mmdebstrap --mode=root --variant=apt --quiet \
        --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io \
        --include="$(names_in "$IMAGE/packages/tools.txt" | paste -sd,)" \
        "$SUITE" "$TOOLS.new" - \
        || die "the tools root could not be bootstrapped" "The lines above say why; the package mirror of this machine's apt is used."
    mv "$TOOLS.new" "$TOOLS"
    touch "$TOOLS/complete"
fi
