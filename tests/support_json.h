/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * support_json.h - a reader of JSON (RFC 8259), with a path to look for
 */
#ifndef UPAGE_TESTS_SUPPORT_JSON_H
#define UPAGE_TESTS_SUPPORT_JSON_H

#include <stdbool.h>

#include "support.h"

/*
 * Each takes a value from *at on and moves *at behind it; false: that is none. The value at
 * `wanted`, such as "memory.frames" or "processes[2].pid", is left in `found`.
 */
struct reader {
	const char *at, *wanted;
	char path[256];
	size_t index; /* of the next element, in an array */
	const char *found;
	size_t found_length;
};

static inline bool json_value(struct reader *reader);

static inline void json_space(struct reader *reader)
{
	reader->at += strspn(reader->at, " \t\n\r");
}

static inline bool json_string(struct reader *reader)
{
	if (*reader->at != '"')
		return false;
	for (reader->at++;; reader->at++) {
		unsigned char c = (unsigned char)*reader->at;
		if (c == '"')
			break;
		if (c < 0x20) /* the end of the text too */
			return false;
		if (c != '\\')
			continue;
		c = (unsigned char)*++reader->at;
		if (c == 'u') {
			for (unsigned i = 0; i < 4; i++)
				if (strchr("0123456789abcdefABCDEF", *++reader->at) == NULL ||
				    *reader->at == '\0')
					return false;
		} else if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL) {
			return false;
		}
	}
	reader->at++;
	return true;
}

static inline bool json_digits(struct reader *reader)
{
	size_t digits = strspn(reader->at, "0123456789");
	reader->at += digits;
	return digits > 0;
}

static inline bool json_number(struct reader *reader)
{
	if (*reader->at == '-')
		reader->at++;
	const char *whole = reader->at;
	if (!json_digits(reader) || (*whole == '0' && reader->at > whole + 1))
		return false;
	if (*reader->at == '.') {
		reader->at++;
		if (!json_digits(reader))
			return false;
	}
	if (*reader->at == 'e' || *reader->at == 'E') {
		reader->at++;
		if (*reader->at == '+' || *reader->at == '-')
			reader->at++;
		return json_digits(reader);
	}
	return true;
}

static inline bool json_member(struct reader *reader)
{
	size_t length = strlen(reader->path);
	json_space(reader);
	const char *name = reader->at + 1;
	if (!json_string(reader))
		return false;
	snprintf(reader->path + length, sizeof(reader->path) - length, "%s%.*s", length ? "." : "",
	         (int)(reader->at - 1 - name), name);
	json_space(reader);
	bool valid = *reader->at == ':';
	if (valid) {
		reader->at++;
		valid = json_value(reader);
	}
	reader->path[length] = '\0';
	return valid;
}

static inline bool json_list(struct reader *reader, char end, bool (*element)(struct reader *))
{
	reader->at++;
	json_space(reader);
	if (*reader->at == end) {
		reader->at++;
		return true;
	}
	for (;;) {
		if (!element(reader))
			return false;
		json_space(reader);
		if (*reader->at == end)
			break;
		if (*reader->at != ',')
			return false;
		reader->at++;
	}
	reader->at++;
	return true;
}

static inline bool json_element(struct reader *reader)
{
	size_t length = strlen(reader->path), next = reader->index + 1;
	snprintf(reader->path + length, sizeof(reader->path) - length, "[%zu]", reader->index);
	bool valid = json_value(reader);
	reader->path[length] = '\0';
	reader->index = next;
	return valid;
}

static inline bool json_value(struct reader *reader)
{
	json_space(reader);
	const char *start = reader->at;
	reader->index = 0;
	bool valid = *start == '{'   ? json_list(reader, '}', json_member)
	             : *start == '[' ? json_list(reader, ']', json_element)
	             : *start == '"' ? json_string(reader)
	                             : json_number(reader);
	if (valid && strcmp(reader->path, reader->wanted) == 0) {
		reader->found = start;
		reader->found_length = (size_t)(reader->at - start);
	}
	return valid;
}

/* The value at @path in @text, as it is written; NULL: none. The text must be one value. */
static inline const char *json_find(const char *text, const char *path)
{
	static char value[1024];
	struct reader reader = { .at = text, .wanted = path };
	ck_assert_msg(json_value(&reader), "no JSON from here on: %.40s", reader.at);
	json_space(&reader);
	ck_assert_msg(*reader.at == '\0', "behind the object: %.40s", reader.at);
	if (reader.found == NULL)
		return NULL;
	snprintf(value, sizeof(value), "%.*s", (int)reader.found_length, reader.found);
	return value;
}

static inline bool json_is_valid(const char *text)
{
	struct reader reader = { .at = text, .wanted = "?" };
	if (!json_value(&reader))
		return false;
	json_space(&reader);
	return *reader.at == '\0';
}

#endif
