/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * generic.c - carries out a system call by the table's description of its arguments
 *
 * Each pointer into paged memory is replaced by one to a buffer, and afterwards what the kernel
 * wrote is copied out. A part that the kernel left alone must stay as it was: where the kernel
 * says how much it wrote just that is copied, else the buffer holds the program's bytes before,
 * and just what differs afterwards is copied.
 *
 * No state but on the stack. Signal context: see call.h.
 */
#include "table.h"

#include <string.h>
#include <sys/mman.h>

/* What became of an argument. */
struct passed {
	char *ours;    /* the buffer, or NULL: as the program gave it */
	char *theirs;
	size_t bytes;  /* of the buffer; behind it, of what is read and written, it as it was */
	uint32_t word; /* the size that it had in itself */
};

/* Bytes that an argument's count stands for; SIZE_MAX: more than there are. */
static size_t counted_bytes(const struct guest_argument *a, const long value[6])
{
	unsigned long count = (unsigned long)value[a->count];
	size_t bytes;
	if (a->flags & GUEST_COUNT_INT)
		count = (uint32_t)count;
	if (a->flags & GUEST_COUNT_BITS)
		return count == 0 ? 0 : ((count - 1) / 64 + ((count - 1) % 64 != 0)) * 8;
	return __builtin_mul_overflow(count, a->size, &bytes) ? SIZE_MAX : bytes;
}

/* The int behind the argument that is this one's count; -1: there is none. */
static int pointed_count(const struct guest_argument *a, const long value[6],
                         const struct passed passed[6])
{
	int count;
	const void *from = passed[a->count].ours;
	if (from != NULL)
		memcpy(&count, from, sizeof(count));
	else if (guest_copy_in(&count, (const void *)value[a->count], sizeof(count)) != 0)
		return -1;
	return count;
}

/* How much of an argument the kernel may look at. SIZE_MAX: none, it will refuse the count. */
static size_t find_bytes(const struct guest_argument *a, const long value[6],
                         struct passed passed[6], int i)
{
	size_t bytes;
	if (a->flags & (GUEST_COUNT_LONG | GUEST_COUNT_INT | GUEST_COUNT_BITS)) {
		bytes = counted_bytes(a, value);
		if (bytes <= a->most)
			return bytes;
		/* For a result a negative one is refused, too. */
		bool negative = (a->flags & GUEST_COUNT_INT) && (int)value[a->count] < 0;
		if (!(a->flags & GUEST_CLAMP) || (negative && a->kind != GUEST_IN))
			return SIZE_MAX;
		return a->most / a->size * a->size;
	}
	if (a->flags & GUEST_COUNT_POINTER) {
		int count = pointed_count(a, value, passed);
		if (count < 0)
			return SIZE_MAX;
		return (unsigned)count < a->most ? (unsigned)count : a->most;
	}
	if (a->flags & GUEST_COUNT_INSIDE) {
		const char *word = (const char *)value[i] + a->count;
		size_t least = a->count + sizeof(uint32_t);
		if (guest_copy_in(&passed[i].word, word, sizeof(uint32_t)) != 0)
			return SIZE_MAX;
		bytes = passed[i].word != 0 ? passed[i].word : a->size;
		return bytes < least || bytes > a->most ? least : bytes;
	}
	return a->size;
}

/* A string into a buffer. A path or name that is too long is replaced by another that is too
 * long: no kernel looks into it. Return: 0, or -ENOMEM. */
static int pass_string(struct guest_call *call, const struct guest_argument *a, long *value)
{
	if (!guest_is_paged((const void *)*value, a->size))
		return 0;
	char *ours = guest_buffer(call, (size_t)a->size + 1);
	if (ours == NULL)
		return -ENOMEM;
	long length = guest_copy_string(ours, (const char *)*value, a->size);
	if (length == -ENAMETOOLONG && a->size <= 4096) {
		memset(ours, 'x', a->size);
		ours[a->size] = '\0';
	} else if (length < 0) {
		return 0;
	}
	*value = (long)ours;
	return 0;
}

/* Whether the kernel may write a part, and we cannot know which. */
static bool is_partial(const struct guest_argument *a)
{
	return a->kind == GUEST_INOUT || (a->kind == GUEST_OUT && (a->flags & GUEST_ALWAYS));
}

/* Memory into a buffer, as far as the kernel reads it. Return: 0, or a negated errno value. */
static int pass_memory(struct guest_call *call, const struct guest_argument *a, long value[6],
                       struct passed passed[6], int i)
{
	struct passed *p = &passed[i];
	char *theirs = (char *)value[i];
	if (a->kind == GUEST_RANGE) /* of any length: `most` is the error */
		return guest_is_paged(theirs, (size_t)value[a->count]) ? -(int)a->most : 0;
	size_t bytes = find_bytes(a, value, passed, i);
	if (bytes == 0 || bytes == SIZE_MAX || !guest_is_paged(theirs, bytes))
		return 0;
	if (a->kind == GUEST_OUT) {
		/* Who says how much it wrote may be given more than there is room for. */
		bool says = a->flags & (GUEST_RESULT | GUEST_COUNT_POINTER);
		size_t needed = says ? 1 : bytes;
		if (guest_accessible(theirs, needed, PROT_WRITE) < needed)
			return 0;
	}
	bool partial = is_partial(a);
	char *ours = guest_buffer(call, partial ? 2 * bytes : bytes);
	if (ours == NULL)
		return -ENOMEM;
	if ((partial || a->kind == GUEST_IN) && guest_copy_in(ours, theirs, bytes) != 0)
		return 0;
	if (partial)
		memcpy(ours + bytes, ours, bytes);
	p->ours = ours;
	p->theirs = theirs;
	p->bytes = bytes;
	value[i] = (long)ours;
	if (a->flags & GUEST_CLAMP)
		value[a->count] = (long)(bytes / a->size);
	return 0;
}

/* Copies out what the kernel wrote. Return: whether the program's memory took it. */
static bool take_back(const struct guest_argument *a, const struct passed passed[6],
                      const long value[6], int i, long result)
{
	const struct passed *p = &passed[i];
	size_t bytes = p->bytes;
	if (a->flags & GUEST_COUNT_INSIDE) {
		/* The size that the kernel knows, where it refused ours: if it can be had. */
		const char *word = p->ours + a->count;
		if (memcmp(word, &p->word, sizeof(p->word)) != 0)
			guest_copy_out(p->theirs + a->count, word, sizeof(p->word));
		return true;
	}
	if (a->kind == GUEST_IN || (guest_is_error(result) && !(a->flags & GUEST_ALWAYS)))
		return true;
	if (a->flags & GUEST_RESULT) {
		size_t written;
		if (!__builtin_mul_overflow((size_t)result, a->size, &written) && written < bytes)
			bytes = written;
	} else if (a->flags & GUEST_COUNT_POINTER) {
		int written = pointed_count(a, value, passed);
		if (written >= 0 && (size_t)written < bytes)
			bytes = (size_t)written;
	}
	size_t from = 0;
	if (is_partial(a)) {
		const char *before = p->ours + p->bytes;
		while (from < bytes && p->ours[from] == before[from])
			from++;
		while (bytes > from && p->ours[bytes - 1] == before[bytes - 1])
			bytes--;
	}
	return guest_copy_out(p->theirs + from, p->ours + from, bytes - from) == 0;
}

static bool is_pointed(const struct guest_argument *a)
{
	return a->flags & GUEST_COUNT_POINTER;
}

/* Passes arguments, those last whose count another argument points to. */
static int pass_all(struct guest_call *call, const struct guest_argument argument[6],
                    long value[6], struct passed passed[6])
{
	int result = 0;
	for (int i = 0; i < 12 && result == 0; i++) {
		const struct guest_argument *a = &argument[i % 6];
		if (a->kind == GUEST_VALUE || value[i % 6] == 0 || is_pointed(a) != (i >= 6))
			continue;
		result = a->kind == GUEST_STRING ? pass_string(call, a, &value[i % 6])
		                                 : pass_memory(call, a, value, passed, i % 6);
	}
	return result;
}

long guest_carry(struct guest_call *call, const long values[6],
                 const struct guest_argument argument[6])
{
	struct passed passed[6];
	long value[6];
	for (int i = 0; i < 6; i++) {
		value[i] = values[i];
		passed[i].ours = NULL;
	}
	long result = pass_all(call, argument, value, passed);
	if (result < 0)
		return result;
	result = guest_execute(call, call->number, value[0], value[1], value[2], value[3],
	                       value[4], value[5]);
	if (result == GUEST_RESTART)
		return result;
	bool taken = true;
	for (int i = 0; i < 6; i++)
		if (passed[i].ours != NULL && !take_back(&argument[i], passed, value, i, result))
			taken = false;
	return taken ? result : -EFAULT;
}

long guest_generic(struct guest_call *call, const struct guest_entry *entry)
{
	if (entry == NULL || entry->refused)
		return -ENOSYS;
	return guest_carry(call, call->argument, entry->argument);
}

bool guest_take_copy(struct guest_call *call, long *pointer, size_t bytes)
{
	const void *theirs = (const void *)*pointer;
	if (theirs == NULL || bytes == 0 || !guest_is_paged(theirs, bytes))
		return true;
	void *ours = guest_buffer(call, bytes);
	if (ours == NULL)
		return false;
	if (guest_copy_in(ours, theirs, bytes) == 0)
		*pointer = (long)ours;
	return true;
}
