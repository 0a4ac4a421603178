/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioctl_table.c - ioctl requests whose numbers do not say what they are
 *
 * Numbers from before the encoding of direction and length (0x54.., 0x89.., 0x12.., ...), and
 * encoded ones that lie: FS_IOC_GETFLAGS says long and means int, TUNSETIFF says int and means
 * struct ifreq. Sizes are those of x86-64 and aarch64.
 *
 * Source: the headers named below; ioctl_list(2), ioctl_tty(2), netdevice(7), of Linux.
 */
#include <asm/ioctls.h>
#include <linux/cdrom.h>
#include <linux/fb.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <linux/if_vlan.h>
#include <linux/kd.h>
#include <linux/loop.h>
#include <linux/serial.h>
#include <linux/sockios.h>
#include <linux/vt.h>
#include <linux/wireless.h>

#include "ioctl.h"

#define VALUE(request) { request, 2, REQUEST_VALUE, 0 }
#define READS(request, size) { request, 2, REQUEST_IN, size }   /* the kernel reads the argument */
#define WRITES(request, size) { request, 2, REQUEST_OUT, size } /* or writes it */
#define BOTH(request, size) { request, 2, REQUEST_BOTH, size }

/* Structures of the kernel's that the C library has in another form, or not at all. */
#define TERMIOS 36 /* of the kernel: four words, the line, 19 characters */
#define TERMIO 18
#define TERMIOX 16
#define WORD sizeof(int)
#define LONG sizeof(long)

static const struct request_pointer requests[] = {
	/* Terminals and serial lines. */
	WRITES(TCGETS, TERMIOS), READS(TCSETS, TERMIOS), READS(TCSETSW, TERMIOS),
	READS(TCSETSF, TERMIOS), WRITES(TCGETA, TERMIO), READS(TCSETA, TERMIO),
	READS(TCSETAW, TERMIO), READS(TCSETAF, TERMIO), WRITES(TIOCGLCKTRMIOS, TERMIOS),
	READS(TIOCSLCKTRMIOS, TERMIOS), WRITES(TCGETX, TERMIOX), READS(TCSETX, TERMIOX),
	READS(TCSETXF, TERMIOX), READS(TCSETXW, TERMIOX), VALUE(TCSBRK), VALUE(TCSBRKP),
	VALUE(TCXONC), VALUE(TCFLSH), VALUE(TIOCEXCL), VALUE(TIOCNXCL), VALUE(TIOCSCTTY),
	VALUE(TIOCNOTTY), VALUE(TIOCCONS), VALUE(TIOCSBRK), VALUE(TIOCCBRK), VALUE(TIOCMIWAIT),
	VALUE(TIOCVHANGUP), WRITES(TIOCGPGRP, WORD), READS(TIOCSPGRP, WORD),
	WRITES(TIOCGSID, WORD), WRITES(TIOCGWINSZ, 8), READS(TIOCSWINSZ, 8), READS(TIOCSTI, 1),
	WRITES(TIOCMGET, WORD), READS(TIOCMSET, WORD), READS(TIOCMBIS, WORD),
	READS(TIOCMBIC, WORD), WRITES(TIOCGSOFTCAR, WORD), READS(TIOCSSOFTCAR, WORD),
	WRITES(FIONREAD, WORD), WRITES(TIOCOUTQ, WORD), READS(TIOCPKT, WORD),
	READS(FIONBIO, WORD), READS(FIOASYNC, WORD), VALUE(FIOCLEX), VALUE(FIONCLEX),
	WRITES(FIOQSIZE, sizeof(int64_t)), WRITES(TIOCGETD, WORD), READS(TIOCSETD, WORD),
	WRITES(TIOCGSERIAL, sizeof(struct serial_struct)),
	READS(TIOCSSERIAL, sizeof(struct serial_struct)),
	WRITES(TIOCGICOUNT, sizeof(struct serial_icounter_struct)),
	WRITES(TIOCGRS485, sizeof(struct serial_rs485)),
	BOTH(TIOCSRS485, sizeof(struct serial_rs485)), WRITES(TIOCSERGETLSR, WORD),
	VALUE(TIOCSERCONFIG), VALUE(TIOCGPTPEER),

	/* Sockets and network interfaces. */
	READS(FIOSETOWN, WORD), READS(SIOCSPGRP, WORD), WRITES(FIOGETOWN, WORD),
	WRITES(SIOCGPGRP, WORD), WRITES(SIOCATMARK, WORD), WRITES(SIOCGSTAMP_OLD, 16),
	WRITES(SIOCGSTAMPNS_OLD, 16), READS(SIOCBRADDBR, IFNAMSIZ), READS(SIOCBRDELBR, IFNAMSIZ),
	BOTH(SIOCGARP, sizeof(struct arpreq)), READS(SIOCSARP, sizeof(struct arpreq)),
	READS(SIOCDARP, sizeof(struct arpreq)), BOTH(SIOCGIFVLAN, sizeof(struct vlan_ioctl_args)),
	BOTH(SIOCSIFVLAN, sizeof(struct vlan_ioctl_args)), VALUE(TUNSETNOCSUM),
	VALUE(TUNSETDEBUG), VALUE(TUNSETPERSIST), VALUE(TUNSETOWNER), VALUE(TUNSETLINK),
	VALUE(TUNSETGROUP), VALUE(TUNSETOFFLOAD), BOTH(TUNSETIFF, sizeof(struct ifreq)),
	WRITES(TUNGETIFF, sizeof(struct ifreq)), READS(TUNSETTXFILTER, 8),
	READS(TUNSETQUEUE, sizeof(struct ifreq)),

	/* Files and disks. */
	WRITES(FIGETBSZ, WORD), BOTH(FIBMAP, WORD), VALUE(FIFREEZE), VALUE(FITHAW), VALUE(FICLONE),
	WRITES(FS_IOC_GETFLAGS, WORD), READS(FS_IOC_SETFLAGS, WORD),
	WRITES(FS_IOC_GETVERSION, WORD), READS(FS_IOC_SETVERSION, WORD), READS(BLKROSET, WORD),
	WRITES(BLKROGET, WORD), VALUE(BLKRRPART), WRITES(BLKGETSIZE, LONG), VALUE(BLKFLSBUF),
	VALUE(BLKRASET), WRITES(BLKRAGET, LONG), VALUE(BLKFRASET), WRITES(BLKFRAGET, LONG),
	WRITES(BLKSECTGET, sizeof(short)), WRITES(BLKSSZGET, WORD), WRITES(BLKBSZGET, WORD),
	READS(BLKBSZSET, WORD), READS(BLKDISCARD, 2 * sizeof(uint64_t)), WRITES(BLKIOMIN, WORD),
	WRITES(BLKIOOPT, WORD), WRITES(BLKALIGNOFF, WORD), WRITES(BLKPBSZGET, WORD),
	WRITES(BLKDISCARDZEROES, WORD), READS(BLKSECDISCARD, 2 * sizeof(uint64_t)),
	WRITES(BLKROTATIONAL, sizeof(short)), READS(BLKZEROOUT, 2 * sizeof(uint64_t)),
	WRITES(HDIO_GETGEO, sizeof(struct hd_geometry)), WRITES(HDIO_GET_IDENTITY, 512),
	READS(LOOP_SET_STATUS, sizeof(struct loop_info)),
	WRITES(LOOP_GET_STATUS, sizeof(struct loop_info)),
	READS(LOOP_SET_STATUS64, sizeof(struct loop_info64)),
	WRITES(LOOP_GET_STATUS64, sizeof(struct loop_info64)), VALUE(LOOP_SET_FD),
	VALUE(LOOP_CLR_FD), VALUE(LOOP_CHANGE_FD), VALUE(LOOP_SET_CAPACITY),
	VALUE(LOOP_SET_DIRECT_IO), VALUE(LOOP_SET_BLOCK_SIZE),
	READS(LOOP_CONFIGURE, sizeof(struct loop_config)), VALUE(LOOP_CTL_ADD),
	VALUE(LOOP_CTL_REMOVE), VALUE(LOOP_CTL_GET_FREE), VALUE(CDROMEJECT),
	VALUE(CDROMCLOSETRAY), VALUE(CDROM_DRIVE_STATUS), VALUE(CDROM_DISC_STATUS),
	VALUE(CDROM_LOCKDOOR), WRITES(CDROMREADTOCHDR, sizeof(struct cdrom_tochdr)),
	BOTH(CDROMREADTOCENTRY, sizeof(struct cdrom_tocentry)),
	BOTH(CDROMMULTISESSION, sizeof(struct cdrom_multisession)),
	BOTH(CDROMSUBCHNL, sizeof(struct cdrom_subchnl)),

	/* Consoles. */
	WRITES(VT_OPENQRY, WORD), WRITES(VT_GETMODE, sizeof(struct vt_mode)),
	READS(VT_SETMODE, sizeof(struct vt_mode)), WRITES(VT_GETSTATE, sizeof(struct vt_stat)),
	VALUE(VT_RELDISP), VALUE(VT_ACTIVATE), VALUE(VT_WAITACTIVE), VALUE(VT_DISALLOCATE),
	READS(VT_RESIZE, sizeof(struct vt_sizes)), READS(VT_RESIZEX, sizeof(struct vt_consize)),
	BOTH(VT_WAITEVENT, sizeof(struct vt_event)),
	READS(VT_SETACTIVATE, sizeof(struct vt_setactivate)), VALUE(VT_LOCKSWITCH),
	VALUE(VT_UNLOCKSWITCH), WRITES(VT_GETHIFONTMASK, sizeof(short)), WRITES(KDGETLED, 1),
	VALUE(KDSETLED), WRITES(KDGKBTYPE, 1), VALUE(KDADDIO), VALUE(KDDELIO), VALUE(KDENABIO),
	VALUE(KDDISABIO), VALUE(KDSETMODE), WRITES(KDGETMODE, WORD), VALUE(KDMKTONE),
	VALUE(KIOCSOUND), WRITES(KDGKBMODE, WORD), VALUE(KDSKBMODE), WRITES(KDGKBMETA, WORD),
	VALUE(KDSKBMETA), WRITES(KDGKBLED, 1), VALUE(KDSKBLED),
	BOTH(KDGKBENT, sizeof(struct kbentry)), READS(KDSKBENT, sizeof(struct kbentry)),
	BOTH(KDGKBSENT, sizeof(struct kbsentry)), READS(KDSKBSENT, sizeof(struct kbsentry)),
	WRITES(KDGKBDIACR, sizeof(struct kbdiacrs)), READS(KDSKBDIACR, sizeof(struct kbdiacrs)),
	WRITES(KDGKBDIACRUC, sizeof(struct kbdiacrsuc)),
	READS(KDSKBDIACRUC, sizeof(struct kbdiacrsuc)),
	BOTH(KDGETKEYCODE, sizeof(struct kbkeycode)), READS(KDSETKEYCODE, sizeof(struct kbkeycode)),
	VALUE(KDSIGACCEPT), BOTH(KDKBDREP, sizeof(struct kbd_repeat)), WRITES(GIO_CMAP, 48),
	READS(PIO_CMAP, 48), WRITES(GIO_SCRNMAP, E_TABSZ), READS(PIO_SCRNMAP, E_TABSZ),
	WRITES(GIO_UNISCRNMAP, 2 * E_TABSZ), READS(PIO_UNISCRNMAP, 2 * E_TABSZ),
	WRITES(GIO_FONT, 8192), READS(PIO_FONT, 8192), VALUE(PIO_FONTRESET), VALUE(PIO_UNIMAPCLR),
	WRITES(FBIOGET_VSCREENINFO, sizeof(struct fb_var_screeninfo)),
	BOTH(FBIOPUT_VSCREENINFO, sizeof(struct fb_var_screeninfo)),
	WRITES(FBIOGET_FSCREENINFO, sizeof(struct fb_fix_screeninfo)),
	BOTH(FBIOPAN_DISPLAY, sizeof(struct fb_var_screeninfo)), VALUE(FBIOBLANK),
};

/* Ranges in which all requests that are not above have one structure. */
#define INTERFACE_FIRST 0x8910u /* SIOCGIFNAME */
#define INTERFACE_LAST 0x89ffu  /* the last of SIOCDEVPRIVATE */
#define WIRELESS_FIRST ((uint32_t)SIOCIWFIRST)
#define WIRELESS_LAST ((uint32_t)SIOCIWLASTPRIV)

static const struct request_pointer interface_request = BOTH(0, sizeof(struct ifreq));
static const struct request_pointer wireless_request = BOTH(0, sizeof(struct iwreq));

const struct request_pointer *ioctl_find(uint32_t request)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		if (requests[i].request == request)
			return &requests[i];
	if (request >= INTERFACE_FIRST && request <= INTERFACE_LAST)
		return &interface_request;
	if (request >= WIRELESS_FIRST && request <= WIRELESS_LAST)
		return &wireless_request;
	return NULL;
}
