/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * error.h - the host's words for its errors
 *
 * A table of ours: strerror(3) may look up a translation, for which it needs the thread's locale, in
 * thread-local storage; C libraries have words of their own; and few have strerrordesc_np(3).
 *
 * Signal context: yes. Source: errno(3); include/uapi/asm-generic/errno.h of Linux.
 */
#ifndef UPAGE_ERROR_H
#define UPAGE_ERROR_H

/* What errno value @number means; "unknown error" of a number that is none. */
const char *error_words(int number);

#endif
