# UPAGE_CHECK: finds libcheck, for the unit tests; sets have_check, HAVE_CHECK, CHECK_*.
# SPDX-License-Identifier: GPL-2.0-or-later
AC_DEFUN([UPAGE_CHECK], [
  PKG_CHECK_MODULES([CHECK], [check >= 0.11], [have_check=yes], [have_check=no])
  AM_CONDITIONAL([HAVE_CHECK], [test "x$have_check" = xyes])
])
