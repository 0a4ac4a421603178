# UPAGE_STATIC: whether static programs can be linked, for tests; sets HAVE_STATIC.
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The C library's archive is a package of its own on some systems. After UPAGE_SANITIZER.
AC_DEFUN([UPAGE_STATIC], [
  AC_CACHE_CHECK([whether $CC links static programs], [upage_cv_static], [
    upage_cv_static=yes
    upage_saved_CFLAGS=$CFLAGS
    upage_saved_LDFLAGS=$LDFLAGS
    for upage_flag in -static -static-pie; do
      CFLAGS="$upage_saved_CFLAGS -fPIE -pthread"
      LDFLAGS="$upage_saved_LDFLAGS $upage_flag $SANITIZE_LDFLAGS"
      AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <pthread.h>]],
          [[return pthread_join(pthread_self(), NULL);]])],
        [], [upage_cv_static=no])
    done
    CFLAGS=$upage_saved_CFLAGS
    LDFLAGS=$upage_saved_LDFLAGS
  ])
  have_static=$upage_cv_static
  AM_CONDITIONAL([HAVE_STATIC], [test "x$have_static" = xyes])
])
