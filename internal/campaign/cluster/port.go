package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// firstPort and lastPort lie below the ports that Linux hands out to outgoing connections, so that a process that was
// stopped finds its port free when it comes back.
const (
	firstPort = 20000
	lastPort  = 32000
)

// freeAddr returns an address of loopback on which nobody listens now.
func freeAddr() (string, error) {
	for range 1000 {
		addr := "127.0.0.1:" + strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err == nil {
			return addr, nil
		}
	}
	return "", errors.New("no free port on loopback")
}

// ownerOf finds out which of some processes holds the local end of a connection, by what the kernel says (Linux). It is
// the index of the process, -1 when it is none of them.
func ownerOf(addr net.Addr, pids []int) int {
	inode := socketInode(addr)
	if inode == "" {
		return -1
	}
	for i, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(dir)
		if err != nil || pid == 0 {
			continue
		}
		for _, e := range entries {
			if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && target == "socket:["+inode+"]" {
				return i
			}
		}
	}
	return -1
}

// socketInode is the inode of the socket with a local address of IPv4.
func socketInode(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp.IP.To4() == nil {
		return ""
	}
	ip := tcp.IP.To4()
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], tcp.Port)
	file, err := os.Open("/proc/net/tcp")
	if err != nil {
		return ""
	}
	defer file.Close()
	const fieldLocal, fieldInode = 1, 9
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > fieldInode && fields[fieldLocal] == local {
			return fields[fieldInode]
		}
	}
	return ""
}
