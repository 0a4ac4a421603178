# UPAGE_MUSL: finds a compiler for musl, for the command; sets have_musl, HAVE_MUSL, MUSL_*.
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The command begins anew with each program that a program executes, and a static program of glibc
# asks the processor what it can do by some forty CPUID instructions first, each of which traps to
# the hypervisor where there is one. The same sources are compiled once more, against the headers
# of musl, behind which those of the kernel and of the archives are found where $CC finds them.
# musl-gcc knows of no -static-pie: that is put together here.
#
# --with-musl=COMPILER names another; --without-musl has the command made by $CC, as do sanitizers,
# and whatever fails here. To be called when build_run is known.
AC_DEFUN([UPAGE_MUSL], [
  AC_ARG_WITH([musl],
    [AS_HELP_STRING([--with-musl=CC], [compiler of the command upage, for musl (default: musl-gcc)])],
    [], [with_musl=yes])
  have_musl=no
  MUSL_CC=
  AS_IF([test "$build_run,$enable_sanitizer" != yes,no], [with_musl=no])
  AS_CASE([$with_musl],
    [no], [],
    [yes], [AC_CHECK_PROG([MUSL_CC], [musl-gcc], [musl-gcc])],
    [MUSL_CC=$with_musl])
  AS_IF([test -n "$MUSL_CC"], [
    upage_multiarch=`$CC -print-multiarch 2>/dev/null`
    MUSL_CPPFLAGS="-idirafter /usr/include${upage_multiarch:+ -idirafter /usr/include/$upage_multiarch}"
    dnl Where its start files are: it links with one of them by itself.
    upage_start=`$MUSL_CC -### -xc /dev/null 2>&1 | tr -d '"' | tr ' ' '\n' | sed -n 's,/S*crt1\.o$,,p'`
    MUSL_LDFLAGS="-nostartfiles"
    for upage_flag in -static -pie --no-dynamic-linker -z text -z now "$upage_start/rcrt1.o" \
                      "$upage_start/crti.o" "$upage_start/crtn.o"; do
      MUSL_LDFLAGS="$MUSL_LDFLAGS -Wl,$upage_flag"
    done
    AC_CACHE_CHECK([whether $MUSL_CC links static programs with libsigsegv], [upage_cv_musl], [
      upage_saved_CC=$CC
      upage_saved_CFLAGS=$CFLAGS
      upage_saved_LDFLAGS=$LDFLAGS
      upage_saved_LIBS=$LIBS
      CC=$MUSL_CC
      CFLAGS="$CFLAGS $MUSL_CPPFLAGS -fPIE -pthread"
      LDFLAGS="$LDFLAGS $MUSL_LDFLAGS"
      LIBS="$SIGSEGV_ARCHIVE $LZ4_ARCHIVE $LIBS"
      AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <features.h>
          #ifdef __GLIBC__
          #error "this is not for musl"
          #endif
          #include <asm/prctl.h>
          #include <linux/futex.h>
          #include <pthread.h>
          #include <sigsegv.h>
          #ifdef HAVE_LZ4
          #include <lz4.h>
          #else
          #define LZ4_sizeofState() 0
          #endif
          static int handler(void *address, int serious) { return address != NULL && serious; }]],
        [[return sigsegv_install_handler(handler) + LZ4_sizeofState() + pthread_atfork(0, 0, 0);]])],
        [upage_cv_musl=yes], [upage_cv_musl=no])
      CC=$upage_saved_CC
      CFLAGS=$upage_saved_CFLAGS
      LDFLAGS=$upage_saved_LDFLAGS
      LIBS=$upage_saved_LIBS
    ])
    have_musl=$upage_cv_musl])
  AS_CASE([$have_musl,$with_musl],
    [yes,*], [COMMAND_CC=$MUSL_CC],
    [no,yes | no,no], [COMMAND_CC=$CC MUSL_CPPFLAGS= MUSL_LDFLAGS=],
    [AC_MSG_ERROR([--with-musl: $MUSL_CC makes no static programs here: see config.log])])
  AM_CONDITIONAL([HAVE_MUSL], [test "x$have_musl" = xyes])
  AC_SUBST([COMMAND_CC])
  AC_SUBST([MUSL_CPPFLAGS])
  AC_SUBST([MUSL_LDFLAGS])
])
