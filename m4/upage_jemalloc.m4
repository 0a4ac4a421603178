# UPAGE_JEMALLOC: finds jemalloc 5, for the heap; sets HAVE_JEMALLOC, JEMALLOC_*.
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Needs the archive and not the shared library, whose malloc would become the program's own;
# and objcopy, which gives our private copy names of its own (see lib/Makefile.am).
AC_DEFUN([UPAGE_JEMALLOC], [
  AS_IF([test "x$OBJCOPY" = xno], [with_jemalloc=no])
  UPAGE_ARCHIVE([jemalloc], [libjemalloc_pic.a], [-lpthread -ldl -lm],
    [[#include <jemalloc/jemalloc.h>]],
    [[extent_hooks_t *hooks;
      size_t size = sizeof hooks;
      dallocx(mallocx(1, MALLOCX_ARENA(0)), 0);
      return mallctl("arena.0.extent_hooks", &hooks, &size, 0, 0);]])
  AS_IF([test "x$upage_cv_archive_jemalloc" != xno],
    [AC_DEFINE([HAVE_JEMALLOC], [1], [Define if jemalloc is linked into the library.])])
  AM_CONDITIONAL([HAVE_JEMALLOC], [test "x$upage_cv_archive_jemalloc" != xno])
  AC_SUBST([JEMALLOC_ARCHIVE], [$upage_cv_archive_jemalloc])
  AC_SUBST([JEMALLOC_LIBS], [-lpthread,-ldl,-lm])
])
