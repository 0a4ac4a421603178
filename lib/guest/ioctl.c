/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioctl.c - ioctl(2)
 *
 * In this order:
 * 1. requests whose argument has pointers in it, or no fixed length, have code here;
 * 2. requests in the table of ioctl_table.c are what that says: those from before numbers said
 *    anything, and those whose numbers say something wrong;
 * 3. other numbers say direction and length (asm-generic/ioctl.h);
 * 4. where a number says nothing (0x5401, _IO()) and the argument is an address in paged memory,
 *    up to OLD_BYTES from there are copied in and, as far as the kernel changed them, out again.
 *
 * A driver's own structures with pointers in them (DRM, V4L2, ALSA's transfers, USB, NVMe, KVM)
 * are not taken apart: paged memory that such a pointer leads to is EFAULT.
 *
 * Locks: none. Signal context: that of guest/call.h. Source: the headers; ioctl_list(2).
 */
#include "ioctl.h"

#include <linux/blkpg.h>
#include <linux/fiemap.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/kd.h>
#include <linux/net_tstamp.h>
#include <linux/perf_event.h>
#include <linux/route.h>
#include <linux/sockios.h>
#include <linux/spi/spidev.h>
#include <linux/wireless.h>
#include <scsi/sg.h>
#include <string.h>

#include "handlers.h"
#include "vector.h"

#define OLD_BYTES ((size_t)256)
#define DRIVER_BYTES ((size_t)64 << 10) /* the most that an inner structure of unknown length has */

static const void *argument_of(const struct guest_call *call)
{
	return (const void *)call->argument[2];
}

/* ---- Inner pointers ----------------------------------------------------------------------- */

/*
 * A structure with one pointer in it. The kernel gets a copy with another pointer; of the copy
 * all but the pointer is copied out.
 */
struct nested {
	struct guest_bounce outer, inner;
};

/* @outer: already begun. @pointer: in the copy. */
static long nested_end(struct guest_call *call, struct nested *n, void *copy, void **pointer)
{
	void *theirs = *pointer;
	*pointer = n->inner.ours;
	long result = request_replace(call, 2, copy);
	*pointer = theirs;
	return bounce_end(&n->outer, bounce_end(&n->inner, result));
}

/* Begins the outer structure. Return: a copy of it that may be changed, NULL: hand the call on
 * (or *@failure: no memory). */
static void *nested_begin(struct guest_call *call, struct nested *n, size_t length, int *failure)
{
	const void *theirs = argument_of(call);
	*failure = bounce_begin(&n->outer, call, theirs, length, BOUNCE_BOTH);
	if (*failure < 0 || n->outer.ours != n->outer.theirs)
		return *failure < 0 ? NULL : n->outer.ours;
	/* Not paged, or bad: the copy is made here, and what is stored in it copied back. */
	if (guest_is_paged(theirs, length))
		return NULL;
	char *ours = guest_buffer(call, 2 * length);
	*failure = ours == NULL ? -ENOMEM : 0;
	if (ours == NULL || guest_copy_in(ours, theirs, length) != 0)
		return NULL;
	n->outer.ours = ours;
	n->outer.before = memcpy(ours + length, ours, length);
	return ours;
}

/* A structure of @length bytes whose pointer at @offset leads to @bytes (exactly, or at most). */
static long nested_ioctl(struct guest_call *call, size_t length, size_t offset, size_t bytes,
                         bool bounded, enum bounce_how how)
{
	struct nested n;
	int failure;
	char *copy = nested_begin(call, &n, length, &failure);
	if (copy == NULL)
		return failure < 0 ? failure : guest_hand_on(call);
	void **pointer = (void **)(void *)(copy + offset);
	failure = bounded ? bounce_begin_bounded(&n.inner, call, *pointer, bytes, how)
	                  : bounce_begin(&n.inner, call, *pointer, bytes, how);
	return failure < 0 ? failure : nested_end(call, &n, copy, pointer);
}

/* ---- Networks ----------------------------------------------------------------------------- */

static long ioctl_interfaces(struct guest_call *call)
{
	struct ifconf list;
	if (guest_copy_in(&list, argument_of(call), sizeof(list)) != 0 || list.ifc_len < 0)
		return guest_hand_on(call);
	return nested_ioctl(call, sizeof(list), offsetof(struct ifconf, ifc_ifcu),
	                    (size_t)list.ifc_len, true, BOUNCE_OUT);
}

static long ioctl_socket_filter(struct guest_call *call)
{
	struct sock_fprog program;
	if (guest_copy_in(&program, argument_of(call), sizeof(program)) != 0)
		return guest_hand_on(call);
	return nested_ioctl(call, sizeof(program), offsetof(struct sock_fprog, filter),
	                    program.len * sizeof(struct sock_filter), false, BOUNCE_IN);
}

/* ---- Files and disks ---------------------------------------------------------------------- */

/* A range, and as many other files as its counter says that shall share it. */
static long ioctl_duplicates(struct guest_call *call)
{
	struct file_dedupe_range range;
	if (guest_copy_in(&range, argument_of(call), sizeof(range)) != 0)
		return guest_hand_on(call);
	return request_bounce(call, 2, sizeof(range) + range.dest_count * sizeof(range.info[0]),
	                      BOUNCE_BOTH);
}

static long ioctl_partition(struct guest_call *call)
{
	struct blkpg_ioctl_arg request;
	if (guest_copy_in(&request, argument_of(call), sizeof(request)) != 0 || request.datalen < 0)
		return guest_hand_on(call);
	return nested_ioctl(call, sizeof(request), offsetof(struct blkpg_ioctl_arg, data),
	                    (size_t)request.datalen, true, BOUNCE_IN);
}

/* The map of a file's extents. Records are only written, and only as many as there are. */
static long ioctl_extents(struct guest_call *call)
{
	const char *theirs = argument_of(call);
	struct fiemap header;
	if (guest_copy_in(&header, theirs, sizeof(header)) != 0)
		return guest_hand_on(call);
	size_t most = BOUNCE_MAX / sizeof(struct fiemap_extent);
	size_t room = header.fm_extent_count < most ? header.fm_extent_count : most;
	size_t length = sizeof(header) + room * sizeof(struct fiemap_extent);
	if (!guest_is_paged(theirs, length))
		return guest_hand_on(call);
	if (guest_accessible(theirs, sizeof(header), PROT_WRITE) < sizeof(header))
		return guest_hand_on(call);
	struct fiemap *ours = guest_buffer(call, length);
	if (ours == NULL)
		return -ENOMEM;
	uint32_t asked = header.fm_extent_count;
	header.fm_extent_count = (uint32_t)(asked < room ? asked : room);
	memcpy(ours, &header, sizeof(header));
	long result = request_replace(call, 2, ours);
	if (result == GUEST_RESTART)
		return result;
	size_t used = ours->fm_mapped_extents < room ? ours->fm_mapped_extents : room;
	used = asked == 0 || result < 0 ? 0 : used; /* none asked for: only counted */
	ours->fm_extent_count = asked;
	size_t bytes = sizeof(header) + used * sizeof(struct fiemap_extent);
	return guest_copy_out((void *)call->argument[2], ours, bytes) == 0 ? result : -EFAULT;
}

/* A SCSI command: itself, its data (one buffer, or several), and what the device answers. */
static long ioctl_scsi(struct guest_call *call)
{
	struct nested n;
	struct guest_bounce command, sense;
	struct guest_arena arena = arena_create(call);
	struct guest_vector data;
	int failure;
	struct sg_io_hdr *header = nested_begin(call, &n, sizeof(*header), &failure);
	if (header == NULL)
		return failure < 0 ? failure : guest_hand_on(call);
	struct sg_io_hdr theirs = *header;
	bool reads = header->dxfer_direction == SG_DXFER_TO_DEV;
	int prot = reads ? PROT_READ : PROT_READ | PROT_WRITE;
	if (bounce_begin(&command, call, header->cmdp, header->cmd_len, BOUNCE_IN) < 0 ||
	    bounce_begin(&sense, call, header->sbp, header->mx_sb_len, BOUNCE_OUT) < 0)
		return -ENOMEM;
	int taken = theirs.iovec_count > 0
	                    ? vector_take(&data, &arena, theirs.dxferp, theirs.iovec_count)
	                    : vector_single(&data, &arena, theirs.dxferp, theirs.dxfer_len);
	if (taken < 0 || (taken == 0 && vector_window(&data, 0, data.total, prot) < 0))
		return -ENOMEM;
	header->cmdp = (unsigned char *)command.ours;
	header->sbp = (unsigned char *)sense.ours;
	if (taken == 0 && theirs.iovec_count == 0 && data.window == 1)
		header->dxferp = data.ours[0].iov_base;
	if (taken == 0 && theirs.iovec_count > 0) {
		header->dxferp = data.ours;
		header->iovec_count = (unsigned short)data.window;
	}
	long result = request_replace(call, 2, header);
	header->cmdp = theirs.cmdp;
	header->sbp = theirs.sbp;
	header->dxferp = theirs.dxferp;
	header->iovec_count = theirs.iovec_count;
	if (result >= 0 && taken == 0 && !reads && vector_scatter(&data, data.total) != data.total)
		result = -EFAULT;
	return bounce_end(&n.outer, bounce_end(&sense, result));
}

/* ---- Buses -------------------------------------------------------------------------------- */

/* I2C messages: an array, each with its data. */
static long ioctl_i2c(struct guest_call *call)
{
	struct i2c_rdwr_ioctl_data list;
	if (guest_copy_in(&list, argument_of(call), sizeof(list)) != 0 ||
	    list.nmsgs > I2C_RDWR_IOCTL_MAX_MSGS)
		return guest_hand_on(call);
	struct i2c_msg *messages = guest_buffer(call, (list.nmsgs + 1) * sizeof(*messages));
	struct guest_bounce *data = guest_buffer(call, (list.nmsgs + 1) * sizeof(*data));
	if (messages == NULL || data == NULL)
		return -ENOMEM;
	if (guest_copy_in(messages, list.msgs, list.nmsgs * sizeof(*messages)) != 0)
		return request_replace(call, 2, &list);
	list.msgs = messages;
	for (uint32_t i = 0; i < list.nmsgs; i++) {
		if (bounce_begin(&data[i], call, messages[i].buf, messages[i].len, BOUNCE_BOTH) < 0)
			return -ENOMEM;
		messages[i].buf = (unsigned char *)data[i].ours;
	}
	long result = request_replace(call, 2, &list);
	for (uint32_t i = 0; i < list.nmsgs; i++)
		result = bounce_end(&data[i], result);
	return result;
}

/* SPI transfers: as many as the request's length holds, each with data out and in. */
static long ioctl_spi(struct guest_call *call)
{
	size_t length = _IOC_SIZE((uint32_t)call->argument[1]);
	size_t count = length / sizeof(struct spi_ioc_transfer);
	struct spi_ioc_transfer *transfers = guest_buffer(call, length + 1);
	struct guest_bounce *data = guest_buffer(call, 2 * count * sizeof(*data) + 1);
	if (transfers == NULL || data == NULL)
		return -ENOMEM;
	if (guest_copy_in(transfers, argument_of(call), length) != 0)
		return guest_hand_on(call);
	for (size_t i = 0; i < count; i++) {
		struct spi_ioc_transfer *t = &transfers[i];
		if (bounce_begin(&data[2 * i], call, (void *)t->tx_buf, t->len, BOUNCE_IN) < 0 ||
		    bounce_begin(&data[2 * i + 1], call, (void *)t->rx_buf, t->len, BOUNCE_OUT) < 0)
			return -ENOMEM;
		t->tx_buf = (uint64_t)data[2 * i].ours;
		t->rx_buf = (uint64_t)data[2 * i + 1].ours;
	}
	long result = request_replace(call, 2, transfers);
	for (size_t i = 0; i < 2 * count; i++)
		result = bounce_end(&data[i], result);
	return result;
}

/* ---- All requests ------------------------------------------------------------------------- */

/* Structures with a pointer to something of no known length. */
static const struct {
	uint32_t request;
	uint16_t length, offset; /* of the structure, and of the pointer in it */
	uint32_t bytes;          /* that it leads to at most */
	enum bounce_how how;
} nested_requests[] = {
#define NESTED(request, structure, member, bytes, how)                                         \
	{ request, sizeof(structure), offsetof(structure, member), bytes, how }
#define INTERFACE(request) NESTED(request, struct ifreq, ifr_ifru, DRIVER_BYTES, BOUNCE_BOTH)
#define WIRELESS(request) NESTED(request, struct iwreq, u, DRIVER_BYTES, BOUNCE_BOTH)
	INTERFACE(SIOCETHTOOL), INTERFACE(SIOCSHWTSTAMP), INTERFACE(SIOCGHWTSTAMP),
	INTERFACE(SIOCBONDINFOQUERY), INTERFACE(SIOCBONDSLAVEINFOQUERY),
	WIRELESS(SIOCGIWRANGE), WIRELESS(SIOCSIWSPY), WIRELESS(SIOCGIWSPY),
	WIRELESS(SIOCSIWTHRSPY), WIRELESS(SIOCGIWTHRSPY), WIRELESS(SIOCGIWAPLIST),
	WIRELESS(SIOCSIWSCAN), WIRELESS(SIOCGIWSCAN), WIRELESS(SIOCSIWESSID),
	WIRELESS(SIOCGIWESSID), WIRELESS(SIOCSIWNICKN), WIRELESS(SIOCGIWNICKN),
	WIRELESS(SIOCSIWENCODE), WIRELESS(SIOCGIWENCODE), WIRELESS(SIOCSIWMLME),
	WIRELESS(SIOCSIWGENIE), WIRELESS(SIOCGIWGENIE), WIRELESS(SIOCSIWENCODEEXT),
	WIRELESS(SIOCGIWENCODEEXT), WIRELESS(SIOCSIWPMKSA),
	NESTED(SIOCADDRT, struct rtentry, rt_dev, IFNAMSIZ, BOUNCE_IN),
	NESTED(SIOCDELRT, struct rtentry, rt_dev, IFNAMSIZ, BOUNCE_IN),
	NESTED(I2C_SMBUS, struct i2c_smbus_ioctl_data, data, sizeof(union i2c_smbus_data),
	       BOUNCE_BOTH),
	NESTED(KDFONTOP, struct console_font_op, data, DRIVER_BYTES, BOUNCE_BOTH),
	NESTED(GIO_UNIMAP, struct unimapdesc, entries, DRIVER_BYTES, BOUNCE_BOTH),
	NESTED(PIO_UNIMAP, struct unimapdesc, entries, DRIVER_BYTES, BOUNCE_IN),
};

static bool ioctl_nested(struct guest_call *call, uint32_t request, long *result)
{
	for (size_t i = 0; i < sizeof(nested_requests) / sizeof(nested_requests[0]); i++) {
		if (nested_requests[i].request != request)
			continue;
		*result = nested_ioctl(call, nested_requests[i].length, nested_requests[i].offset,
		                       nested_requests[i].bytes, true, nested_requests[i].how);
		return true;
	}
	return false;
}

/* Requests of the first kind. Return: whether it was one. */
static bool ioctl_special(struct guest_call *call, uint32_t request, long *result)
{
	switch (request) {
	case SIOCGIFCONF:
		*result = ioctl_interfaces(call);
		return true;
	case TUNATTACHFILTER:
		*result = ioctl_socket_filter(call);
		return true;
	case FS_IOC_FIEMAP:
		*result = ioctl_extents(call);
		return true;
	case FIDEDUPERANGE:
		*result = ioctl_duplicates(call);
		return true;
	case BLKPG:
		*result = ioctl_partition(call);
		return true;
	case SG_IO:
		*result = ioctl_scsi(call);
		return true;
	case I2C_RDWR:
		*result = ioctl_i2c(call);
		return true;
	case PERF_EVENT_IOC_SET_FILTER:
		*result = ioctl_string(call, 4096);
		return true;
	}
	if (_IOC_TYPE(request) == SPI_IOC_MAGIC && _IOC_NR(request) == 0 &&
	    _IOC_DIR(request) == _IOC_WRITE) {
		*result = ioctl_spi(call);
		return true;
	}
	return ioctl_nested(call, request, result);
}

/* Requests of the last kind. */
static long ioctl_unknown(struct guest_call *call)
{
	struct guest_bounce bounce;
	if (bounce_begin_bounded(&bounce, call, argument_of(call), OLD_BYTES, BOUNCE_BOTH) < 0)
		return -ENOMEM;
	return bounce_end(&bounce, request_replace(call, 2, bounce.ours));
}

long ioctl_string(struct guest_call *call, size_t size)
{
	struct guest_bounce bounce;
	if (bounce_begin_string(&bounce, call, argument_of(call), size) < 0)
		return -ENOMEM;
	return request_replace(call, 2, bounce.ours);
}

long guest_ioctl(struct guest_call *call)
{
	uint32_t request = (uint32_t)call->argument[1];
	long result;
	if (ioctl_special(call, request, &result))
		return result;
	const struct request_pointer *line = ioctl_find(request);
	if (line != NULL && line->how == REQUEST_VALUE)
		return guest_hand_on(call);
	if (line != NULL && line->how == REQUEST_STRING)
		return ioctl_string(call, line->size);
	if (line != NULL)
		return request_bounce(call, 2, line->size, (enum bounce_how)line->how);
	size_t size = _IOC_SIZE(request);
	unsigned direction = _IOC_DIR(request);
	/* Some that say that the kernel only reads store a result all the same (EVIOCSFF). */
	if (direction != _IOC_NONE && size != 0)
		return request_bounce(call, 2, size,
		                      direction == _IOC_READ ? BOUNCE_OUT : BOUNCE_BOTH);
	if (!guest_is_paged(argument_of(call), 1))
		return guest_hand_on(call);
	return ioctl_unknown(call);
}
