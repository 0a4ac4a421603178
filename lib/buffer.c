/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "buffer.h"

#include "host.h"

/* The buffers of these bits, which lie beside each other; NULL: they are not all free. */
static char *take(struct buffers *buffers, unsigned run, uint32_t bits)
{
	uint32_t free = atomic_load(&buffers->free[run]);
	do {
		if ((free & bits) != bits)
			return NULL;
	} while (!atomic_compare_exchange_weak(&buffers->free[run], &free, free & ~bits));
	size_t index = run * BUFFER_RUN_MAX + (size_t)__builtin_ctz(bits);
	return buffers->memory + (index << buffers->page_shift);
}

static uint32_t bits_of(unsigned count)
{
	return (uint32_t)((UINT64_C(1) << count) - 1);
}

char *buffer_take(struct buffers *buffers)
{
	for (;;) {
		for (unsigned run = 0; run < BUFFER_RUNS; run++) {
			uint32_t free = atomic_load(&buffers->free[run]);
			char *buffer = free != 0 ? take(buffers, run, free & -free) : NULL;
			if (buffer != NULL)
				return buffer;
		}
		host_yield(); /* BUFFERS transfers under way: one of them ends soon */
	}
}

char *buffer_take_run(struct buffers *buffers, unsigned count)
{
	char *buffer = NULL;
	for (unsigned run = 0; run < BUFFER_RUNS && buffer == NULL; run++)
		buffer = take(buffers, run, bits_of(count));
	return buffer;
}

void buffer_give_run(struct buffers *buffers, char *buffer, unsigned count)
{
	size_t index = (size_t)(buffer - buffers->memory) >> buffers->page_shift;
	atomic_fetch_or(&buffers->free[index / BUFFER_RUN_MAX], bits_of(count) << index % BUFFER_RUN_MAX);
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
