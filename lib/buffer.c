/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "buffer.h"

#include "host.h"

char *buffer_take(struct buffers *buffers)
{
	uint64_t free = atomic_load(&buffers->free);
	for (;;) {
		if (free == 0) { /* 64 transfers under way: one of them ends soon */
			host_yield();
			free = atomic_load(&buffers->free);
		} else if (atomic_compare_exchange_weak(&buffers->free, &free, free & (free - 1))) {
			size_t index = (size_t)__builtin_ctzll(free);
			return buffers->memory + (index << buffers->page_shift);
		}
	}
}

char *buffer_take_run(struct buffers *buffers, unsigned count)
{
	for (unsigned index = 0; index < BUFFERS; index += BUFFER_RUN_MAX) {
		uint64_t run = ((UINT64_C(1) << count) - 1) << index;
		uint64_t free = atomic_load(&buffers->free);
		while ((free & run) == run)
			if (atomic_compare_exchange_weak(&buffers->free, &free, free & ~run))
				return buffers->memory + ((size_t)index << buffers->page_shift);
	}
	return NULL;
}

void buffer_give_run(struct buffers *buffers, char *buffer, unsigned count)
{
	size_t index = (size_t)(buffer - buffers->memory) >> buffers->page_shift;
	atomic_fetch_or(&buffers->free, ((UINT64_C(1) << count) - 1) << index);
}

void buffer_give(struct buffers *buffers, char *buffer)
{
	buffer_give_run(buffers, buffer, 1);
}

bool buffer_is_zero(const char *buffer, size_t bytes)
{
	const uint64_t *words = (const uint64_t *)(const void *)buffer;
	for (size_t i = 0; i < bytes / sizeof(*words); i += 8)
		if (words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] |
		    words[i + 5] | words[i + 6] | words[i + 7])
			return false;
	return true;
}

bool buffers_are_equal(const char *one, const char *other, size_t bytes)
{
	const uint64_t *a = (const uint64_t *)(const void *)one, *b = (const uint64_t *)(const void *)other;
	for (size_t i = 0; i < bytes / sizeof(*a); i += 8) {
		uint64_t differ = 0;
		for (size_t j = i; j < i + 8; j++)
			differ |= a[j] ^ b[j];
		if (differ != 0)
			return false;
	}
	return true;
}
