/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * error.c - the texts of error codes
 *
 * Signal context: yes.
 */
#include <string.h>

#include "compiler.h"
#include "upage.h"

PUBLIC const char *upage_strerror(int code)
{
	switch (code) {
	case UPAGE_OK:
		return "success";
#define X(name, value, text)                                                                  \
	case UPAGE_##name:                                                                    \
		return text;
		UPAGE_ERROR_MAP(X)
#undef X
	}
	const char *text = code < 0 && code > -4096 ? strerrordesc_np(-code) : NULL;
	return text != NULL ? text : "unknown error";
}

PUBLIC const char *upage_version(void)
{
	return UPAGE_VERSION;
}
