#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# upage translate: the textbook's machines, worked by hand, byte for byte; what is explained; and
# what is refused, with which words.
. "$(dirname "$0")/support.sh"
upage=${UPAGE:-$(cd ../tools 2>/dev/null && pwd)/upage}
test -x "$upage" || { echo "tools/upage was not built"; exit 77; }
cd "$scratch" || exit 99
tab=$(printf '\t')

# ran STATUS WORD...: what it printed is in out and err
ran()
{
	wanted=$1
	shift
	timeout 60 "$upage" translate "$@" >out 2>err
	status=$?
	test $status = "$wanted" || fail "upage translate $*: status $status instead of $wanted: $(cat err)"
}

# same WORD...: prints what stdin says, where a blank stands for a tab, and nothing else
same()
{
	tr ' ' '\t' >wanted
	ran 0 "$@" </dev/null
	test ! -s err || fail "upage translate $*: said $(cat err)"
	cmp -s wanted out || fail "upage translate $*:$(printf '\n'; diff wanted out)"
}

# explains WORD...: prints what stdin says, to the letter
explains()
{
	cat >wanted
	ran 0 --explain "$@" </dev/null
	cmp -s wanted out || fail "upage translate --explain $*:$(printf '\n'; diff wanted out)"
}

# says TEXT WORD...: status 2, nothing on stdout, this one line on stderr
says()
{
	printf 'upage: %s\n' "$1" >wanted
	shift
	ran 2 "$@" </dev/null
	test ! -s out || fail "upage translate $*: on stdout: $(cat out)"
	cmp -s wanted err || fail "upage translate $*:$(printf '\n'; diff wanted err)"
}

# refuses LINE TEXT DESCRIPTION: this machine is, with that line and text
refuses()
{
	printf '%b\n' "$3" >machine
	says "machine:$1: $2" machine 0
}

# ---- OSTEP ch. 15: 4 KiB of addresses at 16 KiB
cat >base-bounds <<end
scheme base-bounds
space-size  4K   # comments, blank lines
memory-size 64K

base 16K
bounds 4K
end
same base-bounds 0 1024 3000 4400 <<end
0 16384
1024 17408
3000 19384
4400 fault bounds
end
same base-bounds 4095 4096 18446744073709551615 0xffffffffffffc000 <<end
4095 20479
4096 fault bounds
18446744073709551615 fault bounds
18446744073709535232 fault bounds
end
explains base-bounds 3000 4400 <<end
3000${tab}19384
  bounds     3000 < 4096: inside
  physical   base 16384 + 3000 = 19384
4400${tab}fault${tab}bounds
  bounds     4400 >= 4096: outside
end

# ---- OSTEP ch. 16: code at 32 KiB, heap at 34 KiB, a stack below 28 KiB
cat >segments <<end
scheme segmentation
space-size 16K
memory-size 64K
segment 0 base 32K bounds 2K grows up prot rx
segment 1 base 34K bounds 3K grows up prot rw
segment 3 base 28K bounds 2K grows down prot rw
end
same segments 100 4200 7168 7167 15360 16383 14336 14335 8192 16384 0:x 0:w 2048:w <<end
100 32868
4200 34920
7168 fault bounds
7167 37887
15360 27648
16383 28671
14336 26624
14335 fault bounds
8192 fault no-segment
16384 fault bounds
0:x 32768
0:w fault protection
2048:w fault bounds
end
explains segments 4200 15360:w 0:rw 14335 8192 20000 <<end
4200${tab}34920
  address    4200 = 01 000001101000 in binary: the top 2 bits are the segment, 1; the low 12 the offset, 104
  segment 1  base 34816, bounds 3072, grows up, prot rw-
  bounds     104 < 3072: inside
  access     r under prot rw-: allowed
  physical   base 34816 + 104 = 34920
15360:w${tab}27648
  address    15360 = 11 110000000000 in binary: the top 2 bits are the segment, 3; the low 12 the offset, 3072
  segment 3  base 28672, bounds 2048, grows down, prot rw-
  offset     3072 - 4096, the part of a segment = -1024
  bounds     1024 <= 2048: inside
  access     w under prot rw-: allowed
  physical   base 28672 - 1024 = 27648
0:rw${tab}fault${tab}protection
  address    0 = 00 000000000000 in binary: the top 2 bits are the segment, 0; the low 12 the offset, 0
  segment 0  base 32768, bounds 2048, grows up, prot r-x
  bounds     0 < 2048: inside
  access     rw under prot r-x: not allowed
14335${tab}fault${tab}bounds
  address    14335 = 11 011111111111 in binary: the top 2 bits are the segment, 3; the low 12 the offset, 2047
  segment 3  base 28672, bounds 2048, grows down, prot rw-
  offset     2047 - 4096, the part of a segment = -2049
  bounds     2049 > 2048: outside
8192${tab}fault${tab}no-segment
  address    8192 = 10 000000000000 in binary: the top 2 bits are the segment, 2; the low 12 the offset, 0
  segment 2  there is none
20000${tab}fault${tab}bounds
  address    20000 is past the end of the space, whose last address is 16383
end

# The book's simulator: two segments, 128 bytes of addresses, limits of 20 bytes.
cat >two-segments <<end
segment 1 base 512 bounds 20 grows down
segment 0 base 0 bounds 20 grows up
memory-size 512
space-size 128
scheme segmentation
end
same two-segments 19 20 107 108 127 128 <<end
19 19
20 fault bounds
107 fault bounds
108 492
127 511
128 fault bounds
end
# More bits than the largest number needs; and one part, the whole space.
sed '$a segment-bits 2' two-segments >four-parts
same four-parts 32 63 31 64 <<end
32 fault bounds
63 511
31 fault bounds
64 fault no-segment
end
printf 'scheme segmentation\nspace-size 64\nmemory-size 100\nsegment 0 base 100 bounds 64 grows down' >one-part
same one-part 0 63 <<end
0 36
63 99
end

# ---- OSTEP ch. 18: 64 bytes of addresses, pages of 16, in 128 bytes of memory
cat >linear <<end
scheme paging
space-size 64
memory-size 128
page-size 16
page 0 frame 3 prot rx
page 1 frame 7
page 3 frame 2 prot w
end
same linear 21 0 15 15:w 32 48 48:w 63:w 64 <<end
21 117
0 48
15 63
15:w fault protection
32 fault not-mapped
48 fault protection
48:w 32
63:w 47
64 fault bounds
end
same --hex linear 21 0x20 <<end
0x15 0x75
0x20 fault not-mapped
end
explains linear 21 15:w 40 64 <<end
21${tab}117
  address    21 = 01 0101 in binary: the top 2 bits are the VPN, 1; the low 4 the offset, 5
  entry 1    frame 7, prot rwx
  access     r under prot rwx: allowed
  physical   frame 7 x page size 16 + offset 5 = 117
15:w${tab}fault${tab}protection
  address    15 = 00 1111 in binary: the top 2 bits are the VPN, 0; the low 4 the offset, 15
  entry 0    frame 3, prot r-x
  access     w under prot r-x: not allowed
40${tab}fault${tab}not-mapped
  address    40 = 10 1000 in binary: the top 2 bits are the VPN, 2; the low 4 the offset, 8
  entry 2    empty: no frame
64${tab}fault${tab}bounds
  address    64 is past the end of the space, whose last address is 63
end
explains --hex linear 0x15 <<end
0x15${tab}0x75
  address    0x15 = 01 0101 in binary: the top 2 bits are the VPN, 0x1; the low 4 the offset, 0x5
  entry 0x1  frame 0x7, prot rwx
  access     r under prot rwx: allowed
  physical   frame 0x7 x page size 0x10 + offset 0x5 = 0x75
end

# ---- OSTEP ch. 20: 16 KiB of addresses, pages of 64 bytes, two levels
cat >radix <<end
scheme paging
table radix
levels 2
space-size 16K
memory-size 8K
page-size 64
page 0 frame 10
page 1 frame 23
page 4 frame 80
page 5 frame 59
page 254 frame 55
page 255 frame 45
end
same radix 0x3F80 16383 0 65 1000 4096 <<end
16256 3520
16383 2943
0 640
65 1473
1000 fault not-mapped
4096 fault not-mapped
end
explains radix 0x3F80 1000 4096 <<end
16256${tab}3520
  address    16256 = 11111110 000000 in binary: the top 8 bits are the VPN, 254; the low 6 the offset, 0
  level 1    VPN bits 1111, index 15: a table
  level 2    VPN bits 1110, index 14: frame 55, prot rwx
  access     r under prot rwx: allowed
  physical   frame 55 x page size 64 + offset 0 = 3520
1000${tab}fault${tab}not-mapped
  address    1000 = 00001111 101000 in binary: the top 8 bits are the VPN, 15; the low 6 the offset, 40
  level 1    VPN bits 0000, index 0: a table
  level 2    VPN bits 1111, index 15: empty: no frame
4096${tab}fault${tab}not-mapped
  address    4096 = 01000000 000000 in binary: the top 8 bits are the VPN, 64; the low 6 the offset, 0
  level 1    VPN bits 0100, index 4: empty: no table
end
# However many levels, and whichever table: the same frames.
for table in linear inverted 'radix\nlevels 1' 'radix\nlevels 3' 'radix\nlevels 4' 'radix\nlevels 5' radix; do
	sed "/levels/d; s/^table.*/table $table/" radix >other
	same other 16256 16383 0 65 1000 4096 16384 <<-end
	16256 3520
	16383 2943
	0 640
	65 1473
	1000 fault not-mapped
	4096 fault not-mapped
	16384 fault bounds
	end
done

# ---- One table for all address spaces
cat >inverted <<end
scheme paging
table inverted
asid 1
space-size 64
memory-size 128
page-size 16
page 0 frame 3 asid 0
page 0 frame 6
page 1 frame 4 prot r asid 1
page 2 frame 6 asid 0
end
same inverted 5 21 21:w 35 <<end
5 101
21 69
21:w fault protection
35 fault not-mapped
end
sed s/asid.1/asid\ 0/ inverted >asid-0
says "asid-0:8: page 0 is given twice; line 7 has it" asid-0 0
# Without the line, the first page's space.
sed /^asid/d inverted >first-asid
sed -i '/frame 6$/d' first-asid
same first-asid 5 21 35 <<end
5 53
21 fault not-mapped
35 99
end
ran 0 --explain inverted 5 35
for step in 'hash       of asid 1 and VPN 0: bucket [0-3] of 4' 'entry 1    asid 1, VPN 0: frame 6, prot rwx' \
	'physical   frame 6 x page size 16 + offset 5 = 101' 'chain      ends: no frame'; do
	grep -q "^  $step\$" out || fail "not explained: $step: $(cat out)"
done

# ---- Pages of one byte, and the largest numbers
printf '%s\n' 'scheme paging' 'page-size 1' 'space-size 8' 'memory-size 5' 'page 7 frame 4' 'page 0 frame 0' >bytes
same bytes 7 0 1 8 <<end
7 4
0 0
1 fault not-mapped
8 fault bounds
end
printf '%s\n' 'scheme base-bounds' 'memory-size 0xffffffffffffffff' 'base 0xfffffffffffffff0' 'bounds 15' >high
same --hex high 14 15 0xffffffffffffffff <<end
0xe 0xfffffffffffffffe
0xf fault bounds
0xffffffffffffffff fault bounds
end

# ---- Where addresses and machines come from
printf '21 # one\n\n0x20 15:w\n' | "$upage" translate linear >out || fail "from stdin: status $?"
printf '21\t117\n32\tfault\tnot-mapped\n15:w\tfault\tprotection\n' | cmp -s - out || fail "from stdin: $(cat out)"
"$upage" translate - 21 --hex <linear | grep -qx "0x15${tab}0x75" || fail "the machine from stdin"
"$upage" translate linear </dev/null >out || fail "no address at all: status $?"
test ! -s out || fail "no address: $(cat out)"
printf '21\n9z\n22\n' | "$upage" translate linear >out 2>err && fail "a bad address on stdin has status 0"
grep -qx "upage: standard input:2: '9z' is no address: right is a number, decimal or 0x" err || fail "$(cat err)"
printf '21\t117\n' | cmp -s - out || fail "answers before a bad address: $(cat out)"
ran 0 --help
grep -q '^usage: upage translate' out || fail "--help: $(cat out)"
if test -w /dev/full; then
	"$upage" translate linear 21 >/dev/full 2>err && fail "a full device has status 0"
	grep -q 'standard output' err || fail "a full device: $(cat err)"
fi

# ---- Words of the command in error
says "a file that describes a machine is missing; 'upage translate --help' says more"
says "'-': stdin cannot be both the machine and the addresses" -
says "unknown option '--hexx'; there are --explain, --hex and --help" --hexx linear 1
says "no-such-file: No such file or directory" no-such-file 1
says "$scratch: Is a directory" "$scratch" 1
for word in 12Q 0x -1 1.5 '' 0xg 4K; do
	says "'$word' is no address: right is a number, decimal or 0x" -- linear 21 "$word"
done
says "'18446744073709551616': more than 64 bits can hold" linear 18446744073709551616
says "'0x10000000000000000': more than 64 bits can hold" linear 0x10000000000000000
for word in 1: 1:q 1:rr 1:-; do
	says "'$word': right behind the colon are letters of rwx" linear "$word"
done

# ---- Machines that cannot be: lines for themselves
refuses 1 "unknown word 'shceme'; there are scheme, space-size, memory-size, base, bounds, segment-bits, segment, page-size, table, levels, asid, page" 'shceme paging'
refuses 2 "unknown word 'bonds'; there are scheme, space-size, memory-size, base, bounds" 'scheme base-bounds\nbonds 7'
refuses 1 "scheme 'pagin': right is base-bounds, segmentation or paging" 'scheme pagin'
refuses 1 "'scheme' needs a value, base-bounds, segmentation or paging" scheme
refuses 2 "'space-size' needs a value, bytes: a number, decimal or 0x, or one with K, M, G or T" '\nspace-size # 7'
refuses 1 "space-size '7Q': right is bytes: a number, decimal or 0x, or one with K, M, G or T" 'space-size 7Q'
refuses 1 "space-size '-7': right is bytes: a number, decimal or 0x, or one with K, M, G or T" 'space-size -7'
refuses 1 "base '18446744073709551616': more than 64 bits can hold" 'base 18446744073709551616'
refuses 1 "base '16777216T': more than 64 bits can hold" 'base 16777216T'
refuses 1 "levels '2K': right is a number, decimal or 0x" 'levels 2K'
refuses 1 "'7' is too much: base has one value, bytes: a number, decimal or 0x, or one with K, M, G or T" 'base 6 7'
refuses 3 "'base' is given twice; line 1 has it" 'base 6\n\nbase 6'
refuses 1 "table 'hashed': right is linear, radix or inverted" 'table hashed'
segment='segment N base B bounds L grows up|down [prot rwx]'
refuses 1 "'base' is missing; right is: $segment" 'segment 0 bounds 7 grows up'
refuses 1 "'bounds' is missing; right is: $segment" 'segment 0 base 7 grows up'
refuses 1 "'grows' is missing; right is: $segment" 'segment 0 base 7 bounds 7'
refuses 1 "'grows' needs a value, up or down" 'segment 0 base 7 bounds 7 grows'
refuses 1 "grows 'left': right is up or down" 'segment 0 base 7 bounds 7 grows left'
refuses 1 "prot 'rq': right is letters of rwx, or - for none" 'segment 0 base 7 bounds 7 grows up prot rq'
refuses 1 "unknown word 'limit'; right is: $segment" 'segment 0 base 7 limit 7 grows up'
refuses 1 "'base' is given twice; right is: $segment" 'segment 0 base 7 base 7 bounds 7 grows up'
refuses 1 "segment 256: from 0 to 255" 'segment 256 base 7 bounds 7 grows up'
page='page VPN frame PFN [prot rwx] [asid A]'
refuses 1 "'frame' is missing; right is: $page" 'page 0'
refuses 1 "unknown word 'pfn'; right is: $page" 'page 0 pfn 7'
refuses 1 "page 'x': right is a number, decimal or 0x" 'page x frame 7'
refuses 1 "'a': a line has at most 16 words" 'page 1 frame 2 a a a a a a a a a a a a a'
printf 'scheme paging\nspace\0size 7\n' >zero
says "zero:2: a byte 0: this is no text" zero 1

# ---- Machines that cannot be: what does not go together
refuses 2 "the file ends without a line 'scheme base-bounds|segmentation|paging'" 'base 6\nbounds 7'
refuses 2 "'levels' is no word of scheme base-bounds, which has scheme, space-size, memory-size, base, bounds" 'scheme base-bounds\nlevels 2\nmemory-size 7\nbase 0\nbounds 7'
refuses 1 "'page' is no word of scheme segmentation, which has scheme, space-size, memory-size, segment-bits, segment" 'page 0 frame 0\nscheme segmentation'
refuses 2 "scheme base-bounds needs a line 'memory-size BYTES'" 'base 6\nscheme base-bounds\nbounds 7'
refuses 1 "scheme base-bounds needs a line 'base ADDRESS'" 'scheme base-bounds\nmemory-size 7\nbounds 7'
refuses 1 "scheme base-bounds needs a line 'bounds BYTES'" 'scheme base-bounds\nmemory-size 7\nbase 7'
refuses 1 "scheme segmentation needs a line 'space-size BYTES'" 'scheme segmentation\nmemory-size 7'
refuses 1 "scheme paging needs a line 'space-size BYTES'" 'scheme paging\nmemory-size 7\npage-size 1'
refuses 1 "scheme paging needs a line 'page-size BYTES'" 'scheme paging\nmemory-size 7\nspace-size 8'
refuses 2 "memory-size 0: at least 1" 'scheme paging\nmemory-size 0'
refuses 2 "space-size 0: at least 1" 'scheme paging\nspace-size 0\nmemory-size 8'

bb='scheme base-bounds\nmemory-size 8K'
refuses 4 "bounds 4097: past the end of memory, which has 8192 bytes; from base 4096 at most 4096" "$bb\nbase 4K\nbounds 4097"
refuses 3 "base 8193: past the end of memory, which has 8192 bytes" "$bb\nbase 8193\nbounds 0"
refuses 4 "bounds 18446744073709551615: past the end of memory, which has 8192 bytes; from base 1 at most 8191" "$bb\nbase 1\nbounds 18446744073709551615"
refuses 5 "bounds 512: more than the space, which has 256 bytes" "$bb\nspace-size 256\nbase 1\nbounds 512"

sg='scheme segmentation\nmemory-size 8K\nspace-size 1K'
refuses 3 "space-size 1000: no power of two, whose top bits would pick a segment; the next ones are 512 and 1024" 'scheme segmentation\nmemory-size 8K\nspace-size 1000'
refuses 5 "segment 1: physical 4596 to 5095 overlaps segment 0 of line 4, 4096 to 4596" "$sg\nsegment 0 base 4K bounds 501 grows up\nsegment 1 base 5096 bounds 500 grows down"
refuses 5 "segment 1: physical 4096 to 4596 overlaps segment 0 of line 4, 4596 to 5095" "$sg\nsegment 0 base 5096 bounds 500 grows down\nsegment 1 base 4K bounds 501 grows up"
refuses 5 "segment 1: physical 0 to 511 overlaps segment 0 of line 4, 8 to 9" "$sg\nsegment 0 base 8 bounds 2 grows up\nsegment 1 base 0 bounds 512 grows up"
refuses 5 "segment 0 is given twice; line 4 has it" "$sg\nsegment 0 base 8 bounds 2 grows up\nsegment 0 base 0 bounds 5 grows up"
refuses 4 "bounds 513: segment 1 has a part of 512 bytes of the space" "$sg\nsegment 1 base 0 bounds 513 grows up"
refuses 4 "bounds 101: past the end of memory, which has 8192 bytes; from base 8092 at most 100" "$sg\nsegment 1 base 8092 bounds 101 grows up"
refuses 4 "bounds 101: the segment grows down from base 100, below which there are 100 bytes" "$sg\nsegment 1 base 100 bounds 101 grows down"
refuses 4 "base 8193: past the end of memory, which has 8192 bytes" "$sg\nsegment 1 base 8193 bounds 1 grows down"
refuses 5 "segment 2: with segment-bits 1 from 0 to 1" "$sg\nsegment-bits 1\nsegment 2 base 0 bounds 1 grows up"
refuses 4 "segment-bits 9: from 0 to 8" "$sg\nsegment-bits 9"
refuses 4 "segment 2: its number has 2 bits, an address of the space only 1" 'scheme segmentation\nmemory-size 8K\nspace-size 2\nsegment 2 base 0 bounds 1 grows up'
# What only touches does not overlap, and nothing overlaps with what is empty.
printf "$sg\nsegment 0 base 4K bounds 512 grows up\nsegment 1 base 4K bounds 512 grows down\nsegment 2 base 4097 bounds 0 grows up\n" |
	sed 's/512/256/g' >machine
ran 0 machine 0

pg='scheme paging\nmemory-size 100\nspace-size 64\npage-size 16'
refuses 4 "page-size 12: no power of two, so that no bits are the offset; the next ones are 8 and 16" 'scheme paging\nmemory-size 100\nspace-size 64\npage-size 12'
refuses 3 "space-size 65: no power of two, so that no bits are the page number; the next ones are 64 and 128" 'scheme paging\nmemory-size 100\nspace-size 65\npage-size 16'
refuses 4 "page-size 0: at least 1" 'scheme paging\nmemory-size 100\nspace-size 64\npage-size 0'
refuses 4 "page-size 128: more than the space, which has 64 bytes" 'scheme paging\nmemory-size 100\nspace-size 64\npage-size 128'
refuses 5 "page 4: the space has 4, from 0 to 3" "$pg\npage 4 frame 0"
refuses 5 "frame 6: memory has 6, from 0 to 5" "$pg\npage 3 frame 6"
refuses 5 "frame 0: memory has none, 10 bytes are less than a page" 'scheme paging\nmemory-size 10\nspace-size 64\npage-size 16\npage 0 frame 0'
refuses 7 "page 3 is given twice; line 5 has it" "$pg\npage 3 frame 5\npage 2 frame 5\npage 3 frame 5 prot r"
refuses 5 "'levels' is of radix tables; this one is linear" "$pg\nlevels 2"
refuses 5 "levels 3: from 1 to 2, as a page number has 2 bits" "$pg\nlevels 3\ntable radix"
refuses 5 "levels 0: from 1 to 2, as a page number has 2 bits" "$pg\nlevels 0\ntable radix"
refuses 5 "levels 6: from 1 to 5, as a page number has 20 bits" 'scheme paging\nmemory-size 100\nspace-size 4G\npage-size 4K\nlevels 6\ntable radix'
refuses 5 "'asid' is of inverted tables; this one is linear" "$pg\nasid 2"
refuses 5 "'asid' is of inverted tables; this one is radix" "$pg\npage 0 frame 0 asid 2\ntable radix"
refuses 5 "asid 4294967296: from 0 to 4294967295" "$pg\npage 0 frame 0 asid 4294967296\ntable inverted"
refuses 5 "asid 4294967296: from 0 to 4294967295" "$pg\nasid 4294967296\ntable inverted"
refuses 4 "page-size 1: a page number has 50 bits; a radix table takes 45, and 52 with a line 'levels 5'" 'scheme paging\nmemory-size 7\nspace-size 1024T\npage-size 1\ntable radix'
refuses 5 "table linear: 1125899906842624 entries take more memory than there is; larger pages, or another table" 'scheme paging\nmemory-size 7\nspace-size 1024T\npage-size 1\ntable linear'
refuses 5 "frame 1099511627776: an entry holds numbers up to 1099511627775" 'scheme paging\nmemory-size 2T\nspace-size 8\npage-size 1\npage 0 frame 1099511627776'

# Nothing was printed before all of a long machine was read.
{ cat linear; seq 1 100000 | sed 's/.*/# &/'; echo 'page 1 frame 1'; } >machine
says "machine:100008: page 1 is given twice; line 6 has it" machine 21

exit $failed
