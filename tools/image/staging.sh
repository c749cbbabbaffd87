# Sourced by the builders: arguments they share, one builder at a time per state directory, a staging folder beside the
# result, and an atomic swap at the end. A builder that fails or is interrupted leaves the previous result untouched.

set -Eeuo pipefail
umask 022
export LC_ALL=C.UTF-8 TZ=UTC PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
builder=$(basename "$0")
state=${MAYFLY_STATE:-$repository/.mayfly}
staging=

say() { printf '%s: %s\n' "$builder" "$*" >&2; }

die() {
	say "$*"
	exit 1
}

# need COMMAND PACKAGE...: pairs of a command and the Debian package that brings it.
need() {
	while [ $# -gt 0 ]; do
		command -v "$1" >/dev/null || die "'$1' is missing; install it: apt-get install $2"
		shift 2
	done
}

trap 'say "failed at line $LINENO: $BASH_COMMAND"' ERR

sweep() {
	[ -z "$staging" ] || rm -rf --one-file-system "$staging"
}

# open_staging NAME: wait for other builders, remove what a killed one left, make $staging on the state's own file system.
open_staging() {
	mkdir -p "$state"
	exec 9>"$state/.build.lock"
	flock -n 9 || { say "another build is under way, waiting for it"; flock 9; }
	rm -rf --one-file-system "$state"/.staging.*
	staging=$state/.staging.$1
	trap sweep EXIT
	trap 'exit 130' INT TERM HUP
	mkdir "$staging"
}

# publish FROM TO: put a finished folder in the place of another one in a single step; renameat2(2) with RENAME_EXCHANGE.
publish() {
	mkdir -p "$(dirname "$2")"
	if [ -e "$2" ]; then
		perl -e 'exit(syscall(316, -100, $ARGV[0], -100, $ARGV[1], 2) != 0)' "$1" "$2" ||
			die "cannot swap '$1' and '$2'; is '$state' on one file system?"
	else
		mv -T "$1" "$2"
	fi
}

# manifest_says FILE KEY: the text value of a key, "" when there is none. The manifests have one key a line.
manifest_says() {
	[ -f "$1" ] && sed -n "s/^\t\"$2\": \"\\([^\"]*\\)\".*/\\1/p" "$1" | head -n 1
}

# manifest KEY VALUE...: a manifest on stdout, one pair a line. What comes here has no character that JSON escapes.
manifest() {
	local separator=

	printf '{'
	while [ $# -gt 0 ]; do
		printf '%s\n\t"%s": "%s"' "$separator" "$1" "$2"
		separator=,
		shift 2
	done
	printf '\n}\n'
}

sha256_of() { sha256sum <"$1" | cut -d' ' -f1; }
