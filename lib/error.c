/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "error.h"

#include <errno.h>

#include "compiler.h"
#include "upage.h"

const char *error_words(int number)
{
	switch (number) {
#define WORDS(name, text)                                                                     \
	case name:                                                                            \
		return text;
	WORDS(EPERM, "Operation not permitted")
	WORDS(ENOENT, "No such file or directory")
	WORDS(ESRCH, "No such process")
	WORDS(EINTR, "Interrupted system call")
	WORDS(EIO, "Input/output error")
	WORDS(ENXIO, "No such device or address")
	WORDS(E2BIG, "Argument list too long")
	WORDS(ENOEXEC, "Exec format error")
	WORDS(EBADF, "Bad file descriptor")
	WORDS(ECHILD, "No child processes")
	WORDS(EAGAIN, "Resource temporarily unavailable")
	WORDS(ENOMEM, "Cannot allocate memory")
	WORDS(EACCES, "Permission denied")
	WORDS(EFAULT, "Bad address")
	WORDS(ENOTBLK, "Block device required")
	WORDS(EBUSY, "Device or resource busy")
	WORDS(EEXIST, "File exists")
	WORDS(EXDEV, "Invalid cross-device link")
	WORDS(ENODEV, "No such device")
	WORDS(ENOTDIR, "Not a directory")
	WORDS(EISDIR, "Is a directory")
	WORDS(EINVAL, "Invalid argument")
	WORDS(ENFILE, "Too many open files in system")
	WORDS(EMFILE, "Too many open files")
	WORDS(ENOTTY, "Inappropriate ioctl for device")
	WORDS(ETXTBSY, "Text file busy")
	WORDS(EFBIG, "File too large")
	WORDS(ENOSPC, "No space left on device")
	WORDS(ESPIPE, "Illegal seek")
	WORDS(EROFS, "Read-only file system")
	WORDS(EMLINK, "Too many links")
	WORDS(EPIPE, "Broken pipe")
	WORDS(EDOM, "Numerical argument out of domain")
	WORDS(ERANGE, "Numerical result out of range")
	WORDS(EDEADLK, "Resource deadlock avoided")
	WORDS(ENAMETOOLONG, "File name too long")
	WORDS(ENOLCK, "No locks available")
	WORDS(ENOSYS, "Function not implemented")
	WORDS(ENOTEMPTY, "Directory not empty")
	WORDS(ELOOP, "Too many levels of symbolic links")
	WORDS(ENOMSG, "No message of desired type")
	WORDS(EIDRM, "Identifier removed")
	WORDS(ECHRNG, "Channel number out of range")
	WORDS(EL2NSYNC, "Level 2 not synchronized")
	WORDS(EL3HLT, "Level 3 halted")
	WORDS(EL3RST, "Level 3 reset")
	WORDS(ELNRNG, "Link number out of range")
	WORDS(EUNATCH, "Protocol driver not attached")
	WORDS(ENOCSI, "No CSI structure available")
	WORDS(EL2HLT, "Level 2 halted")
	WORDS(EBADE, "Invalid exchange")
	WORDS(EBADR, "Invalid request descriptor")
	WORDS(EXFULL, "Exchange full")
	WORDS(ENOANO, "No anode")
	WORDS(EBADRQC, "Invalid request code")
	WORDS(EBADSLT, "Invalid slot")
	WORDS(EBFONT, "Bad font file format")
	WORDS(ENOSTR, "Device not a stream")
	WORDS(ENODATA, "No data available")
	WORDS(ETIME, "Timer expired")
	WORDS(ENOSR, "Out of streams resources")
	WORDS(ENONET, "Machine is not on the network")
	WORDS(ENOPKG, "Package not installed")
	WORDS(EREMOTE, "Object is remote")
	WORDS(ENOLINK, "Link has been severed")
	WORDS(EADV, "Advertise error")
	WORDS(ESRMNT, "Srmount error")
	WORDS(ECOMM, "Communication error on send")
	WORDS(EPROTO, "Protocol error")
	WORDS(EMULTIHOP, "Multihop attempted")
	WORDS(EDOTDOT, "RFS specific error")
	WORDS(EBADMSG, "Bad message")
	WORDS(EOVERFLOW, "Value too large for defined data type")
	WORDS(ENOTUNIQ, "Name not unique on network")
	WORDS(EBADFD, "File descriptor in bad state")
	WORDS(EREMCHG, "Remote address changed")
	WORDS(ELIBACC, "Can not access a needed shared library")
	WORDS(ELIBBAD, "Accessing a corrupted shared library")
	WORDS(ELIBSCN, ".lib section in a.out corrupted")
	WORDS(ELIBMAX, "Attempting to link in too many shared libraries")
	WORDS(ELIBEXEC, "Cannot exec a shared library directly")
	WORDS(EILSEQ, "Invalid or incomplete multibyte or wide character")
	WORDS(ERESTART, "Interrupted system call should be restarted")
	WORDS(ESTRPIPE, "Streams pipe error")
	WORDS(EUSERS, "Too many users")
	WORDS(ENOTSOCK, "Socket operation on non-socket")
	WORDS(EDESTADDRREQ, "Destination address required")
	WORDS(EMSGSIZE, "Message too long")
	WORDS(EPROTOTYPE, "Protocol wrong type for socket")
	WORDS(ENOPROTOOPT, "Protocol not available")
	WORDS(EPROTONOSUPPORT, "Protocol not supported")
	WORDS(ESOCKTNOSUPPORT, "Socket type not supported")
	WORDS(EOPNOTSUPP, "Operation not supported")
	WORDS(EPFNOSUPPORT, "Protocol family not supported")
	WORDS(EAFNOSUPPORT, "Address family not supported by protocol")
	WORDS(EADDRINUSE, "Address already in use")
	WORDS(EADDRNOTAVAIL, "Cannot assign requested address")
	WORDS(ENETDOWN, "Network is down")
	WORDS(ENETUNREACH, "Network is unreachable")
	WORDS(ENETRESET, "Network dropped connection on reset")
	WORDS(ECONNABORTED, "Software caused connection abort")
	WORDS(ECONNRESET, "Connection reset by peer")
	WORDS(ENOBUFS, "No buffer space available")
	WORDS(EISCONN, "Transport endpoint is already connected")
	WORDS(ENOTCONN, "Transport endpoint is not connected")
	WORDS(ESHUTDOWN, "Cannot send after transport endpoint shutdown")
	WORDS(ETOOMANYREFS, "Too many references: cannot splice")
	WORDS(ETIMEDOUT, "Connection timed out")
	WORDS(ECONNREFUSED, "Connection refused")
	WORDS(EHOSTDOWN, "Host is down")
	WORDS(EHOSTUNREACH, "No route to host")
	WORDS(EALREADY, "Operation already in progress")
	WORDS(EINPROGRESS, "Operation now in progress")
	WORDS(ESTALE, "Stale file handle")
	WORDS(EUCLEAN, "Structure needs cleaning")
	WORDS(ENOTNAM, "Not a XENIX named type file")
	WORDS(ENAVAIL, "No XENIX semaphores available")
	WORDS(EISNAM, "Is a named type file")
	WORDS(EREMOTEIO, "Remote I/O error")
	WORDS(EDQUOT, "Disk quota exceeded")
	WORDS(ENOMEDIUM, "No medium found")
	WORDS(EMEDIUMTYPE, "Wrong medium type")
	WORDS(ECANCELED, "Operation canceled")
	WORDS(ENOKEY, "Required key not available")
	WORDS(EKEYEXPIRED, "Key has expired")
	WORDS(EKEYREVOKED, "Key has been revoked")
	WORDS(EKEYREJECTED, "Key was rejected by service")
	WORDS(EOWNERDEAD, "Owner died")
	WORDS(ENOTRECOVERABLE, "State not recoverable")
	WORDS(ERFKILL, "Operation not possible due to RF-kill")
	WORDS(EHWPOISON, "Memory page has hardware error")
#undef WORDS
	}
	return "unknown error";
}

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
	return code < 0 && code > -4096 ? error_words(-code) : "unknown error";
}

PUBLIC const char *upage_version(void)
{
	return UPAGE_VERSION;
}
