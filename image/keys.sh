#!/usr/bin/env bash
# Makes the keys of a vendor who has none yet; a real vendor keeps the private ones off the building machine's disk.
#
#   keys.sh FOLDER       nothing that is there already is touched
#
#   bundle-ca.pem bundle.pem bundle.key     X.509, who may sign updates (RAUC); the CA's key is thrown away
#   secureboot.pem secureboot.key           the db key of Secure Boot: signs boot loader and kernel images
#   support.pub support/                    who may ask for support sessions and read support bundles
#   channel/root.json channel/*.pem         TUF: the channel's first root, and the keys of its roles
set -euo pipefail
umask 077
folder=$1
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$folder/channel"
folder=$(cd "$folder" && pwd)

certificate_request() { openssl req -newkey rsa:3072 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$2" 2>/dev/null; }

if [ ! -e "$folder/bundle-ca.pem" ]; then
    cd "$folder"
    openssl req -x509 -newkey rsa:3072 -nodes -keyout bundle-ca.key -out bundle-ca.pem -days 7300 \
        -subj "/CN=Cellule updates" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
    certificate_request bundle "Cellule release"
    printf 'extendedKeyUsage=critical,codeSigning\nkeyUsage=critical,digitalSignature\n' >bundle.ext
    openssl x509 -req -in bundle.csr -CA bundle-ca.pem -CAkey bundle-ca.key -days 3650 -extfile bundle.ext -out bundle.pem 2>/dev/null
    rm -f bundle.csr bundle.ext bundle-ca.key bundle-ca.srl
fi
if [ ! -e "$folder/secureboot.pem" ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$folder/secureboot.key" -out "$folder/secureboot.pem" -days 7300 \
        -subj "/CN=Cellule boot" 2>/dev/null
fi
if [ ! -e "$folder/support.pub" ]; then
    (cd "$here" && python3 -m appliance.support.vendor keys "$folder/support")
    cp "$folder/support/support.pub" "$folder/support.pub"
fi
if [ ! -e "$folder/channel/root.json" ]; then
    (cd "$here" && python3 -m appliance.updating.publish --new-keys "$folder/channel")
fi
chmod 644 "$folder"/*.pem "$folder"/*.pub "$folder/channel/root.json"
