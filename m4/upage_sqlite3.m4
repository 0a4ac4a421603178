# UPAGE_SQLITE3: finds sqlite3, for the demo; sets have_sqlite3, HAVE_SQLITE3, SQLITE3_*.
# SPDX-License-Identifier: GPL-2.0-or-later
AC_DEFUN([UPAGE_SQLITE3], [
  PKG_CHECK_MODULES([SQLITE3], [sqlite3], [have_sqlite3=yes], [have_sqlite3=no])
  AM_CONDITIONAL([HAVE_SQLITE3], [test "x$have_sqlite3" = xyes])
])
