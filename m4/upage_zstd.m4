# UPAGE_ZSTD: finds zstd, for a test of linked programs; sets have_zstd, HAVE_ZSTD, ZSTD_*.
# SPDX-License-Identifier: GPL-2.0-or-later
AC_DEFUN([UPAGE_ZSTD], [
  PKG_CHECK_MODULES([ZSTD], [libzstd >= 1.4], [have_zstd=yes], [have_zstd=no])
  AM_CONDITIONAL([HAVE_ZSTD], [test "x$have_zstd" = xyes])
])
