# UPAGE_SANITIZER: --enable-sanitizer=LIST; sets SANITIZE_*, INSTRUMENTED.
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The fault path runs in signal context, where the run-time of address and thread crashes:
# it gets the part of LIST that only adds checks (undefined); everything else gets all of it.
# INSTRUMENTED: LIST holds more than that, so programs that take page faults cannot run.
AC_DEFUN([UPAGE_SANITIZER], [
  AC_ARG_ENABLE([sanitizer],
    [AS_HELP_STRING([--enable-sanitizer=LIST], [such as undefined; address,undefined; thread])],
    [], [enable_sanitizer=no])
  SANITIZE_CFLAGS= SANITIZE_FAULT_CFLAGS= SANITIZE_LDFLAGS= upage_instrumented=no
  AS_CASE([$enable_sanitizer],
    [no], [],
    [yes], [AC_MSG_ERROR([--enable-sanitizer needs a list, such as address,undefined])],
    [AC_CACHE_CHECK([whether $CC can link with -fsanitize=$enable_sanitizer],
       [AS_TR_SH([upage_cv_sanitize_$enable_sanitizer])], [
       upage_saved_CFLAGS=$CFLAGS
       CFLAGS="$CFLAGS -fsanitize=$enable_sanitizer"
       AC_LINK_IFELSE([AC_LANG_PROGRAM],
         [AS_VAR_SET([AS_TR_SH([upage_cv_sanitize_$enable_sanitizer])], [yes])],
         [AS_VAR_SET([AS_TR_SH([upage_cv_sanitize_$enable_sanitizer])], [no])])
       CFLAGS=$upage_saved_CFLAGS])
     AS_VAR_IF([AS_TR_SH([upage_cv_sanitize_$enable_sanitizer])], [yes], [],
       [AC_MSG_ERROR([$CC cannot link with -fsanitize=$enable_sanitizer])])

     SANITIZE_LDFLAGS="-fsanitize=$enable_sanitizer"
     SANITIZE_CFLAGS="$SANITIZE_LDFLAGS -fno-sanitize-recover=all -fno-omit-frame-pointer"
     AS_CASE([,$enable_sanitizer,], [*,undefined,*],
       [SANITIZE_FAULT_CFLAGS="-fsanitize=undefined -fno-sanitize-recover=all"])
     AS_IF([test "x$enable_sanitizer" != xundefined], [upage_instrumented=yes])])
  AM_CONDITIONAL([INSTRUMENTED], [test "x$upage_instrumented" = xyes])
  AC_SUBST([SANITIZE_CFLAGS])
  AC_SUBST([SANITIZE_FAULT_CFLAGS])
  AC_SUBST([SANITIZE_LDFLAGS])
])
