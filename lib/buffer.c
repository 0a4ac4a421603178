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

void buffer_give(struct buffers *buffers, char *buffer)
{
	size_t index = (size_t)(buffer - buffers->memory) >> buffers->page_shift;
	atomic_fetch_or(&buffers->free, UINT64_C(1) << index);
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
