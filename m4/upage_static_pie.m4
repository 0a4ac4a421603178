# UPAGE_STATIC_PIE: whether programs can be linked as static, position-independent ones; sets
# have_static_pie. It takes libc.a and rcrt1.o, which some distributions leave out.
# SPDX-License-Identifier: GPL-2.0-or-later
AC_DEFUN([UPAGE_STATIC_PIE], [
  AC_CACHE_CHECK([whether $CC links static position-independent programs],
    [upage_cv_static_pie], [
    upage_saved_CFLAGS=$CFLAGS upage_saved_LDFLAGS=$LDFLAGS
    CFLAGS="$CFLAGS -fPIE" LDFLAGS="$LDFLAGS -static-pie"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <stdio.h>]], [[return puts("")]])],
      [upage_cv_static_pie=yes], [upage_cv_static_pie=no])
    CFLAGS=$upage_saved_CFLAGS LDFLAGS=$upage_saved_LDFLAGS
  ])
  have_static_pie=$upage_cv_static_pie
])
