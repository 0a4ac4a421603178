# UPAGE_ARCHIVE(NAME, ARCHIVE, LIBS, PROLOGUE, BODY): finds an archive for a shared library.
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sets upage_cv_archive_NAME to the path of ARCHIVE, or to no when it is absent, was not
# built as position-independent code, or needs more than LIBS (such as libstdc++).
# --with-NAME=PATH names another archive, --without-NAME declines it.
AC_DEFUN([UPAGE_ARCHIVE], [
  AC_ARG_WITH([$1],
    [AS_HELP_STRING([--with-$1=PATH], [path of $2])], [], [with_$1=yes])
  AC_CACHE_CHECK([for $2 to link into a shared library], [upage_cv_archive_$1], [
    upage_cv_archive_$1=no
    AS_CASE([$with_$1],
      [no], [],
      [AS_IF([test "x$with_$1" = xyes], [with_$1=`readlink -f "\`$CC -print-file-name=$2\`"`])
       upage_saved_LDFLAGS=$LDFLAGS
       upage_saved_LIBS=$LIBS
       LDFLAGS="$LDFLAGS -shared -fPIC -Wl,-z,defs"
       LIBS="$with_$1 $3 $LIBS"
       AC_LINK_IFELSE([AC_LANG_PROGRAM([$4], [$5])], [upage_cv_archive_$1=$with_$1])
       LDFLAGS=$upage_saved_LDFLAGS
       LIBS=$upage_saved_LIBS])
  ])
])
