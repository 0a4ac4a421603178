/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_switch.h - what the tests of switches share: spaces at the same addresses
 */
#ifndef UPAGE_TESTS_SUPPORT_SWITCH_H
#define UPAGE_TESTS_SUPPORT_SWITCH_H

#include "support_fork.h"

#define SPACES 4

/* A pool, and spaces of it that have the same addresses. */
struct process {
	struct machine machine; /* of the first */
	upage_space *space[SPACES];
	char *memory[SPACES];   /* what each maps: all the same */
};

static inline upage_space *space_in_window(upage_pool *pool, void *address, size_t length)
{
	struct upage_space_config config = UPAGE_SPACE_CONFIG_INIT;
	upage_space *space;
	config.address = address;
	config.length = length;
	config.flags = UPAGE_SPACE_WINDOW;
	ck_assert_ok(upage_space_create(&space, pool, &config));
	return space;
}

static inline char *map(upage_space *space, void *address, size_t pages)
{
	ck_assert_ok(upage_map(space, &address, pages * PAGE, RW, address != NULL ? UPAGE_MAP_FIXED : 0,
	                       NULL, 0));
	return address;
}

static inline struct process processes_make(const char *words, size_t length, size_t pages)
{
	struct process all;
	struct upage_config config = UPAGE_CONFIG_INIT;
	ck_assert_ok(upage_config_parse(&config, words));
	ck_assert_ok(upage_pool_create(&all.machine.pool, &config));
	for (unsigned i = 0; i < SPACES; i++) {
		void *address = i > 0 ? upage_space_base(all.space[0]) : NULL;
		all.space[i] = space_in_window(all.machine.pool, address, length);
		all.memory[i] = pages > 0 ? map(all.space[i], NULL, pages) : NULL;
		ck_assert_ptr_eq(upage_space_base(all.space[i]), upage_space_base(all.space[0]));
		ck_assert_ptr_eq(all.memory[i], all.memory[0]);
	}
	all.machine.space = all.space[0];
	return all;
}

static inline void processes_end(struct process *all)
{
	for (unsigned i = 1; i < SPACES; i++)
		ck_assert_ok(upage_space_destroy(all->space[i]));
	machine_end(all->machine);
}

/* 64 pages each, which hold its number. */
static inline struct process filled_processes(const char *words)
{
	struct process all = processes_make(words, 64 * MIB, 64);
	for (unsigned i = 0; i < SPACES; i++) {
		ck_assert_ok(upage_switch(all.space[i]));
		fill(all.memory[i], 64, i);
	}
	return all;
}

static inline void switch_and_look(struct process *all, unsigned rounds)
{
	for (unsigned n = 0; n < rounds; n++) {
		unsigned now = n % SPACES;
		ck_assert_ok(upage_switch(all->space[now]));
		ck_assert(holds(all->memory[now], 64, now));
	}
}

#endif
