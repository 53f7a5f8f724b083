#!/usr/bin/env bash
# usage: deployments/check.sh
#
# What can be known of these files without a container engine and without
# systemd as the init process. The rest is in internal/docstest, which runs with
# all other tests: flags that exist, the image's stages, the compose file's
# structure and etcd's flags in it, the unit's settings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# How exposed the unit may be, in tenths, as systemd-analyze counts it.
exposure=18

need() {
	command -v "$1" >/dev/null || { echo "$1 is missing" >&2; exit 1; }
}
for program in go systemd-analyze readelf openssl; do need "$program"; done

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

echo "image: the programs, built as the Dockerfile does"
grep '^RUN .*\bgo build\b' deployments/Dockerfile | sed 's/^RUN //' >"$tmp/build"
[ -s "$tmp/build" ] || { echo "deployments/Dockerfile builds nothing" >&2; exit 1; }
OUT="$tmp" TARGETOS=linux TARGETARCH=$(go env GOARCH) sh -eu "$tmp/build"
for program in jurymastd jurymast; do
	if readelf --wide --program-headers --dynamic "$tmp/$program" | grep -E 'INTERP|NEEDED'; then
		echo "$program is linked dynamically" >&2
		exit 1
	fi
	"$tmp/$program" --help >/dev/null
done

# systemd-analyze verify only warns of what it doesn't know. It wants the program
# to be there, and the unit to bear its name.
echo "systemd: the unit"
sed "s|/usr/local/bin/jurymastd|$tmp/jurymastd|" deployments/jurymastd.service >"$tmp/jurymastd.service"
systemd-analyze verify "$tmp/jurymastd.service" >"$tmp/verify" 2>&1 || { cat "$tmp/verify" >&2; exit 1; }
if grep -v '^$' "$tmp/verify" >&2; then
	echo "systemd-analyze verify isn't content" >&2
	exit 1
fi
systemd-analyze security --offline=true --threshold="$exposure" --no-pager "$tmp/jurymastd.service" >"$tmp/security" ||
	{ cat "$tmp/security" >&2; exit 1; }
tail -n 1 "$tmp/security"

echo "compose: the secrets"
deployments/compose-secrets.sh "$tmp/secrets" >/dev/null
for host in localhost jurymast-1 jurymast-2; do
	openssl verify -CAfile "$tmp/secrets/ca.crt" -purpose sslserver -verify_hostname "$host" "$tmp/secrets/server.crt"
done
if deployments/compose-secrets.sh "$tmp/secrets" 2>/dev/null; then
	echo "compose-secrets.sh overwrites what is there" >&2
	exit 1
fi
