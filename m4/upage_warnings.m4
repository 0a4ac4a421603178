# UPAGE_WARNINGS: sets WARN_CFLAGS to those of our warnings that the compiler knows.
# SPDX-License-Identifier: GPL-2.0-or-later
AC_DEFUN([UPAGE_WARNINGS], [
  WARN_CFLAGS=
  for upage_flag in -Wall -Wextra -Wparentheses -Wstrict-prototypes -Wmissing-prototypes; do
    AS_VAR_PUSHDEF([upage_cache], [upage_cv_cc$upage_flag])
    AC_CACHE_CHECK([whether $CC accepts $upage_flag], [upage_cache], [
      upage_saved_CFLAGS=$CFLAGS
      CFLAGS="$CFLAGS -Werror $upage_flag"
      AC_COMPILE_IFELSE([AC_LANG_SOURCE([[extern int upage_probe;]])],
        [AS_VAR_SET([upage_cache], [yes])], [AS_VAR_SET([upage_cache], [no])])
      CFLAGS=$upage_saved_CFLAGS
    ])
    AS_VAR_IF([upage_cache], [yes], [WARN_CFLAGS="${WARN_CFLAGS:+$WARN_CFLAGS }$upage_flag"])
    AS_VAR_POPDEF([upage_cache])
  done
  AC_SUBST([WARN_CFLAGS])
])
