# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The host touches a page that it has delegated: a user access is a SIGBUS, a kernel access an
# error or, where it runs over the end of a page, zeroes; and the page is good again once it is back.

. "${0%/*}/lib.sh"

load
rmi-client gpf || fail "see above"
echo 1 >"$component_debugfs/selftest/edge" || fail 'a load over the end of a page'
expect_value granules delegated 0
expect_value granules leaked 0
unload
pass
