# SPDX-License-Identifier: GPL-2.0-or-later
#
# Lines to copy: how a program gets its whole heap into paged memory, without a change to its
# source. After "make install" of upage, "make -f linked.mk" here builds the examples so.
#
#   UPAGE_OPTIONS=memory=8M,stats ./hash_join
#
# (If upage is not in a standard place: PKG_CONFIG_PATH=PREFIX/lib/pkgconfig, and for the run
# LD_LIBRARY_PATH=PREFIX/lib, or link with -Wl,-rpath,PREFIX/lib.)

CFLAGS = -O2 -g -pthread -D_GNU_SOURCE
CXXFLAGS = -O2 -g -pthread -std=c++17

all: hash_join containers sqlite hash_join_static

# Dynamic: the one line. pkg-config answers -lupage-malloc, and keeps it although the linker
# sees no function that the program wants of it.
LDLIBS += $(shell pkg-config --libs upage-malloc)

hash_join: hash_join.c
containers: containers.cc
	$(CXX) $(CXXFLAGS) -o $@ $^ $(LDLIBS)
sqlite: sqlite_main.c sqlite_workload.c
	$(CC) $(CFLAGS) -o $@ $^ -lsqlite3 $(LDLIBS)

# Static: the whole program in one file, -static-pie too.
hash_join_static: hash_join.c
	$(CC) $(CFLAGS) -static -o $@ $^ $(shell pkg-config --static --libs upage-malloc)

# By hand: cc ... -Wl,-u,malloc -Wl,--no-as-needed -lupage-malloc -lupage
#
# Autotools:
#   PKG_CHECK_MODULES([UPAGE_MALLOC], [upage-malloc])
#   program_LDADD = $(UPAGE_MALLOC_LIBS)
#
# CMake:
#   find_package(PkgConfig REQUIRED)
#   pkg_check_modules(UPAGE_MALLOC REQUIRED IMPORTED_TARGET upage-malloc)
#   target_link_libraries(program PRIVATE PkgConfig::UPAGE_MALLOC)
#
# Meson:
#   executable('program', 'program.c', dependencies: dependency('upage-malloc'))

clean:
	rm -f hash_join containers sqlite hash_join_static
.PHONY: all clean
