/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * workloads_lua.c - a Lua interpreter for one script
 *
 * Run: lua-native MIB SCRIPT     SCRIPT is workloads.lua; it gets MIB as its argument
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include "workloads.h"

int main(int argc, char **argv)
{
	lua_State *state = luaL_newstate();
	int status;

	if (argc != 3) {
		fprintf(stderr, "usage: %s MIB SCRIPT\n", argv[0]);
		return 2;
	}
	if (!state)
		fail("out of memory");
	luaL_openlibs(state);
	status = luaL_loadfile(state, argv[2]);
	if (status == LUA_OK) {
		lua_pushinteger(state, (lua_Integer)size_argument(argc, argv, 3, 1));
		status = lua_pcall(state, 1, 0, 0);
	}
	if (status != LUA_OK)
		fprintf(stderr, "%s\n", lua_tostring(state, -1));
	lua_close(state);
	return status == LUA_OK ? 0 : 1;
}
