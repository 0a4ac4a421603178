# UPAGE_CXX: finds a C++17 compiler, for an example; sets CXX, have_cxx, HAVE_CXX.
# SPDX-License-Identifier: GPL-2.0-or-later
#
# AC_PROG_CXX does not fail where there is none: it answers g++, which then compiles nothing.
# To be called before LT_INIT, which looks at it, and after AC_PROG_CC.
AC_DEFUN([UPAGE_CXX], [
  AC_REQUIRE([AC_PROG_CXX])
  AC_CACHE_CHECK([whether $CXX links C++17], [upage_cv_cxx17], [
    AC_LANG_PUSH([C++])
    upage_saved_CXXFLAGS=$CXXFLAGS
    CXXFLAGS="$CXXFLAGS -std=c++17 -pthread"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <map>
        #include <string>
        #include <thread>]],
      [[std::map<std::string, int> map;
        std::thread thread([&] { map["a"] = 1; });
        thread.join();
        auto [it, inserted] = map.try_emplace("a", 1);
        return inserted || it->second != 1;]])],
      [upage_cv_cxx17=yes], [upage_cv_cxx17=no])
    CXXFLAGS=$upage_saved_CXXFLAGS
    AC_LANG_POP([C++])
  ])
  have_cxx=$upage_cv_cxx17
  AM_CONDITIONAL([HAVE_CXX], [test "x$have_cxx" = xyes])
])
