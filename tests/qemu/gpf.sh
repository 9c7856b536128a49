# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The host touches a page that it has delegated: a user access is a SIGBUS, a kernel access an
# error or, where it runs over the end of a page, zeroes; and the page is good again once it is back. What the
# host keeps for I/O of what a realm has shared is not what the realm has there later.

. "${0%/*}/lib.sh"

load
rmi-client gpf || fail "see above"
echo 1 >"$component_debugfs/selftest/edge" || fail 'a load over the end of a page'
# The plain kernel has no io_uring.
case $(uname -r) in
*-debug* | *-fleet*) realm 60 fixed-buffer ;;
esac
nothing_left
unload
pass
