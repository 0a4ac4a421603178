# UPAGE_SIGSEGV: finds libsigsegv.a, which is required; sets SIGSEGV_ARCHIVE.
# SPDX-License-Identifier: GPL-2.0-or-later
AC_DEFUN([UPAGE_SIGSEGV], [
  UPAGE_ARCHIVE([sigsegv], [libsigsegv.a], [],
    [[#include <stddef.h>
      #include <sigsegv.h>
      static sigsegv_dispatcher areas;
      static int handler(void *address, int serious)
      { (void)serious; return sigsegv_dispatch(&areas, address); }]],
    [[sigsegv_init(&areas);
      sigsegv_register(&areas, NULL, 0, NULL, NULL);
      return sigsegv_install_handler(handler);]])
  AS_IF([test "x$upage_cv_archive_sigsegv" = xno],
    [AC_MSG_ERROR([libsigsegv was not found, or not as position-independent libsigsegv.a:
  install it (Debian: libsigsegv-dev), or name it with --with-sigsegv=/path/to/libsigsegv.a])])
  AC_SUBST([SIGSEGV_ARCHIVE], [$upage_cv_archive_sigsegv])
])
