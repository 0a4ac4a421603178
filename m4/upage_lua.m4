# UPAGE_LUA: finds Lua 5.4, for a test of linked programs; sets have_lua, HAVE_LUA, LUA_*.
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian names the module lua5.4, others lua54, lua-5.4 or lua.
AC_DEFUN([UPAGE_LUA], [
  have_lua=no
  for upage_module in lua5.4 lua54 lua-5.4 lua; do
    AS_IF([test "x$have_lua" = xno && $PKG_CONFIG --exists "$upage_module >= 5.4"],
      [have_lua=yes
       LUA_CFLAGS=`$PKG_CONFIG --cflags $upage_module`
       LUA_LIBS=`$PKG_CONFIG --libs $upage_module`])
  done
  AC_MSG_CHECKING([for Lua 5.4])
  AC_MSG_RESULT([$have_lua])
  AC_SUBST([LUA_CFLAGS])
  AC_SUBST([LUA_LIBS])
  AM_CONDITIONAL([HAVE_LUA], [test "x$have_lua" = xyes])
])
