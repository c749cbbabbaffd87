# Sourced by build-kernel: the small kernel, built from Debian's kernel source (the package linux-source) with
# guest/kernel/small.config. It starts in half of the stock kernel's time and has no modules. It takes the same command
# line and initrd format as the stock kernel, so it takes its place in <state>/kernel; --kernel stock puts that back.

# shellcheck disable=SC2034 # wanted_modules is build-kernel's
config=$repository/guest/kernel/small.config
[ -f "$config" ] || config=$repository/share/mayfly/kernel/small.config # installed

# The source package that matches the stock kernel's series, as NAME=VERSION.
resolve_source() {
	local name

	name=$(apt-cache depends linux-source | sed -n 's/^ *Depends: \(linux-source-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$name" ] || die "apt knows no linux-source; run apt-get update, on Debian 12 or later"
	echo "$name=$(apt-cache policy "$name" | sed -n 's/^ *Candidate: //p')"
}

# Every line of the config must have survived: a kernel that dropped one silently lacks what the agent needs.
check_config() { # TREE
	local line

	while read -r line; do
		case $line in
		CONFIG_*=n) ! grep -q "^${line%=n}=" "$1/.config" || die "the kernel insists on ${line%=n}" ;;
		CONFIG_*) grep -qxF "$line" "$1/.config" || die "the kernel did not take '$line' of $config" ;;
		esac
	done <"$config"
}

# Nothing of this machine or this moment goes into the kernel.
make_kernel() { # TREE TARGET...
	local tree=$1

	shift
	make -C "$tree" -s -j"$(nproc)" KBUILD_BUILD_USER=mayfly KBUILD_BUILD_HOST=mayfly \
		KBUILD_BUILD_TIMESTAMP="$source_date" KBUILD_BUILD_VERSION=1 "$@" >"$staging/log" 2>&1 || {
		tail -n 30 "$staging/log" >&2
		die "the kernel does not build; the end of what make said is above"
	}
}

compile() { # TREE
	make_kernel "$1" tinyconfig
	(cd "$1" && scripts/kconfig/merge_config.sh -m .config "$config" >"$staging/log" 2>&1)
	make_kernel "$1" olddefconfig
	check_config "$1"
	make_kernel "$1" vmlinux
}

# unpack PACKAGE: its source as $staging/source, dated like the package.
unpack() {
	local archive

	fetch "$1"
	archive=$(echo "$staging"/tree/usr/src/linux-source-*.tar.xz)
	source_date=$(date -u -d "@$(stat -c %Y "$archive")" +%FT%TZ)
	say "unpacking the kernel's source"
	mkdir "$staging/source"
	tar -xJf "$archive" -C "$staging/source" --strip-components=1
}

# The compiled kernel is kept by what it was made of, so that a new agent does not cost a new kernel.
ensure_compiled() { # PACKAGE KEPT
	[ ! -f "$2/release" ] || return 0
	unpack "$1"
	say "compiling the kernel (about five minutes on two processors)"
	compile "$staging/source"
	mkdir "$staging/kept"
	strip --strip-debug -o "$staging/kept/vmlinux" "$staging/source/vmlinux"
	echo "$source_date" >"$staging/kept/date"
	make -s -C "$staging/source" kernelrelease >"$staging/kept/release"
	publish "$staging/kept" "$2"
}

build_small() {
	local package inputs kept

	need make make gcc gcc flex flex bison bison bc bc xz xz-utils
	[ -f /usr/include/gelf.h ] || die "libelf's headers are missing; install them: apt-get install libelf-dev"
	package=$(resolve_source)
	wanted_modules=
	inputs=$(hash_inputs "$package" "$config" "$here/small-kernel.sh")
	if [ "$(manifest_says "$state/kernel/manifest.json" inputs)" = "$inputs" ]; then
		say "kernel bundle is up to date (small, ${package#*=})"
		return
	fi
	open_staging kernel
	kept=$state/cache/small-$({ echo "$package"; gcc --version; ld --version; cat "$config" "$here/small-kernel.sh"; } |
		sha256sum | cut -c1-32)
	ensure_compiled "$package" "$kept"
	mkdir "$staging/kernel"
	cp "$kept/vmlinux" "$staging/kernel/vmlinux"
	make_initrd
	write_manifest "$package" "$(cat "$kept/release")" "$inputs" "$(cat "$kept/date")"
	publish "$staging/kernel" "$state/kernel"
	say "kernel bundle ready: $state/kernel ($(cat "$kept/release"))"
}
