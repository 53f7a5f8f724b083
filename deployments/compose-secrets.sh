#!/usr/bin/env bash
# usage: deployments/compose-secrets.sh [FOLDER]     (default: deployments/secrets)
#
# What compose.yaml needs and no repository may hold: an authority of its own, a
# certificate for the replicas, and the token of one admin. Refuses to overwrite.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=${1:-deployments/secrets}

[ ! -e "$dir/server.key" ] || { echo "$dir/server.key is there already; remove $dir to begin anew" >&2; exit 1; }
umask 077
mkdir -p "$dir"
cd "$dir"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
	-subj '/CN=Jurymast compose authority' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
	-keyout ca.key -out ca.crt 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=jurymast' \
	-keyout server.key -out server.csr 2>/dev/null
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -out server.crt \
	-extfile <(printf '%s\n' \
		'basicConstraints=critical,CA:false' \
		'keyUsage=critical,digitalSignature' \
		'extendedKeyUsage=serverAuth' \
		'subjectAltName=DNS:localhost,DNS:jurymast-1,DNS:jurymast-2,IP:127.0.0.1') 2>/dev/null
rm server.csr

openssl rand -hex 32 >token
printf 'principals:\n- {name: %s, role: admin, token_sha256: %s}\n' admin \
	"$(tr -d '\n' <token | openssl dgst -sha256 -r | cut -d' ' -f1)" >principals.yaml

# Compose mounts these three as they are, and the server runs as a user that this
# machine doesn't know. The folder itself stays closed to everybody else.
chmod 0644 server.crt server.key principals.yaml
echo "wrote ca.crt, server.crt, server.key, principals.yaml and token to $dir"
