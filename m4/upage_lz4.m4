# UPAGE_LZ4: finds liblz4.a, for store=lz4; sets HAVE_LZ4, LZ4_ARCHIVE.
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The archive: the program may use a liblz4 of its own.
AC_DEFUN([UPAGE_LZ4], [
  UPAGE_ARCHIVE([lz4], [liblz4.a], [],
    [[#include <lz4.h>]],
    [[static char state[1 << 15], page[4096], block[4096];
      int length = LZ4_compress_fast_extState(state, page, block, sizeof page, sizeof block, 1);
      return LZ4_sizeofState() > (int)sizeof state ||
             LZ4_decompress_safe(block, page, length, sizeof page) < 0;]])
  AS_IF([test "x$upage_cv_archive_lz4" != xno],
    [LZ4_ARCHIVE=$upage_cv_archive_lz4
     AC_DEFINE([HAVE_LZ4], [1], [Define if liblz4 is linked into the library.])])
  AM_CONDITIONAL([HAVE_LZ4], [test "x$upage_cv_archive_lz4" != xno])
  AC_SUBST([LZ4_ARCHIVE])
])
