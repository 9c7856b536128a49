#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sourced after lib.sh: Debian packages through a private apt state in the cache.
#
# Some of what we need is in suites that a machine does not have: QEMU in backports, the
# kernel and firmware sources in the next release. The system's sources and lists stay as
# they are: mirror and keys are read from them, everything else lives in $CACHE/apt.

APT=$CACHE/apt

# The release this runs on: 12 or 13, or nothing if it is not one that we know.
debian_release() {
	# shellcheck source=/dev/null
	(. "${OS_RELEASE:-/etc/os-release}" 2>/dev/null && [[ ${ID:-} == debian ]] && case ${VERSION_ID:-} in
		12 | 13) echo "$VERSION_ID" ;;
		esac) || true
}

# entry_key FILE:NUMBER: the keyring that one entry of the system's sources names
entry_key() {
	local file=${1%:*} number=${1##*:}
	case $file in
	# Entries are numbered by stanza in one format and by line in the other.
	*.sources) awk -v n="$number" 'BEGIN { RS = ""; FS = "\n" } NR == n {
			for (i = 1; i <= NF; i++)
				if (tolower($i) ~ /^signed-by:[ \t]*\//) {
					sub(/^[^:]*:[ \t]*/, "", $i); print $i
				}
		}' "$file" ;;
	*) sed -n "${number}s/.*\[.*signed-by=\([^] ]*\).*\].*/\1/p" "$file" ;;
	esac
}

# system_entries: "suite URI keyring" of every Debian (not third-party) entry of the system
system_entries() {
	local suite uri entry keyring
	# shellcheck disable=SC2016 # the format is apt's
	apt-get indextargets --no-release-info \
		--format '$(RELEASE) $(REPO_URI) $(SOURCESENTRY) $(COMPONENT)' \
		'Created-By: Packages' 2>/dev/null | sort -u |
		while read -r suite uri entry component; do
			[[ $component == main ]] || continue
			keyring=$(entry_key "$entry")
			case $keyring:${uri%/} in
			*debian-archive*:* | :*/debian | :*/debian-security | :mirror+file:*) ;;
			*) continue ;;
			esac
			echo "$suite $uri ${keyring:-/usr/share/keyrings/debian-archive-keyring.gpg}"
		done
}

write_sources() {
	local codename=$1 suite uri keyring main='' extra
	while read -r suite uri keyring; do
		case $suite in
		"$codename" | "$codename-updates" | "$codename-security") ;;
		*) continue ;;
		esac
		echo "deb [signed-by=$keyring] $uri $suite main"
		if [[ $suite == "$codename" ]]; then main="[signed-by=$keyring] $uri"; fi
	done <<<"$(system_entries)"
	[[ $main ]] ||
		die "no mirror for Debian's suite '$codename' in this machine's apt sources"
	# The first is for QEMU, the second for the kernel, the last for the firmware.
	for extra in "$codename-backports" trixie-backports; do echo "deb $main $extra main"; done |
		sort -u
	echo "deb-src $main trixie main"
	echo "$main" >"$APT/mirror"
}

# Only what is named comes from the suites that the machine does not have.
write_preferences() {
	local codename=$1
	cat <<-END
		Package: *
		Pin: release n=*-backports
		Pin-Priority: 50

		Package: src:qemu
		Pin: release n=$codename-backports
		Pin-Priority: $([[ $codename == bookworm ]] && echo 600 || echo 50)

		Package: linux-source-7.3
		Pin: release n=trixie-backports
		Pin-Priority: 600
	END
}

# `#clear`: hooks that other packages put there to look after the system's lists. The user that
# root's apt downloads as could not reach a home directory, and would take our files over.
write_conf() {
	cat <<-END
		Dir::Etc::SourceList "$APT/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "$APT/preferences";
		Dir::Etc::PreferencesParts "/dev/null";
		Dir::State::Lists "$APT/lists";
		Dir::Cache "$APT/cache";
		Dir::Cache::pkgcache "";
		Dir::Cache::srcpkgcache "";
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		Acquire::Languages "none";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
		Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
		Acquire::Retries "3";
		APT::Install-Recommends "false";
		APT::Get::Assume-Yes "true";
		Dpkg::Use-Pty "false";
		DPkg::Lock::Timeout "600";
		APT::Sandbox::User "root";
	END
}

# apt_ready: the private state exists and its lists are younger than a day
apt_ready() {
	local codename
	if [[ -n $(find "$APT/ready" -mmin -1440 2>/dev/null) ]]; then return 0; fi
	case $(debian_release) in
	12) codename=bookworm ;;
	13) codename=trixie ;;
	*) die "this needs Debian 12 or 13, whose packages it takes" ;;
	esac
	mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial"
	write_sources "$codename" >"$APT/sources.list"
	write_preferences "$codename" >"$APT/preferences"
	write_conf >"$APT/apt.conf"
	say "reading package lists from $(cut -d ' ' -f 2 "$APT/mirror") into $APT"
	(logged "$APT/update.log" apt-get -c "$APT/apt.conf" update -q --error-on=any) ||
		die "cannot read Debian's package lists: is there a network, and a proxy where one is needed?"
	touch "$APT/ready"
}

# apt_download WHAT PACKAGE...: packages (WHAT: download) or sources (WHAT: source
# --download-only) into $CACHE/download; apt checks signatures and hashes
apt_download() {
	local what=$1
	shift
	apt_ready
	mkdir -p "$CACHE/download"
	# shellcheck disable=SC2086 # WHAT may be two words
	(cd "$CACHE/download" && logged "$CACHE/log/download.log" \
		apt-get -c "$APT/apt.conf" $what "$@")
}
