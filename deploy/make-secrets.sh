#!/bin/sh
# Makes the files of secrets that compose.yaml wants, in deploy/secrets/: passwords and keys at random, those of the
# platforms empty, to be filled in. What is there already stays as it is.
set -eu
cd "$(dirname "$0")"
# Containers read the files as another user, and only through this folder does anybody else come to them.
umask 022
mkdir -p secrets
chmod 0700 secrets

random() { # random BYTES: as hexadecimal digits
    od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'
}

put() { # put NAME VALUE
    [ -e "secrets/$1" ] || printf '%s' "$2" >"secrets/$1"
}

put web__cookie_key "$(random 32)"
put telegram__webhook_secret "$(random 32)"
put postgres_password "$(random 24)"
put data__url "postgresql://zoudian:$(cat secrets/postgres_password)@postgres/zoudian"
for name in telegram__token wecom__secret wecom__token wecom__aes_key wecom__robots mp__secret mp__token mp__aes_key; do
    put "$name" ""
done
chmod 0444 secrets/*
echo "$PWD/secrets"
