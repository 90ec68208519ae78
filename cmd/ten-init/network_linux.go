package main

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tenement/ten/runtimes/launch/wire"
)

// ifreq is the argument of the calls that set a network device's flags.
type ifreq struct {
	name  [unix.IFNAMSIZ]byte
	flags uint16
	_     [22]byte
}

var loopback ifreq

// loopbackUp switches on the one device of a fresh network namespace, which
// gives it its addresses.
func loopbackUp() {
	fd, e := value(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	check("network", "lo", e)
	copy(loopback.name[:], "lo")
	loopback.flags = unix.IFF_UP | unix.IFF_RUNNING
	check("network", "lo", call(unix.SYS_IOCTL, fd, unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&loopback)), 0, 0))
	call(unix.SYS_CLOSE, fd, 0, 0, 0, 0)
}

// A message of one byte with one file.
var (
	parcelByte = [1]byte{wire.Go}
	parcelData = unix.Iovec{Len: 1}
	parcelFile struct {
		unix.Cmsghdr
		fd int32
		_  int32
	}
	parcel unix.Msghdr
)

// lend makes a socket in the network of another init, sends it to the launcher
// and ends. The launcher has threads, so it could not go into that init's user
// namespace itself; a socket stays in the network it was made in.
func lend(family uintptr) {
	const both = unix.CLONE_NEWUSER | unix.CLONE_NEWNET
	check("network", "setns", call(unix.SYS_SETNS, wire.FDTarget, both, 0, 0, 0))
	fd, e := value(unix.SYS_SOCKET, family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	check("network", "socket", e)
	parcelFile.fd = int32(fd)
	parcelFile.Level, parcelFile.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	parcelFile.SetLen(int(unsafe.Sizeof(parcelFile.Cmsghdr) + unsafe.Sizeof(parcelFile.fd)))
	parcelData.Base = &parcelByte[0]
	parcel.Iov, parcel.Iovlen = &parcelData, 1
	parcel.Control = (*byte)(unsafe.Pointer(&parcelFile))
	parcel.SetControllen(int(unsafe.Sizeof(parcelFile)))
	check("network", "send", call(unix.SYS_SENDMSG, wire.FDConn, uintptr(unsafe.Pointer(&parcel)), 0, 0, 0))
	exit(0)
}
