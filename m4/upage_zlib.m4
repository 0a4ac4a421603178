# UPAGE_ZLIB: finds zlib, for a test of linked programs; sets have_zlib, HAVE_ZLIB, ZLIB_*.
# SPDX-License-Identifier: GPL-2.0-or-later
AC_DEFUN([UPAGE_ZLIB], [
  PKG_CHECK_MODULES([ZLIB], [zlib], [have_zlib=yes], [have_zlib=no])
  AM_CONDITIONAL([HAVE_ZLIB], [test "x$have_zlib" = xyes])
])
